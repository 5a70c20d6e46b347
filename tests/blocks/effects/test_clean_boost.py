"""The clean boost: its impedances where it is linear, its rails, its aliasing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from distortions import RATE, aliasing, apart, process, sine

Accuracy = Callable[..., None]


def test_faint_signals_meet_the_impedances(accuracy: Accuracy) -> None:
    samples = 65536
    audio = torch.zeros(1, 1, samples, dtype=torch.float64)
    audio[..., 500] = 1e-3
    output = process("effects/clean_boost", audio, gain=20.0)[0, 0].numpy()
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    s = 2j * math.pi * np.maximum(hertz, 1e-9)
    ground = 56e3 / 9.0 + 1.0 / (s * 4.7e-6)
    wanted = 1.0 + 1.0 / (1.0 / 56e3 + s * 47e-12) / ground
    for resistance, farads in ((5e6, 0.1e-6), (10e3, 15e-6)):
        wanted = wanted * (s * resistance * farads / (1.0 + s * resistance * farads))
    expected = np.fft.irfft(np.fft.rfft(audio[0, 0].numpy()) * wanted, samples)
    # the slowest coupling, 0.3 Hz, outlasts both windows
    accuracy("effects/clean_boost", "its impedances", apart(output, expected), bound=-50.0)


def test_the_rails_stop_it() -> None:
    for supply, rail in ((9.0, 3.0), (18.0, 7.5)):
        peak = float(process("effects/clean_boost", sine(300.0), gain=26.0, supply=supply).abs().max())
        assert rail < peak < 1.25 * rail


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("effects/clean_boost", gain=26.0, supply=6.0)
    accuracy("effects/clean_boost", "aliasing, 5 kHz sine at full drive", level, bound=-50.0)
