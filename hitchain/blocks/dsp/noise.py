"""White noise that is the same at the same place, however much of it is asked for: a seeded table, read in a circle."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

PERIOD = 1 << 17
"""Samples after which the noise repeats (3 s at 44.1 kHz)."""


@lru_cache(maxsize=32)
def table(seed: int) -> Tensor:
    """One period of white noise: float32 (PERIOD,), uniform over +-sqrt(3), hence of zero mean and unit variance.

    Do not write into it: it is shared. Any integer is a seed.
    """
    generator = torch.Generator().manual_seed(seed & 0x7FFF_FFFF_FFFF_FFFF)
    uniform = torch.rand(PERIOD, generator=generator, dtype=torch.float64) * 2.0 - 1.0
    uniform = uniform - uniform.mean()
    unit: Tensor = (uniform / uniform.square().mean().sqrt()).float()
    return unit


@lru_cache(maxsize=32)
def spectrum(seed: int) -> Tensor:
    """The real FFT of `table(seed)`: complex64 (PERIOD // 2 + 1,). Do not write into it: it is shared."""
    bins: Tensor = torch.fft.rfft(table(seed))
    return bins


def noise(
    seed: Tensor | int,
    samples: int,
    start: Tensor | int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """White noise of unit variance, determined by the seed and the position alone.

    Args:
        seed: an integer, or an integer tensor of shape ().
        samples: how many.
        start: the position of the first sample: an integer, or an int64 tensor (...) for several stretches at once.

    Returns:
        (samples,), or (..., samples) for a tensor of starts. `noise(s, 10)[4:] == noise(s, 6, start=4)`.
    """
    source = table(int(seed)).to(device=device, dtype=dtype)
    starts = torch.as_tensor(start, dtype=torch.int64, device=source.device)
    index = starts[..., None] + torch.arange(samples, device=source.device)
    return source[index.remainder_(PERIOD)]


def coloured(seed: Tensor | int, slope: Tensor, sample_rate: int) -> Tensor:
    """One period of noise with a spectrum that rises by `slope` dB per octave: |H(f)| = (f / 1 kHz)^(slope / 6.02).

    The table is periodic, so the filter is exact: no start, no end. Below 20 Hz the spectrum is flat, at 0 Hz it is
    zero. Normalised to unit variance at every slope; 0 is white, -3 pink, -6 brown.

    Args:
        slope: [dB/octave], (rows,).

    Returns:
        (rows, PERIOD), to be read in a circle; differentiable with respect to the slope.
    """
    bins = torch.arange(PERIOD // 2 + 1, dtype=slope.dtype, device=slope.device) * (sample_rate / PERIOD)
    octaves = torch.log2(bins.clamp_min(20.0) / 1000.0)
    gain = torch.exp(slope[:, None] * octaves * (math.log(10.0) / 20.0)) * (bins > 0)
    gain = gain / gain.square().mean(dim=-1, keepdim=True).sqrt()
    white = spectrum(int(seed)).to(device=slope.device)
    precision = torch.complex128 if slope.dtype == torch.float64 else torch.complex64
    periods: Tensor = torch.fft.irfft(gain * white.to(precision))
    return periods


def positions(*keys: Tensor, stream: int = 0) -> Tensor:
    """Well-scattered places to start reading at, one for each combination of the keys.

    Args:
        keys: tensors of one shape, such as a note's beat and pitch: told apart to 1/960. The gradient stops here.
        stream: for independent noises of the same note.

    Returns:
        int64, of the keys' shape, in [0, PERIOD).
    """
    mixed = torch.full(keys[0].shape, (stream * 0x9E3779B1 + 0x7F4A7C15) & 0xFFFF_FFFF, device=keys[0].device)
    for key in keys:  # the multipliers and shifts of MurmurHash3's finaliser, on 32 bits held in 64
        mixed = mixed ^ (torch.round(key.detach().double() * 960.0).to(torch.int64) & 0xFFFF_FFFF)
        for shift, multiplier in ((16, 0x45D9F3B), (15, 0x119DE1F3)):
            mixed = ((mixed ^ (mixed >> shift)) * multiplier) & 0xFFFF_FFFF
        mixed = mixed ^ (mixed >> 16)
    return mixed % PERIOD
