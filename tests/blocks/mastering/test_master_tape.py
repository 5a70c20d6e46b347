"""Master tape: loudness, harmonics and aliasing. The loop itself is tested in tests/blocks/dsp/test_hysteresis.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from distortions import RATE, aliasing, harmonic, process, sine

from hitchain.blocks.dsp.hysteresis import langevin

Accuracy = Callable[..., None]
record = partial(process, "mastering/tape")


def test_full_bias_nears_langevins_curve(accuracy: Accuracy) -> None:
    """Of a loop that is nearly closed, the harmonics are those of the anhysteretic curve."""
    output = record(sine(441.0, level=0.5), drive=6.0, bias=1.0, mix=1.0, speed=30.0)[0, 0, RATE // 2 : -4410]
    expected = langevin(3.01 * 2.0 * sine(441.0, level=0.5))[0, 0, RATE // 2 : -4410]
    found = [harmonic(signal, 441.0, 3) for signal in (output, expected)]
    accuracy("mastering/tape", "third harmonic of Langevin's curve", abs(found[0] - found[1]), bound=1.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("mastering/tape", drive=15.0, mix=1.0)
    accuracy("mastering/tape", "aliasing, 5 kHz sine at full drive", level, bound=-50.0)


def test_the_level_is_kept_at_any_drive() -> None:
    generator = np.random.default_rng(0)
    pink = np.fft.irfft(np.fft.rfft(generator.standard_normal(RATE)) / np.sqrt(1 + np.arange(RATE // 2 + 1)), RATE)
    audio = torch.from_numpy(0.2 * pink / pink.std())[None, None]
    for drive in (-12.0, 0.0, 15.0):
        level = float(record(audio, drive=drive, mix=1.0).std() / audio.std())
        assert 0.75 < level < 1.3
