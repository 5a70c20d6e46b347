"""A state-variable filter whose cutoff may change with every sample."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

Output = Literal["low", "band", "high"]

MIX: dict[str, tuple[float, float, float, float]] = {
    "low": (0.0, 0.0, 0.0, 1.0),
    "band": (0.0, 0.0, 1.0, 0.0),
    "high": (1.0, 0.0, -1.0, -1.0),
}
"""Weights of the input, of v1, of damping * v1 and of v2 in each output."""


def prewarp(cutoff: Tensor, sample_rate: int) -> Tensor:
    """Cutoff [Hz], below half the sample rate -> the filter's g = tan(pi cutoff / sample_rate). Any shape."""
    return torch.tan(cutoff * (math.pi / sample_rate))


def state_variable_filter(audio: Tensor, g: Tensor, damping: Tensor, output: Output = "low") -> Tensor:
    """Second-order low-, band- or high-pass by the topology-preserving transform; 12 dB per octave.

    Zavalishin, The Art of VA Filter Design (2012), chapter 4: the analog filter H(s) = {1, k s, s^2} / (s^2 + k s + 1)
    with its two integrators replaced by trapezoidal ones. For every sample, with states s1 and s2 at rest at first,

        v1 = (s1 + g (x - s2)) / (1 + g (g + k)),    v2 = s2 + g v1,    s1 <- 2 v1 - s1,    s2 <- 2 v2 - s2
        low = v2,    band = k v1,    high = x - k v1 - v2

    With a constant cutoff it equals the bilinear transform; it stays stable however fast the cutoff moves.

    Args:
        audio: (rows, samples).
        g: tan(pi cutoff / sample_rate), see `prewarp`, (rows, samples). Above 0.
        damping: k = 1 / Q, (rows,). Above 0; sqrt(2) is Butterworth's.
        output: "low", "band" (0 dB at its centre) or "high".

    Returns:
        (rows, samples). Differentiable with respect to all three: exact recursions on a CPU, a scan elsewhere.
    """
    if audio.device.type == "cpu":
        filtered: Tensor = _StateVariable.apply(audio, g, damping, MIX[output])  # type: ignore[no-untyped-call]
        return filtered
    return state_variable_scan(audio, g, damping, output)


def state_variable_scan(audio: Tensor, g: Tensor, damping: Tensor, output: Output = "low") -> Tensor:
    """`state_variable_filter` as a parallel scan of tensor operations, on any device; log2(samples) passes.

    The recursion is s[n + 1] = A[n] s[n] + b[n]; pairs (A, b) compose associatively (Hillis and Steele, 1986).
    """
    direct, band, damped, low = MIX[output]
    k = damping[:, None]
    inverse = 1.0 / (1.0 + g * (g + k))
    v1 = torch.stack([inverse, -g * inverse, g * inverse * audio], dim=-1)  # weights of s1, of s2, and the rest
    zero, one = torch.zeros_like(g), torch.ones_like(g)
    v2 = g[..., None] * v1 + torch.stack([zero, one, zero], dim=-1)
    step = torch.stack([2.0 * v1, 2.0 * v2], dim=-2) - torch.eye(2, 3, dtype=audio.dtype, device=audio.device)
    matrix, drive = step[..., :2], step[..., 2]
    shift = 1
    while shift < audio.shape[-1]:
        later, earlier = matrix[:, shift:], matrix[:, :-shift]
        drive = torch.cat(
            [drive[:, :shift], drive[:, shift:] + (later @ drive[:, :-shift, :, None]).squeeze(-1)], dim=1
        )
        matrix = torch.cat([matrix[:, :shift], later @ earlier], dim=1)
        shift *= 2
    states = torch.cat([torch.zeros_like(drive[:, :1]), drive[:, :-1]], dim=1)
    first = (v1[..., :2] * states).sum(dim=-1) + v1[..., 2]
    second = (v2[..., :2] * states).sum(dim=-1) + v2[..., 2]
    return direct * audio + (band + damped * k) * first + low * second


class _StateVariable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, g: Tensor, damping: Tensor, mix: tuple[float, ...]) -> Tensor:
        kernels = _compiled()
        output = torch.empty(audio.shape, dtype=audio.dtype)
        blocks = -(-audio.shape[1] // kernels.BLOCK)
        kept = torch.empty(audio.shape[0], blocks, 2, dtype=torch.float64)
        ctx.mix = mix
        ctx.save_for_backward(audio, g, damping, kept)
        arrays = map(_array, (audio, g, damping))
        over_rows(kernels.filter_forward, len(audio), *arrays, mix, output.numpy(), kept.numpy())
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        audio, g, damping, kept = ctx.saved_tensors
        gradients = [torch.empty(value.shape, dtype=value.dtype) for value in (audio, g, damping)]
        arrays = (*map(_array, (audio, g, damping)), ctx.mix, *map(_array, (kept, upstream)))
        over_rows(_compiled().filter_backward, len(audio), *arrays, *map(_array, gradients))
        return (*gradients, None)


def _compiled() -> Any:
    from hitchain.blocks.dsp import state_variable_kernels  # slow to load, hence not before it is needed

    return state_variable_kernels


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().contiguous().numpy()
