"""Peaks between the samples: the highest magnitude from each sample to the next, by interpolation.

A band-limited signal between two of its samples is a sum of sincs. Here each is cut to `TAPS` samples by a Kaiser
window: point p of `oversampling` after sample t is sum over k of h_p[k] x[t - TAPS/2 + 1 + k], h_p of unit sum. It is
right to 0.005 dB up to 0.45 of the sample rate; above, as with every finite filter, points between samples are read too
low (BS.1770-4's own example has 12 taps for each point). Outside the signal there is silence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.decibels import from_gain
from hitchain.blocks.dsp.threads import over_rows

TAPS = 48
"""Samples that an interpolated point is made of."""

FLOOR = 1e-8
"""Peaks below it count as it, with zero gradient: -160 dB."""

_KAISER = 7.0  # the window's shape: side lobes 70 dB down


def peak_level(audio: Tensor, oversampling: int = 4, parallel: bool | None = None) -> Tensor:
    """The highest magnitude from each sample to the next, and of all channels.

    Points that are equally high (the same sound in both channels) share the gradient.

    Args:
        audio: (batch, channels, samples).
        oversampling: points looked at for each sample, the sample itself the first; 1 looks at the samples only.
        parallel: tensor operations instead of the compiled loop; by default wherever `audio` is not on CPU.

    Returns:
        (batch, samples) [dB], at least -160.
    """
    if oversampling != int(oversampling) or oversampling < 1:
        raise ValueError(f"the oversampling factor must be a whole number from 1 up, not {oversampling}")
    taps = _interpolator(oversampling).to(audio)
    if audio.device.type != "cpu" if parallel is None else parallel:
        return from_gain(_peak(audio, taps), FLOOR)
    result: Tensor = _PeakLevel.apply(audio, taps)  # type: ignore[no-untyped-call]
    return result


@lru_cache(maxsize=8)
def _interpolator(oversampling: int) -> Tensor:
    """h, (oversampling - 1, TAPS), float64."""
    with torch.inference_mode(False):
        point = torch.arange(1, oversampling, dtype=torch.float64)[:, None] / oversampling
        distance = torch.arange(TAPS, dtype=torch.float64) - (TAPS // 2 - 1) - point
        inside = (1.0 - (distance / (TAPS // 2)).square()).clamp_min(0.0)
        taps = torch.sinc(distance) * torch.special.i0(_KAISER * inside.sqrt())
        normalised: Tensor = taps / taps.sum(dim=-1, keepdim=True)
        return normalised


def _peak(audio: Tensor, taps: Tensor) -> Tensor:
    batch, channels, samples = audio.shape
    peak = audio.abs()
    if len(taps):
        padded = torch.nn.functional.pad(audio, (TAPS // 2 - 1, TAPS // 2))
        between = torch.nn.functional.conv1d(padded.reshape(batch * channels, 1, -1), taps[:, None])
        peak = torch.cat([peak[:, :, None], between.reshape(batch, channels, -1, samples).abs()], dim=2).flatten(1, 2)
    return peak.amax(dim=1)


class _PeakLevel(torch.autograd.Function):
    """On CPU. Few samples have a gradient, as a limiter looks at the highest only: for those the points are worked out
    anew, and nothing is kept."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, taps: Tensor) -> Tensor:
        from hitchain.blocks.dsp import true_peak_kernels as kernels

        ctx.save_for_backward(audio, taps)
        level = torch.empty(audio.shape[0], audio.shape[2], dtype=audio.dtype)
        parts = len(audio) * -(-audio.shape[2] // kernels.BLOCK)
        over_rows(kernels.level_forward, parts, *_arrays(audio, taps), FLOOR, level.numpy())
        return level

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        from hitchain.blocks.dsp import true_peak_kernels as kernels

        audio, taps = ctx.saved_tensors
        grad_audio = torch.zeros_like(audio, memory_format=torch.contiguous_format)
        over_rows(kernels.level_backward, len(audio), *_arrays(audio, taps, grad), FLOOR, grad_audio.numpy())
        return grad_audio, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
