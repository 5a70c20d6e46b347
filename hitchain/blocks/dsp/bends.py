"""Curves made of straight lines with rounded bends, antialiased in closed form: clippers and wavefolders.

    f(u) = s0 u + sum_k s_k sgn(u) r(|u| - t_k),      r(x) = 0                      x < -w_k
                                                           (x + w_k)^2 / (4 w_k)    between
                                                           x                        x > w_k

The curve turns by the slope s_k at the threshold t_k, over the width w_k = knee * t_k to either side. A clipper is one
bend of slope -1; a wavefolder has several. First-order antiderivative antialiasing (see `waveshaping`) takes the mean
of f over the line from u[t-1] to u[t], (F(a) - F(b)) / (a - b). F is a polynomial between bends:

    R(x) = p^3 / (12 w) + m^2 / 2 + w m,      p = min(max(x + w, 0), 2 w),  m = max(x - w, 0)

Where the step is too short for that quotient, the mean is that of two Gauss points, exact between bends.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

SHORT = 1e-4
"""Steps below this share of 1 + |a| + |b| are short."""

NEAR, FAR = 0.5 + 0.5 / math.sqrt(3.0), 0.5 - 0.5 / math.sqrt(3.0)
"""The two Gauss points of a step."""


class Bends(NamedTuple):
    """A curve: its slope at rest, and how much its slope turns at which thresholds (> 0)."""

    slope: float
    turns: tuple[float, ...]
    thresholds: tuple[float, ...]


CLIPPER = Bends(1.0, (-1.0,), (1.0,))
"""Straight up to 1, flat above."""


def bend(level: Tensor, knee: Tensor, curve: Bends) -> Tensor:
    """The curve itself, f(u), without antialiasing. `knee` broadcasts against `level`."""
    size = level.abs()
    bent = curve.slope * size
    for turn, threshold in zip(curve.turns, curve.thresholds, strict=True):
        width = knee * threshold
        from_start = (size - threshold + width).clamp_min(0.0)
        rounded = torch.minimum(from_start, 2.0 * width)
        bent = bent + turn * (rounded.square() / (4.0 * width) + (from_start - rounded))
    return bent * torch.sign(level)


def bend_mean(audio: Tensor, bias: Tensor, knee: Tensor, curve: Bends) -> Tensor:
    """f(x + bias) - f(bias), antialiased to the first order. At rest before the first sample.

    Args:
        audio: (batch, channels, samples).
        bias: (batch,), the operating point; away from 0 it makes even harmonics.
        knee: (batch,), roundness of the bends, above 0 (hard), up to 1 (where the first bend begins at rest).

    Returns:
        (batch, channels, samples), half a sample late: `waveshaping.mean_inverse` undoes that. Silence gives silence.
    """
    if audio.device.type == "cpu":
        result: Tensor = _BendMean.apply(audio, bias, knee, curve)  # type: ignore[no-untyped-call]
        return result
    return bend_mean_parallel(audio, bias, knee, curve)


def bend_mean_parallel(audio: Tensor, bias: Tensor, knee: Tensor, curve: Bends) -> Tensor:
    """`bend_mean` in tensor operations: what runs on a GPU."""
    rest, width = bias.double()[:, None, None], knee.double()[:, None, None]
    level = audio.double() + rest
    before = torch.cat([rest.expand(-1, audio.shape[1], 1), level[..., :-1]], dim=-1)
    step = level - before
    short = step.abs() < SHORT * (1.0 + level.abs() + before.abs())
    quotient = (_integral(level, width, curve) - _integral(before, width, curve)) / torch.where(short, 1.0, step)
    points = [bend(share * level + (1.0 - share) * before, width, curve) for share in (NEAR, FAR)]
    mean = torch.where(short, 0.5 * (points[0] + points[1]), quotient)
    return (mean - bend(rest, width, curve)).to(audio.dtype)


def _integral(level: Tensor, knee: Tensor, curve: Bends) -> Tensor:
    size = level.abs()
    total = 0.5 * curve.slope * size.square()
    for turn, threshold in zip(curve.turns, curve.thresholds, strict=True):
        width = knee * threshold
        from_start = (size - threshold + width).clamp_min(0.0)
        rounded = torch.minimum(from_start, 2.0 * width)
        beyond = from_start - rounded
        total = total + turn * (rounded**3 / (12.0 * width) + beyond * (0.5 * beyond + width))
    return total


class _BendMean(torch.autograd.Function):
    """One compiled pass forward and one back, in float64 inside whatever the audio is."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, bias: Tensor, knee: Tensor, curve: Bends) -> Tensor:
        from hitchain.blocks.dsp import bends_kernels as kernels

        ctx.save_for_backward(audio, bias, knee)
        ctx.curve = curve
        result = torch.empty_like(audio, memory_format=torch.contiguous_format)
        arrays = _arrays(audio, bias.double(), knee.double(), *_curve(curve), result)
        over_rows(kernels.mean_forward, len(audio), *arrays)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        from hitchain.blocks.dsp import bends_kernels as kernels

        audio, bias, knee = ctx.saved_tensors
        grad_audio = torch.empty_like(audio, memory_format=torch.contiguous_format)
        sums = torch.zeros(len(audio), 2, dtype=torch.float64)
        arrays = _arrays(audio, bias.double(), knee.double(), *_curve(ctx.curve), grad, grad_audio, sums)
        over_rows(kernels.mean_backward, len(audio), *arrays)
        return grad_audio, sums[:, 0].to(bias.dtype), sums[:, 1].to(knee.dtype), None


def _curve(curve: Bends) -> tuple[Tensor, Tensor]:
    """Slopes, the one at rest first, and thresholds."""
    slopes = torch.tensor([curve.slope, *curve.turns], dtype=torch.float64)
    return slopes, torch.tensor(curve.thresholds, dtype=torch.float64)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
