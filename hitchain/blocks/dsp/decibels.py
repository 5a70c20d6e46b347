"""Decibels and pitch as ratios."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def to_gain(level: Tensor) -> Tensor:
    """Decibels -> amplitude ratio: 10^(level / 20)."""
    return torch.exp(level * (math.log(10.0) / 20.0))


def from_gain(gain: Tensor, floor: float = 1e-8) -> Tensor:
    """Amplitude ratio -> decibels; amplitudes below `floor` (default -160 dB) count as `floor`, with zero gradient."""
    return torch.log(gain.clamp_min(floor)) * (20.0 / math.log(10.0))


def midi_to_hz(pitch: Tensor) -> Tensor:
    """MIDI semitones -> Hz, equal temperament with A4 = 440 Hz (ISO 16)."""
    return 440.0 * torch.exp2((pitch - 69.0) / 12.0)
