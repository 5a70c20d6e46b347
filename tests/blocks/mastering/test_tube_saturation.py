"""Valve saturation: its equation at a high rate, aliasing, loudness, harmonics."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.signal
import torch
from distortions import RATE, aliasing, process, sine

FACTOR = 32
Accuracy = Callable[..., None]
saturate = partial(process, "mastering/tube_saturation")


def triode(u: np.ndarray, bias: float) -> np.ndarray:
    def curve(level: np.ndarray) -> np.ndarray:
        return level / np.sqrt(1.0 + np.where(level >= 0, level / 0.8, level / 1.2) ** 2)

    return curve(u + bias) - curve(np.full_like(u, bias))


def test_is_its_equation_at_a_high_rate(accuracy: Accuracy) -> None:
    samples, bias = 16384, 0.4
    audio = (sine(220.0, samples / RATE, 0.3) + sine(700.0, samples / RATE, 0.2)) * torch.from_numpy(
        scipy.signal.windows.tukey(samples, 0.5)
    )
    high = scipy.signal.resample(audio[0, 0].numpy(), samples * FACTOR)

    def blocked(signal: np.ndarray) -> np.ndarray:
        return scipy.signal.lfilter(*scipy.signal.butter(1, 5.0, "high", fs=RATE * FACTOR), signal)

    level = blocked(triode(2.0 * high, bias))
    expected = scipy.signal.resample(blocked(-triode(-level, bias)), samples)
    output = saturate(audio, drive=20 * math.log10(2.0), bias=bias, weight=0.0, mix=1.0)[0, 0].numpy()
    expected *= output @ expected / (expected @ expected)  # how the level is made up is tested below
    error = 20 * np.log10(np.linalg.norm(output - expected) / np.linalg.norm(expected))
    # what first-order antialiasing leaves at four times the rate
    accuracy("mastering/tube_saturation", "its equation at 32 times the rate", error, bound=-62.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("mastering/tube_saturation", drive=18.0, mix=1.0)
    accuracy("mastering/tube_saturation", "aliasing, 5 kHz sine at full drive", level, bound=-55.0)


def test_noise_keeps_its_level_at_any_drive_and_weight() -> None:
    noise = torch.from_numpy(0.2 * np.random.default_rng(0).standard_normal(RATE))[None, None]
    for drive in (-6.0, 6.0, 18.0):
        assert 0.85 < float(saturate(noise, drive=drive, mix=1.0).std() / noise.std()) < 1.15
    faint = 1e-4 * noise
    lifted, flat = (saturate(faint, weight=weight, drive=-6.0) for weight in (6.0, 0.0))
    assert float((lifted - flat).std() / flat.std()) < 1e-3
