"""The master clipper: its ceiling, what it leaves alone, its curve and its aliasing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from hitchain import blocks

RATE = 44100
Accuracy = Callable[..., None]


def process(audio: Tensor, **values: float) -> Tensor:
    block = blocks.create("mastering/clipper", sample_rate=RATE)
    settings = block.defaults(1, audio.dtype)
    for key, value in values.items():
        settings[key] = torch.full((1,), value, dtype=audio.dtype)
    return block(audio, settings)


def sine(frequency: float, samples: int, level: float = 1.0) -> Tensor:
    time = torch.arange(samples, dtype=torch.float64) / RATE
    return (level * torch.sin(2 * math.pi * frequency * time))[None, None]


def test_the_curve_at_32_times_the_rate(accuracy: Accuracy) -> None:
    samples = 16384
    audio = sine(220.0, samples, 0.9) * torch.from_numpy(scipy.signal.windows.tukey(samples, 0.5))
    high = 2.0 * scipy.signal.resample(audio[0, 0].numpy(), 32 * samples) / 10 ** (-3 / 20)
    size = np.abs(high)
    bent = np.where(size < 0.7, size, np.where(size > 1.3, 1.0, size - (size - 0.7) ** 2 / 1.2))
    expected = scipy.signal.resample(np.sign(high) * bent, samples) * 10 ** (-3 / 20)
    output = process(audio, drive=20 * math.log10(2.0), ceiling=-3.0, softness=0.3)[0, 0].numpy()
    spectra = [np.fft.rfft(signal)[: int(18_000 * samples / RATE)] for signal in (output, expected)]
    error = 20 * np.log10(np.linalg.norm(spectra[0] - spectra[1]) / np.linalg.norm(spectra[1]))
    # what first-order antialiasing leaves at four times the rate
    accuracy("mastering/clipper", "its curve at 32 times the rate", error, bound=-80.0)


def test_aliasing(accuracy: Accuracy) -> None:
    output = process(sine(4997.0, RATE), drive=18.0, softness=0.02)[0, 0, RATE // 4 : -4410].numpy()
    energy = np.abs(np.fft.rfft(output * np.kaiser(len(output), 20.0))) ** 2
    hertz = np.arange(len(energy)) * RATE / len(output)
    order = np.round(hertz / 4997.0)
    on = (np.abs(hertz - order * 4997.0) < 15.0) & (order > 0)
    level = 10 * np.log10(energy[~on & (hertz > 20)].sum() / energy[on].sum())
    accuracy("mastering/clipper", "aliasing, 5 kHz sine at full drive", level, bound=-55.0)


def test_the_ceiling_holds_but_for_ringing_and_quiet_passes() -> None:
    loud = process(sine(300.0, RATE), drive=12.0, ceiling=-6.0, softness=0.02)
    assert 0.5 < float(loud.abs().max()) < 0.5012 * 1.2
    quiet = sine(300.0, RATE, 0.3) * torch.from_numpy(scipy.signal.windows.tukey(RATE, 0.1))
    assert float((process(quiet, drive=0.0) - quiet).abs().max()) < 1e-7
