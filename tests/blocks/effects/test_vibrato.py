"""The vibrato against the pitch it promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.parameter import START
from hitchain.errors import UserError

RATE = 44100


def _pitch(audio: torch.Tensor, frequency: float) -> torch.Tensor:
    """Cents above `frequency` at each sample of the second second, by the phase of the analytic signal."""
    phase = np.angle(scipy.signal.hilbert(audio.numpy()))
    hertz = np.gradient(np.unwrap(phase)) * RATE / (2.0 * math.pi)
    return torch.tensor(1200.0 * np.log2(hertz[RATE : 2 * RATE] / frequency))


@pytest.mark.parametrize(("rate", "depth"), [(5.0, 50.0), (1.0, 100.0)])
def test_the_pitch_goes_up_and_down_by_depth(rate: float, depth: float, accuracy: Callable[..., None]) -> None:
    time = torch.arange(3 * RATE, dtype=torch.float64) / RATE
    block = blocks.create("effects/vibrato", sample_rate=RATE)
    settings = {"rate": torch.tensor([rate]), "depth": torch.tensor([depth])}
    heard = block(torch.sin(2 * math.pi * 1000.0 * time)[None, None], settings)[0, 0]
    cents = _pitch(heard, 1000.0)
    # steepest where the swing comes down; going up it is a little less, as cents are logarithmic
    ratio = 2.0 ** (depth / 1200.0) - 1.0
    expected = 1200.0 * torch.log2(1.0 - ratio * torch.cos(2 * math.pi * rate * time))[RATE : 2 * RATE]
    assert float(cents.max()) == pytest.approx(depth, abs=0.2)
    error = float((cents - expected).abs().max())
    accuracy("effects/vibrato", f"the Doppler formula, {depth:g} cents at {rate:g} Hz", error, 0.5, unit="cent")


def test_a_window_is_in_step() -> None:
    audio = torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    block = blocks.create("effects/vibrato", sample_rate=RATE)
    whole = block(audio, block.defaults())
    begin = RATE // 3
    start = {START: torch.tensor(begin / RATE, dtype=torch.float64)}
    part = block(audio[..., begin:], {**block.defaults(), **start})
    torch.testing.assert_close(part[..., 200:], whole[..., begin + 200 :], rtol=0, atol=1e-9)


def test_its_rate_may_be_a_note_value() -> None:
    block = blocks.create("effects/vibrato", sync="1/8", tempo=90.0)
    assert block.parameters[0].default == pytest.approx(3.0)
    with pytest.raises(UserError, match="sync='1/128'"):
        blocks.create("effects/vibrato", sync="1/128", tempo=120.0)
