"""Crossovers against scipy's Butterworth filters, and their flat sum."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.dsp.crossovers import linkwitz_riley


@pytest.mark.parametrize("rate", [22050, 44100, 96000])
def test_bands_are_butterworth_twice(rate: int) -> None:
    """The middle one: past the high pass of the lower and the low pass of the upper crossover, each twice."""
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 2, 5000))
    frequencies = [torch.tensor([100.0, 400.0]), torch.tensor([2000.0, 6000.0])]
    parts = linkwitz_riley(torch.tensor(noise), frequencies, rate)
    for item in range(2):
        low, high = (float(frequency[item]) for frequency in frequencies)
        high_pass = scipy.signal.butter(2, low, "highpass", fs=rate, output="sos")
        low_pass = scipy.signal.butter(2, high, "lowpass", fs=rate, output="sos")
        expected = scipy.signal.sosfilt(np.concatenate([high_pass, high_pass, low_pass, low_pass]), noise[item])
        np.testing.assert_allclose(parts[1][item].numpy(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_sum_is_flat(count: int) -> None:
    """Of an impulse's bands: 0 dB at every frequency, to a millionth of a dB."""
    impulse = torch.zeros(1, 1, 1 << 15, dtype=torch.float64)
    impulse[..., 0] = 1.0
    frequencies = [torch.tensor([frequency]) for frequency in (150.0, 1500.0, 9000.0)[:count]]
    parts = linkwitz_riley(impulse, frequencies, 44100)
    assert len(parts) == count + 1
    level = 20 * torch.log10(torch.fft.rfft(torch.stack(parts).sum(dim=0)).abs())
    assert float(level.abs().max()) < 1e-6


def test_bands_meet_at_minus_6_db() -> None:
    impulse = torch.zeros(1, 1, 1 << 14, dtype=torch.float64)
    impulse[..., 0] = 1.0
    for part in linkwitz_riley(impulse, [torch.tensor([44100.0 * 256 / (1 << 14)])], 44100):
        assert float(torch.fft.rfft(part)[0, 0, 256].abs()) == pytest.approx(0.5, abs=1e-6)
