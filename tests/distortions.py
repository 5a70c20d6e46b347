"""What the tests of distortions share: settings by name, aliasing of a sine, a law at a rate free of aliasing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.parameter import SEED, Choice

RATE = 44100
HIGH = 4997.0  # does not divide the rate: aliases fall between harmonics


def process(name: str, audio: Tensor, options: dict[str, object] | None = None, **values: float | str) -> Tensor:
    block = blocks.create(name, sample_rate=RATE, **(options or {}))
    settings = {**block.defaults(audio.shape[0], audio.dtype), SEED: torch.tensor(0)}
    for parameter in block.parameters:
        if parameter.name not in values:
            continue
        value = values[parameter.name]
        if isinstance(parameter, Choice):
            settings[parameter.name] = parameter.weights(str(value)).to(audio.dtype).repeat(audio.shape[0], 1)
        else:
            settings[parameter.name] = torch.full((audio.shape[0],), float(value), dtype=audio.dtype)
    return block(audio, settings)


def sine(frequency: float, seconds: float = 1.0, level: float = 1.0) -> Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (level * torch.sin(2 * math.pi * frequency * time))[None, None]


def power(audio: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(audio * np.kaiser(len(audio), 20.0))) ** 2  # side lobes below -150 dB


def aliasing(name: str, level: float = 1.0, frequency: float = HIGH, **values: float | str) -> float:
    """Energy away from the harmonics of a sine, against that on them [dB], above 20 Hz."""
    output = process(name, sine(frequency, level=level), **values)[0, 0, RATE // 4 : -4410].numpy()
    energy = power(output)
    hertz = np.arange(len(energy)) * RATE / len(output)
    order = np.round(hertz / frequency)
    on = (np.abs(hertz - order * frequency) < 15.0) & (order > 0)
    return float(10 * np.log10(energy[~on & (hertz > 20)].sum() / energy[on].sum()))


def harmonic(audio: Tensor, frequency: float, order: int) -> float:
    """The level of a harmonic against the fundamental [dB]."""
    energy = power(audio.numpy())
    bins = [round(frequency * k * audio.shape[-1] / RATE) for k in (1, order)]
    fundamental, other = (energy[b - 12 : b + 13].sum() for b in bins)
    return float(10 * np.log10(other / fundamental + 1e-30))


def phrase(level: float = 0.5, samples: int = 16384) -> Tensor:
    """Three low notes under a window, silent at both ends: (1, 1, samples)."""
    time = torch.arange(samples, dtype=torch.float64) / RATE
    notes = sum(torch.sin(2 * math.pi * f * time + f) for f in (110.0, 196.0, 330.0)) / 3.0
    window = torch.from_numpy(scipy.signal.windows.tukey(samples, 0.4))
    return (level * 1.5 * notes * window)[None, None]


def at_high_rate(audio: Tensor, law: Callable[[np.ndarray], np.ndarray], factor: int = 32) -> np.ndarray:
    """A law applied at many times the rate: what a distortion free of aliasing would give."""
    samples = audio.shape[-1]
    high = scipy.signal.resample(audio[0, 0].numpy(), samples * factor)
    return scipy.signal.resample(np.asarray(law(high), dtype=np.float64), samples)


def apart(output: np.ndarray, expected: np.ndarray, below: float = 18_000.0) -> float:
    """The level of the difference against the expected [dB], in the band that resampling leaves alone."""
    spectra = [np.fft.rfft(signal)[: int(below * len(output) / RATE)] for signal in (output, expected)]
    return float(10 * np.log10((np.abs(spectra[0] - spectra[1]) ** 2).sum() / (np.abs(spectra[1]) ** 2).sum()))
