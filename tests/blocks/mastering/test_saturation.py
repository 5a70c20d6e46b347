"""Master saturation by what it should do to sound."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import torch
from torch import Tensor

from hitchain.blocks.mastering.saturation import Saturation

RATE = 44100
Accuracy = Callable[..., None]


def process(audio: Tensor, oversampling: int = 2, **chosen: float) -> Tensor:
    block = Saturation(RATE, oversampling=oversampling)
    settings = block.defaults(audio.shape[0], audio.dtype)
    for key, value in chosen.items():
        settings[key] = torch.full_like(settings[key], value)
    return block(audio, settings)


def sine(frequency: float, level: float, seconds: float = 1.0) -> Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (level * torch.sin(2 * math.pi * frequency * time))[None, None].expand(1, 2, -1)


def power(audio: Tensor) -> np.ndarray:
    return np.abs(np.fft.rfft(audio.numpy() * np.kaiser(audio.shape[-1], 20.0))) ** 2


def test_no_mix_is_the_clean_signal() -> None:
    torch.manual_seed(0)
    audio = torch.randn(2, 2, 500)
    assert torch.equal(process(audio, mix=0.0), audio)


def test_a_quiet_mix_passes_in_time_and_in_tune() -> None:
    """Far below the curve's bend nothing may change but the level: no delay, no droop, to 20 kHz."""
    torch.manual_seed(1)
    spectrum = torch.fft.rfft(torch.randn(1, 1, 8192, dtype=torch.float64))
    hertz = torch.arange(spectrum.shape[-1]) * RATE / 8192
    spectrum[..., (hertz < 500) | (hertz > 19_500)] = 0
    audio = 1e-3 * torch.fft.irfft(spectrum) * torch.hann_window(8192, dtype=torch.float64)
    output = process(audio, drive=0.0, warmth=0.0, mix=1.0)
    gain = (output * audio).sum() / audio.square().sum()
    # what is left: the DC blocker's phase at 500 Hz and above, atan(10 / 500) at most
    assert float((output / gain - audio).std() / audio.std()) < 0.01
    assert 1.0 < float(gain) < 1.1  # what loud passages lose, quiet ones gain


@pytest.mark.parametrize(("drive", "limit"), [(6.0, -75.0), (12.0, -50.0), (18.0, -40.0)])
def test_aliasing_of_a_full_scale_high_note(accuracy: Accuracy, drive: float, limit: float) -> None:
    frequency = 4997.0
    output = process(sine(frequency, 1.0), drive=drive, warmth=1.0, mix=1.0)[0, 0, RATE // 4 : -4410]
    level = power(output)
    hertz = np.arange(len(level)) * RATE / output.shape[-1]
    order = np.round(hertz / frequency)
    on = (np.abs(hertz - order * frequency) < 15.0) & (order > 0)
    aliases = 10 * np.log10(level[~on & (hertz > 20)].sum() / level[on].sum())
    accuracy("mastering/saturation", f"aliasing, 5 kHz sine at {drive:g} dB of drive", aliases, bound=limit)


def test_is_its_equation_at_a_high_rate(accuracy: Accuracy) -> None:
    window = scipy.signal.windows.tukey(16384, 0.4)
    audio = (sine(220.0, 0.5, 16384 / RATE) + sine(700.0, 0.3, 16384 / RATE)) * torch.from_numpy(window)
    u = 2.0 * scipy.signal.resample(audio[0, 0].numpy(), 16384 * 32) + 0.3
    clipped = scipy.signal.resample(u / np.sqrt(1.0 + u * u) - 0.3 / np.sqrt(1.09), 16384)
    hertz = np.fft.rfftfreq(4 * 16384, 1 / RATE)
    expected = np.fft.irfft(np.fft.rfft(clipped, 4 * 16384) * hertz / (hertz - 10j))[:16384]
    output = process(audio, drive=20 * math.log10(2.0), warmth=0.5, mix=1.0)[0, 0].numpy()
    expected *= output @ expected / (expected @ expected)  # how the level is made up is tested below
    error = 20 * np.log10(np.linalg.norm(output - expected) / np.linalg.norm(expected))
    # what first-order antialiasing leaves at twice the rate
    accuracy("mastering/saturation", "its equation at 32 times the rate", error, bound=-60.0)


def harmonic(audio: Tensor, frequency: float, order: int) -> float:
    level = power(audio)
    bins = [round(frequency * k * audio.shape[-1] / RATE) for k in (1, order)]
    fundamental, other = (level[b - 12 : b + 13].sum() for b in bins)
    return float(10 * np.log10(other / fundamental + 1e-30))


def test_warmth_adds_even_harmonics_and_drive_odd_ones() -> None:
    note = sine(441.0, 0.3)
    even = [harmonic(process(note, warmth=warmth, mix=1.0)[0, 0, RATE // 4 :], 441.0, 2) for warmth in (0.0, 1.0)]
    assert even[0] < -100.0
    assert even[1] > -35.0
    odd = [harmonic(process(note, drive=drive, mix=1.0)[0, 0, RATE // 4 :], 441.0, 3) for drive in (0.0, 6.0, 18.0)]
    assert odd[0] < odd[1] - 6.0 < odd[2] - 12.0


def test_drive_hardly_changes_loudness() -> None:
    generator = np.random.default_rng(0)
    pink = np.fft.irfft(np.fft.rfft(generator.standard_normal(2 * RATE)) / np.sqrt(1 + np.arange(RATE + 1)))
    audio = torch.from_numpy(0.2 * pink / pink.std())[None, None]
    meter = pyloudnorm.Meter(RATE)
    before = meter.integrated_loudness(audio[0].T.numpy())
    for drive in (0.0, 6.0, 12.0, 18.0):
        after = meter.integrated_loudness(process(audio, drive=drive, warmth=0.5, mix=1.0)[0].T.numpy())
        assert after == pytest.approx(before, abs=1.5)


def test_no_dc_leaves_and_silence_stays() -> None:
    output = process(sine(200.0, 0.8, 2.0), drive=18.0, warmth=1.0, mix=1.0)[0, 0, RATE:]
    assert abs(float(output.mean())) < 1e-3 * float(output.std())
    assert not process(torch.zeros(1, 2, 64), warmth=1.0).any()
