"""Envelopes in closed form: the level is known from the time alone, so a window of a note is exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

CURVE = math.log(100.0)
"""A decay is said to last until 1 % of its way is left: it follows exp(-CURVE x)."""


def adsr(
    since: Tensor,
    duration: Tensor,
    attack: Tensor,
    decay: Tensor,
    sustain: Tensor,
    release: Tensor,
    sample_rate: int,
    span: int,
) -> Tensor:
    """Attack, decay, sustain, release: continuous, 0 at the onset and from `release` after the note's end.

        held(t) = min(t / attack, 1) * (sustain + (1 - sustain) exp(-CURVE max(t - attack, 0) / decay))
        level(t) = held(min(t, duration)) * (exp(-CURVE x) - 0.01) / 0.99,   x = (t - duration) / release within 0 to 1

    The attack is a straight line, the rest exponential like the discharge of a capacitor; the release starts from
    whatever level was reached. Times must be above 0; from 1 ms up no gradient grows out of hand.

    Args:
        since: [s] from the onset to the first sample, (voices,). Negative is before the onset.
        duration, attack, decay, release: [s], (voices,).
        sustain: 0 to 1, (voices,).

    Returns:
        (voices, span), of the sustain's dtype. Differentiable with respect to the six tensors.
    """
    if sustain.device.type == "cpu":
        inputs = [value.double() for value in (since, duration, attack, decay, sustain, release)]
        level: Tensor = _Adsr.apply(*inputs, sample_rate, span, sustain.dtype)  # type: ignore[no-untyped-call]
        return level
    return adsr_reference(since, duration, attack, decay, sustain, release, sample_rate, span)


def adsr_reference(
    since: Tensor,
    duration: Tensor,
    attack: Tensor,
    decay: Tensor,
    sustain: Tensor,
    release: Tensor,
    sample_rate: int,
    span: int,
) -> Tensor:
    """`adsr` as tensor operations, on any device."""
    time = since[:, None].double() + torch.arange(span, dtype=torch.float64, device=since.device) / sample_rate
    duration, attack, decay, sustain, release = (
        value[:, None].to(sustain.dtype) for value in (duration, attack, decay, sustain, release)
    )
    held = torch.minimum(time, duration).clamp_min(0.0).to(sustain.dtype)
    fallen = torch.exp((held - attack).clamp_min(0.0) * (-CURVE / decay))
    level = (held / attack).clamp_max(1.0) * (sustain + (1.0 - sustain) * fallen)
    after = (time - duration).to(sustain.dtype)
    left = torch.exp((after / release).clamp(0.0, 1.0) * -CURVE)
    return level * ((left - 0.01) / 0.99)


class _Adsr(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, sample_rate, span, dtype = inputs
        ctx.sample_rate = sample_rate
        ctx.save_for_backward(*tensors)
        level = torch.empty(tensors[0].shape[0], span, dtype=dtype)
        arrays = map(_array, tensors)
        over_rows(_compiled().adsr_forward, len(level), *arrays, 1.0 / sample_rate, level.numpy())
        return level

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = torch.empty(6, upstream.shape[0], dtype=torch.float64)
        arrays = map(_array, ctx.saved_tensors)
        more = 1.0 / ctx.sample_rate, _array(upstream), gradients.numpy()
        over_rows(_compiled().adsr_backward, len(upstream), *arrays, *more)
        return (*gradients, None, None, None)


def _compiled() -> Any:
    from hitchain.blocks.dsp import envelope_kernels  # slow to load, hence not before it is needed

    return envelope_kernels


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().contiguous().numpy()
