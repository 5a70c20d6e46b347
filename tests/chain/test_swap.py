"""Every choice of every stage, swapped into the demo song, renders."""

from __future__ import annotations

import pytest
import torch

from hitchain.chain import Song
from hitchain.chain import config as configs

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
