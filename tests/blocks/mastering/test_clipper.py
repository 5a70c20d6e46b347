"""The master clipper: its ceiling, what it leaves alone, its curve and its aliasing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.signal
import torch
from distortions import RATE, aliasing, apart, process, sine

Accuracy = Callable[..., None]
clip = partial(process, "mastering/clipper")


def test_the_curve_at_32_times_the_rate(accuracy: Accuracy) -> None:
    samples = 16384
    audio = sine(220.0, samples / RATE, 0.9) * torch.from_numpy(scipy.signal.windows.tukey(samples, 0.5))
    high = 2.0 * scipy.signal.resample(audio[0, 0].numpy(), 32 * samples) / 10 ** (-3 / 20)
    size = np.abs(high)
    bent = np.where(size < 0.7, size, np.where(size > 1.3, 1.0, size - (size - 0.7) ** 2 / 1.2))
    expected = scipy.signal.resample(np.sign(high) * bent, samples) * 10 ** (-3 / 20)
    output = clip(audio, drive=20 * math.log10(2.0), ceiling=-3.0, softness=0.3)[0, 0].numpy()
    error = apart(output, expected)
    # what first-order antialiasing leaves at four times the rate
    accuracy("mastering/clipper", "its curve at 32 times the rate", error, bound=-80.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("mastering/clipper", drive=18.0, softness=0.02)
    accuracy("mastering/clipper", "aliasing, 5 kHz sine at full drive", level, bound=-55.0)


def test_the_ceiling_holds_but_for_ringing_and_quiet_passes() -> None:
    loud = clip(sine(300.0), drive=12.0, ceiling=-6.0, softness=0.02)
    assert 0.5 < float(loud.abs().max()) < 0.5012 * 1.2
    quiet = sine(300.0, level=0.3) * torch.from_numpy(scipy.signal.windows.tukey(RATE, 0.1))
    assert float((clip(quiet, drive=0.0) - quiet).abs().max()) < 1e-7
