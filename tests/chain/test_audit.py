"""Audits and comparisons of finished climbs: against figures known beforehand, and as commands on a small run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hitchain.blocks.parameter import Parameter
from hitchain.chain import Knobs, Song, audit
from hitchain.chain.audit import at_bounds, sections_of, verdict
from hitchain.chain.compare import differences, figures, read_all, uncommon
from hitchain.chain.diversity import collapsed, diversity
from hitchain.cli import main

CLIMB = ["song=solo", "song.length=4.0", "learn=[mastering.*,fader.*]", "optimizer.batch=2", "optimizer.window=1.0",
         "optimizer.steps=2", "optimizer.evaluate_every=1", "sample_rate=22050"]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two climbs by multirun: seeds 1 and 2."""
    folder = tmp_path_factory.mktemp("runs") / "sweep"
    assert main(["optimize", "--multirun", "seed=1,2", f"out={folder}", *CLIMB]) == 0
    return folder


# Audit ------------------------------------------------------------------------------------------------------------


def test_the_ratio_and_its_interval_hold_what_was_put_in() -> None:
    """Judges that rise by 0.6 of the climbed gain with noise: the truth lies in about 95 of 100 intervals."""
    random, held = np.random.default_rng(0), 0
    for _ in range(100):
        climbed = random.normal(0.5, 0.1, 30)
        judged = 0.6 * climbed + random.normal(0.0, 0.1, 30)
        found = audit._ratio(judged, climbed)
        assert found.value == pytest.approx(judged.sum() / climbed.sum())
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.6 <= found.high
    assert 86 <= held <= 100


def test_no_gain_gives_no_transfer_and_an_open_one_no_interval() -> None:
    assert audit._ratio(np.ones(8), np.zeros(8)).value is None
    assert audit._ratio(np.ones(8), -np.ones(8)).value is None
    found = audit._ratio(np.ones(8), np.array([5.0, -4.0, 5.0, -4.0, 5.0, -4.0, 5.0, -4.0]))
    assert found.value == 2.0
    assert found.low is None  # a draw of these may have gained nothing
    assert audit._mean(np.array([1.0, 2.0])).low is None


def test_sections_cover_what_is_played() -> None:
    audio = torch.ones(2, 10 * 1000)
    assert sections_of(audio, 1000, 8) == [(0, 2000), (2000, 4000), (4000, 6000), (6000, 8000), (8000, 10000)]
    assert sections_of(audio, 1000, 2) == [(0, 5000), (5000, 10000)]
    audio[:, 8000:] = 1e-4
    assert sections_of(audio, 1000, 8)[-1] == (6000, 8000)
    assert sections_of(torch.zeros(2, 1500), 1000, 8) == [(0, 1500)]


def test_knobs_at_an_end_are_named(demo: Song) -> None:
    """The fader goes to its top and the width to its bottom; the corner under which all is mono began at its own."""
    learn = ["lead.fader.level", "mastering.width.*"]
    places = {knob.name: (knob.path, knob.parameter) for knob in Knobs(demo, learn).knobs}
    changes = {}
    for name, position in (("lead.fader.level", 0.99), ("mastering.width.width", 0.005)):
        path, parameter = places[name]
        assert isinstance(parameter, Parameter)
        changes[path, parameter.name] = parameter.from_unit(torch.tensor([position]))
    found = at_bounds(demo, demo.start.replace(changes), learn)
    assert {row["name"]: (row["end"], row["stayed"]) for row in found["knobs"]} == {
        "lead.fader.level": ("highest", False),
        "mastering.width.width": ("lowest", False),
        "mastering.width.bass_mono": ("lowest", True),
    }
    assert (found["freed"], found["before"], found["after"]) == (3, 1, 3)
    assert [row["name"] for row in at_bounds(demo, demo.start, learn)["knobs"]] == ["mastering.width.bass_mono"]


def found(gain: float, value: float | None, low: float | None) -> dict[str, object]:
    transfer = {"value": value, "low": low, "high": None if low is None else 2.0}
    return {
        "gain": {"value": gain, "low": gain, "high": gain},
        "transfer": transfer,
        "judges": {},
        "bounds": {"freed": 10, "before": 0, "after": 0, "knobs": []},
        "diversity": None,
        "true_peak": {"before": -1.0, "after": -1.0},
    }


@pytest.mark.parametrize(
    ("gain", "value", "low", "told"),
    [(0.0, None, None, "gained nothing"), (-0.2, None, None, "gained nothing"), (0.4, 0.9, 0.7, "the gain transfers:"),
     (0.4, 0.6, 0.2, "in part"), (0.4, 0.6, -0.2, "may not transfer"), (0.4, 0.1, -0.2, "does not transfer"),
     (0.4, -0.5, -0.9, "gamed"), (0.4, 0.6, None, "too few sections")],
)  # fmt: skip
def test_the_verdict_says_what_the_figures_say(gain: float, value: float | None, low: float | None, told: str) -> None:
    assert told in verdict(found(gain, value, low))[0]


def test_diversity_and_its_loss() -> None:
    rows = [{"step": step, "looked": {"diversity": value}} for step, value in ((1, 0.08), (2, 0.04), (3, 0.01))]
    assert diversity(rows) == {"first": 0.08, "last": 0.01}
    assert collapsed(diversity(rows))
    assert not collapsed(diversity(rows[:2]))
    assert diversity([{"step": 1}]) is None
    assert not collapsed({"first": 0.0, "last": 0.0})  # one candidate has none to lose


def test_the_audit_of_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(runs / "0"), "judges=appeal/heldout"]) == 0
    said = capsys.readouterr().out
    result = json.loads((runs / "0" / "audit.json").read_text())
    climb = json.loads((runs / "0" / "result.json").read_text())
    assert list(result["judges"]) == ["appeal/heldout"]
    assert result["gain"]["value"] * (climb["rating_after"] - climb["rating_before"]) >= 0
    assert result["bounds"]["freed"] > 3
    assert result["loudness"]["after"] == pytest.approx(climb["loudness"], abs=0.01)
    assert result["diversity"] == climb["diversity"]
    assert f"verdict  {result['verdict'][0]}" in said
    assert "appeal/heldout" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "RUN_FOLDER"),
        (["nowhere"], "nowhere"),
        (["RUN", "sections=0"], "sections"),
        (["RUN", "section=3"], "sections"),
        (["RUN", "judges=appeal"], "climbed"),
        (["EMPTY"], "not a run folder"),
        (["OTHER"], "render"),
        (["GOING"], "resume"),
    ],
)
def test_mistakes_of_an_audit(
    words: list[str], told: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"RUN": runs / "0", "EMPTY": tmp_path, "OTHER": tmp_path / "other", "GOING": tmp_path / "going"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("command: render\n")
    (tmp_path / "going").mkdir()
    shutil.copy(runs / "0" / "config.yaml", tmp_path / "going")
    assert main(["audit", *(str(folders.get(word, word)) for word in words)]) == 2
    assert told in capsys.readouterr().err


# Compare ----------------------------------------------------------------------------------------------------------


def test_a_sweep_of_climbs_ends_in_a_comparison(runs: Path) -> None:
    page = (runs / "compare.html").read_text()
    assert page.count("data:audio/mpeg") == page.count("data:image/png") == 2
    assert "http://" not in page.replace("http://www.w3.org", "")
    one, other = read_all([runs / "0", runs / "1"])
    assert (one.name, other.name) == ("0", "1")
    assert figures(one)["seed"] == "1"
    result = json.loads((runs / "1" / "result.json").read_text())
    assert figures(other)["gain"] == f"{result['rating_after'] - result['rating_before']:+.3f}"
    assert not uncommon([one, other])


def edited(run: Path, folder: Path, change) -> Path:
    """A copy of a run with another patch."""
    shutil.copytree(run, folder)
    patch = json.loads((folder / "patch.json").read_text())
    change(patch["blocks"])
    (folder / "patch.json").write_text(json.dumps(patch))
    return folder


def test_differences_are_in_physical_units_and_as_a_share_of_the_range(runs: Path, tmp_path: Path) -> None:
    def change(blocks: dict[str, dict]) -> None:
        blocks["fader"]["settings"]["level"] = -30.0
        blocks["fader"]["settings"]["pan"] = 0.5

    def begin(blocks: dict[str, dict]) -> None:
        blocks["fader"]["settings"]["level"] = 0.0
        blocks["fader"]["settings"]["pan"] = 0.5

    first, second = edited(runs / "0", tmp_path / "a", begin), edited(runs / "0", tmp_path / "b", change)
    level = next(parameter for parameter in Song.load("solo").blocks()["fader"].parameters if parameter.name == "level")
    assert isinstance(level, Parameter)
    (row,) = differences(read_all([first, second]))
    assert row.name == "fader.level"
    assert row.values == ("0 dB", "-30 dB")
    assert row.apart == pytest.approx(30.0 / (level.high - level.low))


def test_other_blocks_and_songs_are_listed_not_compared(runs: Path, tmp_path: Path) -> None:
    def swap(blocks: dict[str, dict]) -> None:
        blocks["instrument"] = {"block": "instruments/of-another-package", "settings": {"knob": 3}}
        blocks["extra.amp"] = {"block": "amps/tube", "settings": {}}

    other = edited(runs / "0", tmp_path / "other", swap)
    compared = read_all([runs / "0", other])
    places = dict(uncommon(compared))
    assert set(places) == {"instrument", "extra.amp"}
    assert places["extra.amp"] == ("-", "amps/tube")
    assert not any(row.name.startswith("instrument.") for row in differences(compared))
    page = tmp_path / "page.html"
    assert main(["compare", str(runs / "0"), str(other), f"out={page}"]) == 0
    assert "amps/tube" in page.read_text()


def test_mistakes_of_a_comparison(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(runs / "0")
    for words, told in (
        ([run], "two"),
        ([run, run], "twice"),
        ([run, "nowhere"], "nowhere"),
        ([run, run, "ot=x"], "out"),
        ([run, str(runs / "1"), f"out={tmp_path}"], "is a folder"),
    ):
        assert main(["compare", *words]) == 2
        assert told in capsys.readouterr().err
