"""Every choice of every stage, swapped into the demo song, renders."""

from __future__ import annotations

import pytest
import torch

from hitchain.chain import Knobs, Song
from hitchain.chain import config as configs
from hitchain.errors import UserError

CHOICES = [(group, choice) for group in (*configs.TRACK_GROUPS, "mastering") for choice in configs.choices(group)]


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_renders(group: str, choice: str) -> None:
    override = f"mastering={choice}" if group == "mastering" else f"{group}@lead={choice}"
    song = Song.load("demo", overrides=[override, "song.length=2.0"])
    with torch.no_grad():
        audio = song(song.start)
    assert audio.shape == (1, 2, 2 * song.sample_rate)
    assert bool(torch.isfinite(audio).all())
    assert 0.01 < float(audio.abs().max()) < 4.0


def test_a_swapped_instrument_leaves_the_songs_own_choice_of_knobs_usable() -> None:
    """The demo frees `bass.instrument.cutoff`, which an FM voice has not: the rest of its choice still holds."""
    song = Song.load("demo", ["instrument@bass=fm", "instrument@lead=pluck"])
    freed = {knob.name for knob in Knobs(song, song.learn).knobs}
    assert any(name.startswith("lead.instrument.") for name in freed)
    assert not any(name.endswith(".cutoff") for name in freed)
    with pytest.raises(UserError, match="cutoff"):
        Knobs(song, ["bass.instrument.cutoff"])
