"""Buses, sends and sidechains: who hears whom."""

from __future__ import annotations

import pytest
import torch

from hitchain.chain import Song
from hitchain.errors import UserError

SHORT = ["song.length=2.0"]


@pytest.fixture(scope="module")
def studio() -> Song:
    return Song.load("studio", overrides=SHORT)


def test_a_bus_gets_what_is_sent_after_the_fader(studio: Song) -> None:
    stems = studio.render()
    gain = {"lead": -16.0, "chords": -12.0, "drums": -20.0, "echo": -12.0}
    expected = sum(10 ** (level / 20) * stems[f"{track}/fader"] for track, level in gain.items())
    torch.testing.assert_close(stems["hall/sends"], expected, rtol=0, atol=1e-6)


def test_faders_of_tracks_and_buses_sum_to_the_mix(studio: Song) -> None:
    stems = studio.render()
    total = sum(stems[f"{track}/fader"] for track in studio.tracks)
    torch.testing.assert_close(stems["mix"], total, rtol=0, atol=1e-6)
    assert set(studio.tracks) == {"lead", "bass", "chords", "drums", "hall", "echo"}


def test_the_gradient_reaches_a_send(studio: Song) -> None:
    level = torch.tensor([-16.0], requires_grad=True)
    patch = studio.start.replace({("lead.sends.hall", "level"): level})
    studio(patch).square().mean().backward()
    assert level.grad is not None
    assert float(level.grad.abs()) > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lead.sends.hal.level=-3", "did you mean 'hall'"),
        ("hall.sends.echo.level=-3", "in a ring"),
        ("lead.sends.hall.level=99", "out of range"),
    ],
)
def test_mistakes_are_told(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Song.load("studio", overrides=[*SHORT, override])


def test_a_sidechain_ducks_the_lead_under_the_drums() -> None:
    """Not its own level but theirs counts: within a hit the lead falls by over 12 dB, between hits it comes back."""
    knobs = ["threshold=-40", "ratio=10", "attack=1", "release=40", "sidechain=drums"]
    overrides = ["effects@lead=compressor", *(f"lead.effects.compressor.{knob}" for knob in knobs)]
    stems = Song.load("demo", overrides=[*SHORT, *overrides]).render()
    before, after, drums = (_level(stems[stage]) for stage in ("lead/instrument", "lead/effects", "drums/fader"))
    gain, sounding = after - before, before > -50.0
    loud, faint = sounding & (drums > -26.0), sounding & (drums < -45.0)
    assert int(loud.sum()) > 5
    assert int(faint.sum()) > 5
    assert float(gain[loud].mean()) < -12.0
    assert float(gain[faint].mean()) > -6.0


def _level(audio: torch.Tensor) -> torch.Tensor:
    """RMS [dB] of each hundredth of a second."""
    blocks = audio[0].mean(dim=0)
    blocks = blocks[: len(blocks) // 441 * 441].view(-1, 441)
    return 10 * torch.log10(blocks.square().mean(dim=1) + 1e-12)


def test_a_misspelt_sidechain_names_the_nearest_track() -> None:
    with pytest.raises(UserError, match=r"no such track; did you mean 'drums'"):
        Song.load("demo", overrides=[*SHORT, "lead.effects.compressor.sidechain=drum"])
