"""Configs: the one-track song, swaps by Hydra, and mistakes answered with the nearest right word."""

from __future__ import annotations

import pytest

from hitchain.chain import Song
from hitchain.chain import config as configs
from hitchain.errors import UserError


def test_a_stage_without_a_track_means_the_one_track_song() -> None:
    config = configs.compose("optimize", ["instrument=subtractive", "amp=none", "mastering=loud"])
    assert config["song"]["name"] == "solo"
    assert config["instrument"]["block"] == "instruments/subtractive"
    assert config["mastering"]["limiter"]["target"] == -9.0


def test_one_override_swaps_a_block_of_one_track() -> None:
    config = configs.compose("render", ["instrument@lead=subtractive"])
    assert config["lead"]["instrument"]["block"] == "instruments/subtractive"
    assert config["chords"]["instrument"]["block"] == "instruments/additive"


def test_effects_are_an_ordered_list() -> None:
    config = configs.compose("render", ["effects@lead=[delay,parametric_eq]"])
    assert list(config["lead"]["effects"]) == ["delay", "parametric_eq"]


def test_a_knob_needs_no_entry_in_a_file() -> None:
    song = Song.load("demo", overrides=["lead.amp.drive=17", "song.length=2.0"])
    assert float(song.start.settings["lead.amp"]["drive"]) == 17.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("instrument@led=subtractive", "did you mean 'lead'"),
        ("instrument@lead=subtractiv", "did you mean 'subtractive'"),
        ("instrment@lead=additive", "did you mean 'instrument'"),
        ("sead=1", "did you mean 'seed'"),
        ("lead.fader.levle=-3", "did you mean 'level'"),
        ("lead.fader.level=-99", "-60 to 12 dB"),
        ("lead.fader.level=loud", "not a number"),
        ("lead.fadr.level=-3", "did you mean 'fader'"),
        ("lead=3", "should be a group of keys"),
        ("lead.amp=3", "should be a block"),
        ("lead.amp.block=amps/tub", "did you mean 'amps/tube'"),
        ("seed=abc", "whole number"),
        ("seed=-1", "whole number"),
        ("sample_rate=12", "8000 to 192000"),
        ("song=dem", "did you mean 'demo'"),
        ("song.length=0", "song.length"),
        ("song.tempo=fast", "song.tempo"),
        ("seed", "key=value"),
        ("a=[1", "config:"),
        ("device=tpu", "cpu"),
        ("lead.notes.part=nobody", "nobody"),
        ("lead.notes.file=missing.mid", "missing.mid"),
    ],
)
def test_mistakes_are_answered_by_name(override: str, message: str) -> None:
    from hitchain.chain.build import build

    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        build(configs.compose("render", [override]))


@pytest.mark.parametrize("override", ["optimizer.stpes=3", "optimizer.steps=many", "objective.neutrl=1"])
def test_sections_without_blocks_are_checked_too(override: str) -> None:
    with pytest.raises(UserError, match=override.partition("=")[0].partition(".")[0]):
        configs.compose("optimize", [override])
