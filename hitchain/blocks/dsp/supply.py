"""A power stage on a supply that gives way: how hard it is loaded, and clipping at the ceiling that it leaves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.waveshaping import clip_mean_parallel


def frame_levels(audio: Tensor, step: int) -> Tensor:
    """The mean magnitude of all channels over frames of `step` samples, the last filled up with silence.

    (batch, channels, samples) -> (batch, ceil(samples / step)).
    """
    if audio.device.type == "cpu":
        levels: Tensor = _FrameLevels.apply(audio, step)  # type: ignore[no-untyped-call]
        return levels
    return frame_levels_parallel(audio, step)


def frame_levels_parallel(audio: Tensor, step: int) -> Tensor:
    """`frame_levels` in tensor operations: what runs on a GPU."""
    frames = -(-audio.shape[-1] // step)
    padded = torch.nn.functional.pad(audio.abs().mean(dim=1), (0, frames * step - audio.shape[-1]))
    return padded.reshape(-1, frames, step).mean(dim=-1)


def sagging_clip(audio: Tensor, droop: Tensor, step: int) -> Tensor:
    """Clipping at a ceiling that moves: y = f(k x) / k, antialiased as `waveshaping.clip_mean` is, ceilings 1.

    Args:
        audio: x, (batch, channels, samples).
        droop: k > 0 at the start of each frame of `step` samples and at the end of the last: (batch, frames + 1), a
            straight line in between. At rest before the first sample.

    Returns:
        (batch, channels, samples).
    """
    if audio.device.type == "cpu":
        clipped: Tensor = _SaggingClip.apply(audio, droop, step)  # type: ignore[no-untyped-call]
        return clipped
    return sagging_clip_parallel(audio, droop, step)


def sagging_clip_parallel(audio: Tensor, droop: Tensor, step: int) -> Tensor:
    """`sagging_clip` in tensor operations: what runs on a GPU."""
    ramp = torch.arange(step, dtype=audio.dtype, device=audio.device) / step
    line = torch.lerp(droop[:, :-1, None], droop[:, 1:, None], ramp).flatten(1)[:, None, : audio.shape[-1]]
    one = torch.ones_like(droop[:, 0])
    return clip_mean_parallel(audio * line, one, torch.zeros_like(one)) / line


class _FrameLevels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, step: int) -> Tensor:
        from hitchain.blocks.dsp import supply_kernels as kernels

        ctx.save_for_backward(audio)
        ctx.step = step
        levels = torch.empty(len(audio), -(-audio.shape[-1] // step), dtype=audio.dtype)
        over_rows(kernels.frame_levels, len(audio), *_arrays(audio), step, levels.numpy())
        return levels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        from hitchain.blocks.dsp import supply_kernels as kernels

        (audio,) = ctx.saved_tensors
        grad_audio = torch.empty_like(audio, memory_format=torch.contiguous_format)
        given = _arrays(audio, grad)
        over_rows(kernels.frame_levels_backward, len(audio), *given, ctx.step, grad_audio.numpy())
        return grad_audio, None


class _SaggingClip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, droop: Tensor, step: int) -> Tensor:
        from hitchain.blocks.dsp import supply_kernels as kernels

        ctx.save_for_backward(audio, droop)
        ctx.step = step
        result = torch.empty_like(audio, memory_format=torch.contiguous_format)
        over_rows(kernels.sagging_clip, len(audio), *_arrays(audio, droop), step, result.numpy())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        from hitchain.blocks.dsp import supply_kernels as kernels

        audio, droop = ctx.saved_tensors
        grad_audio = torch.empty_like(audio, memory_format=torch.contiguous_format)
        grad_droop = torch.zeros(droop.shape, dtype=torch.float64)
        arrays = _arrays(audio, droop, grad)
        over_rows(kernels.sagging_clip_backward, len(audio), *arrays, ctx.step, *_arrays(grad_audio, grad_droop))
        return grad_audio, grad_droop.to(droop.dtype), None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
