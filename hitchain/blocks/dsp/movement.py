"""What moves by itself: the phase of a low-frequency oscillator, in step with the song."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def turns(rate: Tensor, samples: int, sample_rate: int, start: Tensor | float = 0.0) -> Tensor:
    """Cycles of an oscillator since the start of the song: rate t, t = start + n / sample_rate.

    Args:
        rate: [Hz], (batch,).
        start: when in the song the first sample is [s].

    Returns:
        float64 (batch, samples).
    """
    times = torch.arange(samples, dtype=torch.float64, device=rate.device) / sample_rate + float(start)
    return rate.double().unsqueeze(-1) * times


def sine(cycles: Tensor, offset: Tensor | float = 0.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """sin(2 pi (cycles + offset)), the whole turns taken off in float64. Any broadcastable shapes."""
    shifted = cycles + offset
    return torch.sin(((shifted - shifted.detach().floor()) * (2.0 * math.pi)).to(dtype))


def cosine(cycles: Tensor, offset: Tensor | float = 0.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """cos(2 pi (cycles + offset)), likewise."""
    return sine(cycles, offset + 0.25, dtype)
