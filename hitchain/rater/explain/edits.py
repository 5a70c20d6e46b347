"""Changes to a recording that a person could make: each really made, so that the rater can hear the outcome."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.rater.explain.summary import OCTAVES

Change = Callable[[Tensor, int], Tensor]
"""(channels, samples), sample rate -> (1 or 2, samples)."""

BAND_DB = 3.0
ONE_OCTAVE = math.sqrt(2.0)
"""The quality factor of a peak one octave wide between the points of half its gain in dB."""


@dataclass(frozen=True)
class Edit:
    """A change with its name, and what kind of change it is.

    `control` names the edit that does the same processing but ends where it began: what that does to the rating is the
    processing's doing, and is taken off.
    """

    kind: str
    name: str
    change: Change
    control: str = ""


def edits(audio: Tensor, sample_rate: int) -> list[Edit]:
    """The changes that make sense for a recording (channels, samples) at its sample rate."""
    return [
        *_bands(sample_rate),
        *_cuts(sample_rate),
        *_levels(audio),
        *_widths(audio),
        *_speeds(),
    ]


def neutral() -> list[Edit]:
    """Changes that nobody would hear as one: how far they move the rating is its noise floor."""
    return [
        Edit("neutral", f"starts {seconds * 1000:.0f} ms later", functools.partial(_later, seconds=seconds))
        for seconds in (0.03, 0.07, 0.13, 0.29)
    ]


def _later(audio: Tensor, sample_rate: int, seconds: float) -> Tensor:
    return audio[:, round(seconds * sample_rate) :]


def _bands(sample_rate: int) -> Iterator[Edit]:
    for centre in OCTAVES:
        if centre < 0.4 * sample_rate:
            for gain in (BAND_DB, -BAND_DB):
                change = functools.partial(_peak, frequency=float(centre), gain_db=gain)
                yield Edit("band", f"{named(centre)} {gain:+g} dB", change)


def named(frequency: float) -> str:
    """A frequency as a person writes it."""
    return f"{frequency / 1000:g} kHz" if frequency >= 1000 else f"{frequency:g} Hz"


def _peak(audio: Tensor, sample_rate: int, frequency: float, gain_db: float) -> Tensor:
    return _filtered(audio, peaking(frequency, gain_db, sample_rate))


def peaking(frequency: float, gain_db: float, sample_rate: int) -> NDArray[np.float64]:
    """A peaking filter an octave wide as one second-order section (1, 6) (Bristow-Johnson, Audio EQ Cookbook)."""
    root = 10.0 ** (gain_db / 40.0)
    angle = 2.0 * math.pi * frequency / sample_rate
    alpha = math.sin(angle) / (2.0 * ONE_OCTAVE)
    b = np.array([1.0 + alpha * root, -2.0 * math.cos(angle), 1.0 - alpha * root])
    a = np.array([1.0 + alpha / root, -2.0 * math.cos(angle), 1.0 - alpha / root])
    section: NDArray[np.float64] = np.concatenate([b, a])[None] / a[0]
    return section


def _cuts(sample_rate: int) -> Iterator[Edit]:
    for kind, places in (("highpass", (40.0, 80.0, 160.0)), ("lowpass", (12_000.0, 8_000.0))):
        word = "low cut" if kind == "highpass" else "high cut"
        for frequency in places:
            if frequency < 0.4 * sample_rate:
                yield Edit("cut", f"{word} {named(frequency)}", functools.partial(_cut, frequency=frequency, kind=kind))


def _cut(audio: Tensor, sample_rate: int, frequency: float, kind: str) -> Tensor:
    """Butterworth, 24 dB per octave."""
    return _filtered(audio, scipy.signal.butter(4, frequency, kind, fs=sample_rate, output="sos"))


def _filtered(audio: Tensor, sections: NDArray[np.float64]) -> Tensor:
    filtered = scipy.signal.sosfilt(sections, audio.double().numpy(), axis=-1)
    return torch.from_numpy(np.ascontiguousarray(filtered, dtype=np.float32))


def _levels(audio: Tensor) -> Iterator[Edit]:
    peak = float(audio.abs().max())
    for gain in (3.0, -3.0):
        yield Edit("level", f"level {gain:+g} dB", functools.partial(_gain, gain_db=gain))
    for gain in (3.0, 6.0):
        change = functools.partial(_gain, gain_db=gain, ceiling=peak)
        yield Edit("level", f"{gain:g} dB louder, clipped at the old peak", change)


def _gain(audio: Tensor, sample_rate: int, gain_db: float, ceiling: float = math.inf) -> Tensor:
    return torch.clamp(audio * 10.0 ** (gain_db / 20.0), -ceiling, ceiling)


def _widths(audio: Tensor) -> Iterator[Edit]:
    """Only where there is a side to widen or narrow."""
    if audio.shape[0] == 2 and float((audio[0] - audio[1]).abs().max()) > 1e-4:
        for width, name in ((0.0, "mono"), (0.5, "half as wide"), (1.5, "half again as wide")):
            yield Edit("width", name, functools.partial(_width, width=width))


def _width(audio: Tensor, sample_rate: int, width: float) -> Tensor:
    mid, side = (audio[0] + audio[1]) / 2.0, (audio[0] - audio[1]) / 2.0 * width
    return torch.stack([mid + side, mid - side])


THERE_AND_BACK = "10 % faster and back"


def _speeds() -> Iterator[Edit]:
    """Phase vocoder; as it smears transients a little by itself, stretching there and back is heard as a control."""
    for percent in (5, -5, 10, -10):
        word = "faster" if percent > 0 else "slower"
        change = functools.partial(_speed, tempo=1.0 + percent / 100.0)
        yield Edit("tempo", f"{abs(percent)} % {word}", change, THERE_AND_BACK)
    for semitones in (1, -1):
        change = functools.partial(_speed, pitch=2.0 ** (semitones / 12.0))
        yield Edit("pitch", f"{semitones:+d} semitone", change, THERE_AND_BACK)
    yield Edit("control", THERE_AND_BACK, _there_and_back)


def _speed(audio: Tensor, sample_rate: int, tempo: float = 1.0, pitch: float = 1.0) -> Tensor:
    from hitchain.rater.training.augment import change_tempo_and_pitch

    return change_tempo_and_pitch(audio, sample_rate, tempo, pitch)


def _there_and_back(audio: Tensor, sample_rate: int) -> Tensor:
    return _speed(_speed(audio, sample_rate, tempo=1.1), sample_rate, tempo=1.0 / 1.1)
