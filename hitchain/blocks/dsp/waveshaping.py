"""Soft clipping without memory, antialiased in closed form.

The curve is the algebraic sigmoid, with a ceiling of its own for each direction:

    f(u) = u / sqrt(1 + (u / c)^2),     c = upper for u >= 0, lower for u < 0

Slope 1 at rest, continuous to the second derivative, and a gradient of (1 + (u / c)^2)^(-3/2), which fades as a power
and so is never dead. Two ceilings make the two ways in which a triode runs out of room: grid conduction on one side,
cut-off on the other (J. Pakarinen, D. T. Yeh, "A review of digital techniques for modeling vacuum-tube guitar
amplifiers", Computer Music Journal 33(2), 2009).

First-order antiderivative antialiasing (J. Parker, V. Zavalishin, E. Le Bivic, "Reducing the aliasing of nonlinear
waveshaping using continuous-time convolution", DAFx-16) replaces f(u[t]) by its mean over the straight line from
u[t-1] to u[t], (F(a) - F(b)) / (a - b) with F the antiderivative. That quotient is ill-conditioned for most curves; for
this one it is not:

    F(u) = c^2 (s(u) - 1) = u^2 / (s(u) + 1),     s(u) = sqrt(1 + (u / c)^2)
    same side:      (F(a) - F(b)) / (a - b) = (a + b) / (s(a) + s(b))
    across zero:    (F(a) - F(b)) / (a - b), where |a|, |b| <= |a - b|

For small signals the mean is a filter (1 + z^-1) / 2: half a sample late, and down by a cosine. `mean_inverse` undoes
both at the bins of a later FFT.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows


def clip(level: Tensor, upper: float = 1.0, lower: float = 1.0) -> Tensor:
    """The curve itself, f(u), without antialiasing. Any shape."""
    return level / _root(level, upper, lower)


def clip_mean(audio: Tensor, gain: Tensor, bias: Tensor, upper: float = 1.0, lower: float = 1.0) -> Tensor:
    """An amplifying stage: f(gain x + bias) - f(bias), antialiased to the first order. At rest before the first sample.

    Args:
        audio: (batch, channels, samples).
        gain: (batch,), the amplification in front of the curve, as a ratio.
        bias: (batch,), the operating point on the curve; away from 0 it makes even harmonics.
        upper, lower: the ceilings, above 0.

    Returns:
        (batch, channels, samples), between -lower - f(bias) and upper - f(bias). Silence gives silence.
    """
    if audio.device.type == "cpu":
        stage: Tensor = _ClipMean.apply(audio, gain, bias, upper, lower)  # type: ignore[no-untyped-call]
        return stage
    return clip_mean_parallel(audio, gain, bias, upper, lower)


def clip_mean_parallel(audio: Tensor, gain: Tensor, bias: Tensor, upper: float = 1.0, lower: float = 1.0) -> Tensor:
    """`clip_mean` in tensor operations: what runs on a GPU, about ten times slower on a CPU."""
    rest = bias[:, None, None]
    level = gain[:, None, None] * audio + rest
    before = torch.cat([rest.expand(-1, audio.shape[1], 1), level[..., :-1]], dim=-1)
    root, root_before = _root(level, upper, lower), _root(before, upper, lower)
    across = level * before < 0
    step = torch.where(across, level - before, 1.0)
    antiderivatives = level**2 / (root + 1.0) - before**2 / (root_before + 1.0)
    mean = torch.where(across, antiderivatives / step, (level + before) / (root + root_before))
    return mean - clip(rest, upper, lower)


def _root(level: Tensor, upper: float, lower: float) -> Tensor:
    return torch.sqrt(1.0 + torch.where(level >= 0, level / upper, level / lower) ** 2)


def mean_inverse(n_fft: int, factor: int, stages: int, like: Tensor) -> Tensor:
    """What undoes the delay and the droop of antialiased stages: (2 / (1 + z^-1))^stages at the oversampled rate.

    Args:
        n_fft: length of the real FFT at the lower rate.
        factor: oversampling of the stages over that rate, from 1 up. At 1 the droop reaches a zero at the highest bin,
            so its inverse is held to +12 dB.
        stages: how many antialiased stages the signal went through.

    Returns:
        complex (n_fft // 2 + 1,).
    """
    angle = torch.arange(n_fft // 2 + 1, dtype=like.dtype, device=like.device) * (math.pi / (n_fft * factor))
    droop = torch.cos(angle).clamp_min(0.25) ** -stages
    return torch.polar(droop, angle * stages)


class _ClipMean(torch.autograd.Function):
    """`clip_mean` on a CPU: one compiled pass forward and one back, where tensor operations need forty."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, gain: Tensor, bias: Tensor, upper: float, lower: float) -> Tensor:
        from hitchain.blocks.dsp import waveshaping_kernels as kernels

        ctx.save_for_backward(audio, gain, bias)
        ctx.ceilings = (upper, lower)
        result = torch.empty_like(audio, memory_format=torch.contiguous_format)
        over_rows(kernels.clip_mean_forward, len(audio), *_arrays(audio, gain, bias), upper, lower, result.numpy())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        from hitchain.blocks.dsp import waveshaping_kernels as kernels

        audio, gain, bias = ctx.saved_tensors
        grad_audio = torch.empty_like(audio, memory_format=torch.contiguous_format)
        # Sums over millions of samples: kept in float64 whatever the audio is.
        grad_gain = torch.zeros(gain.shape, dtype=torch.float64)
        grad_bias = torch.zeros(bias.shape, dtype=torch.float64)
        given, results = _arrays(audio, gain, bias), _arrays(grad, grad_audio, grad_gain, grad_bias)
        over_rows(kernels.clip_mean_backward, len(audio), *given, *ctx.ceilings, *results)
        return grad_audio, grad_gain.to(gain.dtype), grad_bias.to(bias.dtype), None, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
