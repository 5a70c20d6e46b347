"""How loud it is now, from 0 to 1: what an envelope follower makes of audio."""

from __future__ import annotations

import torch
from torch import Tensor

from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.dynamics import time_coefficient
from hitchain.blocks.dsp.recursion import ballistics


def follow(audio: Tensor, sensitivity: Tensor, attack: Tensor, release: Tensor, sample_rate: int) -> Tensor:
    """e / (1 + e), e the peak over the channels, amplified by `sensitivity` and followed through attack and release.

    It is half way at a peak of -sensitivity dB, nears 1 far above it, and never sticks at an end.

    Args:
        audio: (batch, channels, samples).
        sensitivity: [dB]; attack, release: time constants [ms]; each (batch,).

    Returns:
        (batch, samples), 0 for silence.
    """
    peak = audio.abs().amax(dim=1)
    rise, fall = time_coefficient(attack, sample_rate), time_coefficient(release, sample_rate)
    followed = ballistics(peak, rise, fall) * to_gain(sensitivity).unsqueeze(-1)
    return followed / (1.0 + followed)


def at_times(values: Tensor, places: Tensor) -> Tensor:
    """Values (batch, samples) read between samples, along straight lines, at places [samples] (frames,)."""
    last = values.shape[-1] - 1
    places = places.clamp(0.0, float(last))
    before = places.floor().long().clamp_max(max(last - 1, 0))
    share = (places - before).to(values.dtype)
    after = (before + 1).clamp_max(last)
    return torch.lerp(values[:, before], values[:, after], share)
