"""A zone: one recording, the keys and velocities that play it, its loop and its envelope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hitchain.blocks.samples import riff
from hitchain.errors import UserError
from hitchain.files import read_audio

LARGEST = 1 << 28
"""Samples that an instrument may hold in memory (1 GiB)."""
LONGEST_TIME = 100.0
"""[s] Envelope times in files are held below this."""
REFERENCE = 10.0 ** (-18.0 / 20.0)
"""RMS that the loudest 400 ms of a zone are brought to, in the median: -18 dBFS leaves room for chords."""


@dataclass(frozen=True)
class Zone:
    """A recording and what plays it.

    Attributes:
        audio: float32 (1 or 2, samples). rate: [Hz].
        root: [MIDI semitones] the pitch at which it sounds as recorded, tuning included.
        keys, velocities: lowest and highest that it answers to, 0 to 127, both included.
        loop: start and end [samples], the end not included; None for none.
        while_held: whether the loop is left when the key is let go.
        once: whether it plays to its end, whatever the key does.
        tracking: by how much the pitch follows the key: 1, or 0 for a drum.
        gain: amplitude. pan: -1 left to 1 right. offset: [samples] where it begins.
        attack, decay, release: [s]. sustain: 0 to 1.
    """

    audio: Tensor
    rate: int
    root: float = 60.0
    keys: tuple[float, float] = (0.0, 127.0)
    velocities: tuple[float, float] = (0.0, 127.0)
    loop: tuple[int, int] | None = None
    while_held: bool = False
    once: bool = False
    tracking: float = 1.0
    gain: float = 1.0
    pan: float = 0.0
    offset: int = 0
    attack: float = 0.0
    decay: float = 1.0
    sustain: float = 1.0
    release: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the recording lasts [s]."""
        return self.audio.shape[-1] / self.rate

    @property
    def stereo(self) -> bool:
        return self.audio.shape[0] == 2 or self.pan != 0.0


@dataclass(frozen=True)
class Recording:
    """A sound file: its audio, its rate [Hz], and the note and loop that a WAV's `smpl` chunk may name."""

    audio: Tensor
    rate: int
    root: float | None = None
    loop: tuple[int, int] | None = None


def read(path: Path) -> Recording:
    """A sound file. Raises `UserError` where it cannot be read or is too long."""
    audio, rate = read_audio(path)
    if audio.numel() > LARGEST:
        raise UserError(f"{path} holds more than {LARGEST // 2**20} million samples, too many for an instrument.")
    root, loop = riff.sampler_chunk(path)
    return Recording(audio, rate, root, checked_loop(loop, audio.shape[-1]))


def checked_loop(loop: tuple[int, int] | None, samples: int) -> tuple[int, int] | None:
    """A loop held within the recording; None where nothing is left to repeat."""
    if loop is None:
        return None
    start, end = max(0, loop[0]), min(samples, loop[1])
    return (start, end) if end - start >= 2 else None


def seconds(value: float) -> float:
    """An envelope's time from a file, held within what makes sense; 0 for what is no number."""
    return min(max(value, 0.0), LONGEST_TIME) if math.isfinite(value) else 0.0


def loudness(zones: Sequence[Zone]) -> float:
    """The gain that brings the instrument to the reference level: its zones keep their balance."""
    levels = sorted(level for level in map(_level, zones) if level > 1e-6)
    return REFERENCE / levels[len(levels) // 2] if levels else 1.0


def _level(zone: Zone) -> float:
    """RMS of the loudest 400 ms."""
    window = max(1, round(0.4 * zone.rate))
    power = zone.audio.double().square().mean(dim=0)
    padded = torch.nn.functional.pad(power, (0, -len(power) % window)).view(-1, window)
    return zone.gain * float(padded.mean(dim=1).max().sqrt())
