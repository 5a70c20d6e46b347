"""Full-wave rectification, antialiased in closed form: an octave above.

The mean of |u| over the straight line from b = u[t-1] to a = u[t] (see `waveshaping`) is |a + b| / 2 where both are on
one side, and (a^2 + b^2) / (2 |a - b|) across zero. What is blended with it is the mean of u, (a + b) / 2, as late.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows


def octave_mean(audio: Tensor, share: Tensor) -> Tensor:
    """u + share (2 |u| - u), antialiased to the first order and half a sample late. At rest before the first sample.

    Args:
        audio: u, (batch, channels, samples).
        share: (batch,), 0 leaves the audio, 1 rectifies it.
    """
    if audio.device.type == "cpu":
        result: Tensor = _OctaveMean.apply(audio, share)  # type: ignore[no-untyped-call]
        return result
    return octave_mean_parallel(audio, share)


def octave_mean_parallel(audio: Tensor, share: Tensor) -> Tensor:
    """`octave_mean` in tensor operations: what runs on a GPU."""
    before = torch.nn.functional.pad(audio, (1, 0))[..., :-1]
    across = audio * before < 0
    step = torch.where(across, audio - before, 1.0).abs()
    mean = 0.5 * (audio + before)
    rectified = torch.where(across, 0.5 * (audio.square() + before.square()) / step, mean.abs())
    return torch.lerp(mean, 2.0 * rectified, share[:, None, None])


class _OctaveMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, share: Tensor) -> Tensor:
        from hitchain.blocks.dsp import rectifying_kernels as kernels

        ctx.save_for_backward(audio, share)
        result = torch.empty_like(audio, memory_format=torch.contiguous_format)
        over_rows(kernels.octave_forward, len(audio), *_arrays(audio, share, result))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        from hitchain.blocks.dsp import rectifying_kernels as kernels

        audio, share = ctx.saved_tensors
        grad_audio = torch.empty_like(audio, memory_format=torch.contiguous_format)
        grad_share = torch.zeros(len(audio), dtype=torch.float64)
        over_rows(kernels.octave_backward, len(audio), *_arrays(audio, share, grad, grad_audio, grad_share))
        return grad_audio, grad_share.to(share.dtype)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
