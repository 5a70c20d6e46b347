"""The exciter: scipy's Butterworth high-pass where it is linear, aliasing, harmonics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal
import scipy.stats
import torch
from distortions import RATE, aliasing, apart, process, sine

Accuracy = Callable[..., None]


def test_faint_signals_meet_two_butterworth_high_passes(accuracy: Accuracy) -> None:
    samples = 16384
    audio = torch.zeros(1, 1, samples, dtype=torch.float64)
    audio[..., 2000] = 1e-6
    added = process("effects/exciter", audio, frequency=2000.0, drive=0.0, even=0.0, amount=1.0) - audio
    sections = scipy.signal.butter(2, 2000.0, "high", fs=RATE, output="sos")
    expected = scipy.signal.sosfilt(np.concatenate([sections, sections]), audio[0, 0].numpy())
    quantiles = scipy.stats.norm.ppf((np.arange(64) + 0.5) / 64) * 0.03
    expected *= 0.03 / (quantiles / np.sqrt(1.0 + quantiles**2)).std()
    accuracy("effects/exciter", "scipy.signal.butter", apart(added[0, 0].numpy(), expected), bound=-80.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("effects/exciter", drive=42.0, even=1.0, amount=1.0)
    accuracy("effects/exciter", "aliasing, 5 kHz sine at full drive", level, bound=-60.0)


def test_bass_is_left_alone_and_highs_gain_harmonics() -> None:
    bass = sine(80.0, level=0.3)
    assert float((process("effects/exciter", bass) - bass)[..., RATE // 4 : -RATE // 4].abs().max()) < 0.003
    output = process("effects/exciter", sine(4000.0, level=0.1), even=1.0)[0, 0, RATE // 4 : -RATE // 4].numpy()
    energy = np.abs(np.fft.rfft(output * np.kaiser(len(output), 20.0))) ** 2
    bins = [round(4000.0 * k * len(output) / RATE) for k in (1, 2)]
    first, second = (energy[b - 9 : b + 10].sum() for b in bins)
    assert second > 1e-3 * first
