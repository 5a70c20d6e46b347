"""Resampling against analytic sines and scipy.signal.resample_poly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.dsp.resampling import PADDING, downsample, resample, upsample
from hitchain.errors import UserError

RATE = 44100


def sine(frequency: float, rate: float, samples: int) -> torch.Tensor:
    return torch.sin(2 * math.pi * frequency / rate * torch.arange(samples, dtype=torch.float64) + 0.3)


def decibels(error: torch.Tensor) -> float:
    return 20 * math.log10(float(error.abs().max()) + 1e-300)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.45])
def test_upsampled_sine_is_the_sine_at_the_higher_rate(factor: int, share: float) -> None:
    samples = 4000
    result = upsample(sine(share * RATE, RATE, samples), factor)
    expected = sine(share * RATE, RATE * factor, samples * factor)
    assert result.shape == expected.shape
    inside = slice(PADDING * factor, -PADDING * factor)  # away from the edges, where the sine is cut off
    assert decibels((result - expected)[inside]) < -90  # the documented decay of the edge filter


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_downsampling_stops_what_would_alias_and_keeps_the_rest(factor: int) -> None:
    samples = 8000 * factor
    inside = slice(2 * PADDING, -2 * PADDING)
    for share in (0.5, 0.55, 0.9):
        alias = downsample(sine(share * RATE, RATE * factor, samples), factor)
        assert decibels(alias[inside]) < -90
    kept = downsample(sine(0.45 * RATE, RATE * factor, samples), factor)
    assert decibels((kept - sine(0.45 * RATE, RATE, samples // factor))[inside]) < -90


def test_up_and_down_again_is_the_same_signal_below_the_edge() -> None:
    torch.manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(2, 2, 5000, dtype=torch.float64))
    spectrum[..., int(0.45 * 5000) :] = 0
    audio = torch.fft.irfft(spectrum) * torch.hann_window(5000, dtype=torch.float64)
    assert decibels(downsample(upsample(audio, 4), 4) - audio) < -85  # twice through the edge: 1e-5 of the level


@pytest.mark.parametrize(
    ("rate", "target"), [(44100, 48000), (48000, 44100), (8000, 44100), (44100, 192000), (192000, 8000)]
)
def test_resample_against_scipy(rate: int, target: int) -> None:
    generator = np.random.default_rng(1)
    samples = rate // 2
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    spectrum[int(0.25 * min(rate, target) / rate * samples) :] = 0
    audio = np.fft.irfft(spectrum, samples) * np.hanning(samples)
    divisor = math.gcd(rate, target)
    reference = scipy.signal.resample_poly(audio, target // divisor, rate // divisor, window=("kaiser", 14.0))
    result = resample(torch.from_numpy(audio), rate, target).numpy()
    assert result.shape == reference.shape
    # scipy's filter is short and 6 dB down at its band edge, so the noise ends at a quarter of the rate.
    assert 20 * np.log10(np.abs(result - reference).max() / np.abs(reference).max()) < -70


@pytest.mark.parametrize(
    ("rate", "target"), [(44100, 48000), (48000, 44100), (44100, 11025), (22050, 44100), (44100, 44101)]
)
def test_resampled_sine_is_the_sine(rate: int, target: int) -> None:
    frequency = 0.4 * min(rate, target)
    result = resample(sine(frequency, rate, 6000), rate, target)
    expected = sine(frequency, target, result.shape[-1])
    ends = math.ceil(2 * PADDING * max(1.0, target / rate))
    assert decibels((result - expected)[ends:-ends]) < -90


def test_gradients_and_shapes() -> None:
    audio = torch.randn(2, 1, 7, dtype=torch.float64, requires_grad=True)
    for change in (lambda x: upsample(x, 3), lambda x: downsample(x, 2), lambda x: resample(x, 8000, 11025)):
        assert torch.autograd.gradcheck(change, (audio,))
    assert upsample(audio, 3).shape == (2, 1, 21)
    assert downsample(audio, 2).shape == (2, 1, 4)
    assert resample(audio[..., :1], 44100, 48000).shape == (2, 1, 2)
    assert upsample(audio, 1) is audio
    assert not upsample(torch.zeros(1, 1, 50), 4).any()


def test_unusable_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="factor"):
        upsample(torch.zeros(3), 0)
    with pytest.raises(UserError, match="sample rate"):
        resample(torch.zeros(3), 0, 44100)
