"""A zone's recording made ready for a pitch: loop unrolled, stretched, band-limited, silence at the ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitchain.blocks.dsp.interpolation import RINGING, TAPS, band_limit
from hitchain.blocks.samples.stretching import stretch
from hitchain.blocks.samples.zone import Zone

KEEP = ("none", "duration", "duration_and_formants")
UNROLLED = 20.0
"""[s] For how long a loop goes on where durations are kept: a stretched recording no longer closes on itself."""
WIDEST_STRETCH = 8.0


@dataclass(frozen=True)
class Prepared:
    """What a voice reads: audio (channels, samples), the place of the recording's first sample in it, its loop as
    places in it, and how many of its samples stand for one of the recording's."""

    audio: Tensor
    origin: int
    loop: tuple[float, float]
    scale: float = 1.0


def prepare(zone: Zone, semitones: int, transposed: int, keep: str) -> Prepared:
    """Ready to be read at up to `semitones` and a half above the speed at which output samples follow.

    Args:
        transposed: semitones by which the pitch is moved, which is made up for by length where that is to be kept.
    """
    factor = 2.0 ** (transposed / 12.0)
    if keep != "none" and transposed != 0:
        factor = min(max(factor, 1.0 / WIDEST_STRETCH), WIDEST_STRETCH)
        audio = _unrolled(zone)
        pitch = 440.0 * 2.0 ** ((zone.root - 69.0) / 12.0)
        formants = factor if keep == "duration_and_formants" else 1.0
        audio = stretch(audio, factor, zone.rate, formants, pitch)
        return _finish(audio, semitones, (0, 0), factor)
    if zone.loop is None:
        return _finish(zone.audio, semitones, (0, 0), 1.0)
    margin = TAPS + math.ceil(RINGING * _speed(semitones))
    start, end = zone.loop
    turns = 1 + math.ceil(2 * margin / (end - start))
    after = zone.audio[:, end:] if zone.while_held else zone.audio[:, :0]
    repeated = zone.audio[:, start:end].repeat(1, turns)
    audio = torch.cat([zone.audio[:, :end], repeated, after], dim=-1)
    begin = start + margin  # the loop, entered late: around both its ends the recording is periodic
    return _finish(audio, semitones, (begin, begin + end - start), 1.0)


def _unrolled(zone: Zone) -> Tensor:
    if zone.loop is None:
        return zone.audio
    start, end = zone.loop
    wanted = math.ceil(UNROLLED * zone.rate)
    turns = max(0, math.ceil((wanted - end) / (end - start)))
    return torch.cat([zone.audio[:, :end], zone.audio[:, start:end].repeat(1, turns)], dim=-1)


def _speed(semitones: int) -> float:
    """The fastest reading that a class of pitches stands for."""
    return 1.0 if semitones <= 0 else 2.0 ** ((semitones + 0.5) / 12.0)


def _finish(audio: Tensor, semitones: int, loop: tuple[int, int], scale: float) -> Prepared:
    ringing = math.ceil(RINGING * _speed(semitones)) if semitones > 0 else 0
    origin = TAPS // 2 + ringing
    limited = band_limit(pad(audio, (origin, origin)), 1.0 / _speed(semitones))
    begin, end = (place + origin if loop[1] else 0 for place in loop)
    return Prepared(limited, origin, (float(begin), float(end)), scale)
