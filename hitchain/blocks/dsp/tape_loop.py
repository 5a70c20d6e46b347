"""A loop of tape: saturated as it is recorded, read at a moving distance, darkened, and recorded again.

    v[t] = x[t] + feedback e[t]
    s[t] = (a + c) / (drive (sqrt(1 + a^2) + sqrt(1 + c^2))),  a = drive v[t], c = drive v[t-1]
    u[t] = s(t - late[t]),                   by Catmull-Rom's cubic
    e[t] = pole e[t-1] + b (u[t] + u[t-1])

s is x / sqrt(1 + x^2), antialiased by its antiderivative sqrt(1 + x^2) (Parker, Zavalishin and Le Bivic 2016, "Reducing
the aliasing of nonlinear waveshaping using continuous-time convolution"), in a form that never divides by a difference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

SHORTEST = 4.0
"""Samples: the least that `late` may be."""


def tape_echo(audio: Tensor, late: Tensor, feedback: Tensor, b: Tensor, pole: Tensor, drive: Tensor) -> Tensor:
    """The echo e of the loop, computed on CPU in float64 wherever the audio is.

    Args:
        audio: (batch, channels, samples).
        late: between recording and reading [samples], (batch, samples).
        feedback, b, pole, drive: (batch,).

    Returns:
        (batch, channels, samples). Differentiable once, in all.
    """
    channels = audio.shape[1]
    knobs = torch.stack([feedback, b, pole, drive], dim=-1).double().repeat_interleave(channels, dim=0)
    rows = audio.double().flatten(0, 1).cpu()
    lates = late.double().clamp_min(SHORTEST).repeat_interleave(channels, dim=0).cpu()
    echo: Tensor = _TapeLoop.apply(rows, lates, knobs.cpu())  # type: ignore[no-untyped-call]
    return echo.view(audio.shape).to(audio)


class _TapeLoop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, late: Tensor, knobs: Tensor) -> Tensor:
        from hitchain.blocks.dsp import tape_loop_kernels as kernels

        entering, tape, heard, echo = (torch.zeros_like(late, memory_format=torch.contiguous_format) for _ in range(4))
        ctx.save_for_backward(late, knobs, entering, tape, heard, echo)
        over_rows(kernels.forward, len(late), *_arrays(audio, late, knobs, entering, tape, heard, echo))
        return echo

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from hitchain.blocks.dsp import tape_loop_kernels as kernels

        saved = ctx.saved_tensors
        late, knobs = saved[:2]
        grad_tape, grad_audio, grad_late = (torch.zeros(late.shape, dtype=late.dtype) for _ in range(3))
        grad_knobs = torch.zeros(knobs.shape, dtype=knobs.dtype)
        over_rows(kernels.backward, len(late), *_arrays(*saved, grad, grad_tape, grad_audio, grad_late, grad_knobs))
        return grad_audio, grad_late, grad_knobs


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
