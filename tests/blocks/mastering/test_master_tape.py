"""Master tape: loudness, harmonics and aliasing. The loop itself is tested in tests/blocks/dsp/test_hysteresis.py."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.dsp.hysteresis import langevin

RATE = 44100
Accuracy = Callable[..., None]


def process(audio: Tensor, **values: float) -> Tensor:
    block = blocks.create("mastering/tape", sample_rate=RATE)
    settings = block.defaults(1, audio.dtype)
    for key, value in values.items():
        settings[key] = torch.full((1,), value, dtype=audio.dtype)
    return block(audio, settings)


def sine(frequency: float, level: float = 1.0) -> Tensor:
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    return (level * torch.sin(2 * math.pi * frequency * time))[None, None]


def power(audio: Tensor) -> np.ndarray:
    return np.abs(np.fft.rfft(audio.numpy() * np.kaiser(len(audio), 20.0))) ** 2


def test_full_bias_nears_langevins_curve(accuracy: Accuracy) -> None:
    """Of a loop that is nearly closed, the harmonics are those of the anhysteretic curve."""
    output = process(sine(441.0, 0.5), drive=6.0, bias=1.0, mix=1.0, speed=30.0)[0, 0, RATE // 2 : -4410]
    expected = langevin(3.01 * 2.0 * sine(441.0, 0.5))[0, 0, RATE // 2 : -4410]
    found = []
    for signal in (output, expected):
        energy = power(signal)
        bins = [round(441.0 * k * len(signal) / RATE) for k in (1, 3)]
        one, three = (energy[b - 12 : b + 13].sum() for b in bins)
        found.append(10 * np.log10(three / one))
    accuracy("mastering/tape", "third harmonic of Langevin's curve", abs(found[0] - found[1]), bound=1.0)


def test_aliasing(accuracy: Accuracy) -> None:
    energy = power(process(sine(4997.0), drive=15.0, mix=1.0)[0, 0, RATE // 4 : -4410])
    hertz = np.arange(len(energy)) * RATE / (RATE - RATE // 4 - 4410)
    order = np.round(hertz / 4997.0)
    on = (np.abs(hertz - order * 4997.0) < 15.0) & (order > 0)
    level = 10 * np.log10(energy[~on & (hertz > 20)].sum() / energy[on].sum())
    accuracy("mastering/tape", "aliasing, 5 kHz sine at full drive", level, bound=-50.0)


def test_the_level_is_kept_at_any_drive() -> None:
    generator = np.random.default_rng(0)
    pink = np.fft.irfft(np.fft.rfft(generator.standard_normal(RATE)) / np.sqrt(1 + np.arange(RATE // 2 + 1)), RATE)
    audio = torch.from_numpy(0.2 * pink / pink.std())[None, None]
    for drive in (-12.0, 0.0, 15.0):
        level = float(process(audio, drive=drive, mix=1.0).std() / audio.std())
        assert 0.75 < level < 1.3
