"""First-order all-pass stages in series in a feedback loop, their corner moving with every sample: for phasers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.closed_loop import closed_loop
from hitchain.blocks.dsp.recursion import linear_recurrence
from hitchain.blocks.dsp.threads import over_rows


def all_pass_cascade(
    audio: Tensor, gain: Tensor, feedback: Tensor, stages: int, parallel: bool | None = None
) -> Tensor:
    """Each stage is a trapezoidal one-pole, its low-pass twice less its input (Zavalishin 2012, "The art of VA filter
    design", 5.5): (1 - s) / (1 + s) by the bilinear transform, stable however fast the corner moves. For every sample

        u = x + feedback y[t-1]
        for each stage:  s' = s + 2 G (u - s),   u <- s' + s - u,   s <- s'
        y = u

    Args:
        audio: x, (rows, samples), float32 or float64.
        gain: G = g / (1 + g), g = tan(pi corner / sample_rate), (rows, samples).
        feedback: (rows,) or (rows, samples), its size below 1.
        stages: from 1 up.
        parallel: tensor operations alone instead of compiled loops; by default wherever `audio` is not on CPU.

    Returns:
        y, (rows, samples). Differentiable once, in all three.
    """
    if audio.numel() == 0:
        return audio
    columns = feedback.unsqueeze(-1) if feedback.ndim == 1 else feedback
    if audio.device.type != "cpu" if parallel is None else parallel:
        return _by_tensors(audio, gain, columns, stages)
    result: Tensor = _Cascade.apply(audio, gain, columns, stages)  # type: ignore[no-untyped-call]
    return result


def _by_tensors(audio: Tensor, gain: Tensor, feedback: Tensor, stages: int) -> Tensor:
    def through(signal: Tensor) -> Tensor:
        for _ in range(stages):
            after = linear_recurrence(1.0 - 2.0 * gain, 2.0 * gain * signal, parallel=True)
            signal = after + torch.nn.functional.pad(after, (1, 0))[..., :-1] - signal
        return signal

    def returned(signal: Tensor) -> Tensor:
        return feedback * torch.nn.functional.pad(through(signal), (1, 0))[..., :-1]

    return through(closed_loop(returned, audio))


class _Cascade(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, gain: Tensor, feedback: Tensor, stages: int) -> Tensor:
        from hitchain.blocks.dsp import all_pass_cascade_kernels as kernels

        output = torch.empty_like(audio, memory_format=torch.contiguous_format)
        states = torch.empty(len(audio), -(-audio.shape[1] // kernels.BLOCK), stages + 1, dtype=torch.float64)
        over_rows(kernels.cascade_forward, len(audio), *_arrays(audio, gain, feedback, output, states))
        ctx.save_for_backward(audio, gain, feedback, states)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        from hitchain.blocks.dsp import all_pass_cascade_kernels as kernels

        audio, gain, feedback, states = ctx.saved_tensors
        whole = torch.contiguous_format  # the kernel writes into what it is given
        grads = tuple(torch.empty_like(value, memory_format=whole) for value in (audio, gain, feedback))
        given = _arrays(audio, gain, feedback, states, grad)
        over_rows(kernels.cascade_backward, len(audio), *given, *_arrays(*grads))
        return grads[0], grads[1], grads[2], None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
