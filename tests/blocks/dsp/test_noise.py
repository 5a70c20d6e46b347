"""Noise: repeatable by seed and place, white, and coloured as stated."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.dsp import noise


def test_depends_on_seed_and_position_alone() -> None:
    assert torch.equal(noise.noise(3, 100)[40:], noise.noise(torch.tensor(3), 60, start=40))
    starts = torch.tensor([5, noise.PERIOD - 2])
    both = noise.noise(3, 10, starts)
    assert torch.equal(both[1], torch.cat([noise.noise(3, 2, noise.PERIOD - 2), noise.noise(3, 8)]))
    assert not torch.equal(noise.noise(3, 100), noise.noise(4, 100))


def test_is_white_with_unit_variance() -> None:
    values = noise.noise(0, noise.PERIOD).double().numpy()
    assert abs(values.mean()) < 1e-6
    assert values.var() == pytest.approx(1.0, abs=1e-5)
    _, power = scipy.signal.welch(values, nperseg=512)
    # 512 averages: each bin of the estimate scatters by about 4 %
    assert np.all(np.abs(power[2:-2] / power[2:-2].mean() - 1.0) < 0.3)


@pytest.mark.parametrize("slope", [-6.0, -3.0, 0.0, 6.0])
def test_colour_is_a_slope_in_decibels_per_octave_at_unit_variance(slope: float) -> None:
    period = noise.coloured(1, torch.tensor([slope], dtype=torch.float64), 44100)[0].numpy()
    assert period.var() == pytest.approx(1.0, abs=0.1)  # few low bins carry steep noise, hence its scatter
    hertz, power = scipy.signal.welch(period, 44100, nperseg=4096)
    chosen = (hertz > 200) & (hertz < 16000)
    measured = np.polyfit(np.log2(hertz[chosen]), 10 * np.log10(power[chosen]), 1)[0]
    assert measured == pytest.approx(slope, abs=0.2)


def test_positions_tell_notes_apart() -> None:
    beat = torch.arange(64).repeat_interleave(24) / 12.0
    pitch = torch.arange(24).repeat(64) + 40.0
    assert noise.positions(beat, pitch).unique().numel() > 0.98 * beat.numel()
    assert torch.equal(noise.positions(beat, pitch), noise.positions(beat, pitch))
    assert not torch.equal(noise.positions(beat, pitch), noise.positions(beat, pitch, stream=1))
