"""Fuzz: its stages in a naive loop at a high rate, aliasing, octave, starving."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal
from distortions import RATE, aliasing, apart, harmonic, phrase, process, sine

Accuracy = Callable[..., None]
FACTOR = 32


def one_pole(audio: np.ndarray, corner: float, high: bool) -> np.ndarray:
    b, a = scipy.signal.butter(1, corner, "high" if high else "low", fs=RATE * FACTOR)
    return scipy.signal.lfilter(b, a, audio)


def test_is_its_equation_at_a_high_rate(accuracy: Accuracy) -> None:
    audio = phrase(0.2)
    x = scipy.signal.resample(audio[0, 0].numpy(), audio.shape[-1] * FACTOR)
    x = one_pole(x, 60.0, True)
    w = one_pole(one_pole(x + 0.5 * (2.0 * np.abs(x) - x), 30.0, True), 12000.0, False)
    u, b = 100.0 * w, 2.0 * 0.3
    v = (u + b) / np.sqrt(1.0 + (u + b) ** 2) - b / np.sqrt(1.0 + b * b)
    v = 6.0 * one_pole(one_pole(v, 30.0, True), 12000.0, False)
    size = np.abs(v)
    v = np.sign(v) * np.where(size < 0.5, size, np.where(size > 1.5, 1.0, size - (size - 0.5) ** 2 / 2.0))
    low, high = one_pole(v, 408.1, False), one_pole(v, 1808.6, True)
    expected = 0.25 * one_pole(low + 0.4 * (high - low), 20.0, True)
    expected = scipy.signal.resample(expected, audio.shape[-1])
    output = process("effects/fuzz", audio, fuzz=40.0, bias=0.3, octave=0.5, tone=0.4)[0, 0].numpy()
    # the couplings' poles at 176 kHz stand for analogue ones: each comes 2.6 us early, 1 degree a kHz
    accuracy("effects/fuzz", "its equation at 32 times the rate", apart(output, expected, 10_000.0), bound=-28.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = max(aliasing("effects/fuzz", fuzz=60.0, tone=1.0, octave=octave) for octave in (0.0, 1.0))
    accuracy("effects/fuzz", "aliasing, 5 kHz sine at full drive", level, bound=-40.0)


def test_the_octave_is_an_octave_above() -> None:
    note = sine(441.0, level=0.1)
    plain, octave = (process("effects/fuzz", note, octave=o, bias=0.0)[0, 0, RATE // 4 :] for o in (0.0, 1.0))
    assert harmonic(plain, 441.0, 2) < -60.0
    assert harmonic(octave, 441.0, 2) > 30.0
