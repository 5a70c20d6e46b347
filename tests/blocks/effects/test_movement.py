"""What moves by itself keeps its phase by the song: any window is that stretch of the whole."""

from __future__ import annotations

import pytest
import torch

from hitchain import blocks
from hitchain.blocks.parameter import SEED, START
from hitchain.errors import UserError

RATE = 44100
MOVING = [
    "effects/rotary",
    "effects/filter_sweep",
    "effects/phaser",
    "effects/chorus",
    "effects/flanger",
    "effects/vibrato",
    "effects/tremolo",
    "effects/auto_pan",
    "effects/ring_modulator",
    "effects/frequency_shifter",
]
SYNCED = [
    "effects/phaser",
    "effects/chorus",
    "effects/flanger",
    "effects/vibrato",
    "effects/tremolo",
    "effects/auto_pan",
    "effects/filter_sweep",
]


@pytest.mark.parametrize("name", MOVING)
def test_a_window_is_that_stretch_of_the_whole(name: str) -> None:
    """Compared from half a second on, when what is before the window has died away, to shortly before its end."""
    audio = torch.randn(1, 2, 2 * RATE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    block = blocks.create(name, sample_rate=RATE)
    settings = {**block.defaults(1, torch.float64), SEED: torch.tensor(3)}
    begin = RATE // 3 + 17
    start = {START: torch.tensor(begin / RATE, dtype=torch.float64)}
    part = block(audio[..., begin:], {**settings, **start})
    whole = block(audio, settings)[..., begin:]
    inside = slice(RATE // 2, -4000)
    difference = (part - whole)[..., inside].abs().max() / whole.abs().max()
    assert float(difference) < 1e-4


@pytest.mark.parametrize("name", SYNCED)
def test_a_rate_may_be_a_note_value(name: str) -> None:
    block = blocks.create(name, sync="1/2", tempo=120.0)
    rate = block.parameters[0]
    assert rate.name == "rate"
    assert rate.default == pytest.approx(1.0)
    assert rate.low < 1.0 < rate.high
    with pytest.raises(UserError, match="not a note value"):
        blocks.create(name, sync="half", tempo=120.0)
