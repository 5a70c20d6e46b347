"""Overdrive against its equation at a rate free of aliasing, with scipy's filters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from distortions import RATE, aliasing, apart, at_high_rate, harmonic, phrase, process, sine

Accuracy = Callable[..., None]


def filtered(audio: np.ndarray, response: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """By an analogue response, evaluated on the bins of a padded transform."""
    n_fft = 2 * len(audio)
    return np.fft.irfft(np.fft.rfft(audio, n_fft) * response(np.fft.rfftfreq(n_fft, 1 / RATE)), n_fft)[: len(audio)]


def test_is_its_equation(accuracy: Accuracy) -> None:
    audio, gain, bias = phrase(), 10.0, 0.9 * 0.4
    cut = filtered(audio[0, 0].numpy(), lambda f: 1j * f / (120.0 + 1j * f))

    def curve(u: np.ndarray) -> np.ndarray:
        return u / np.sqrt(1.0 + u * u)

    import torch

    clipped = at_high_rate(torch.from_numpy(cut)[None, None], lambda high: curve(gain * high + bias) - curve(bias))
    expected = filtered(clipped, lambda f: 5000.0 / (5000.0 + 1j * f) * (1j * f / (10.0 + 1j * f)))
    output = process("effects/overdrive", audio, drive=20.0, asymmetry=0.4, tight=120.0, tone=5000.0)[0, 0].numpy()
    noise = 0.125 * np.random.default_rng(0).standard_normal(1_000_000)
    expected = expected * 0.125 / curve(gain * noise + bias).std()
    # the loudness is made up by 64 quantiles here and by noise there: 0.1 %
    scale = float(output @ expected / (expected @ expected))
    assert scale == pytest.approx(1.0, abs=5e-3)
    accuracy("effects/overdrive", "its equation at 32 times the rate", apart(output, scale * expected), bound=-70.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("effects/overdrive", drive=48.0, asymmetry=1.0, tone=16000.0, tight=20.0)
    accuracy("effects/overdrive", "aliasing, 5 kHz sine at full drive", level, bound=-45.0)


def test_asymmetry_adds_even_harmonics() -> None:
    even, odd = (process("effects/overdrive", sine(441.0, level=0.2), asymmetry=a)[0, 0, RATE // 4 :] for a in (1.0, 0))
    assert harmonic(odd, 441.0, 2) < -100.0
    assert harmonic(even, 441.0, 2) > -25.0


def test_drive_hardly_changes_the_level() -> None:
    noise = 0.125 * np.random.default_rng(0).standard_normal(RATE)
    import torch

    audio = torch.from_numpy(noise)[None, None]
    levels = [
        float(process("effects/overdrive", audio, drive=drive, tone=16000.0, tight=20.0).std()) for drive in (0, 24, 48)
    ]
    assert max(levels) / min(levels) < 1.3
