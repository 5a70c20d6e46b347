"""Parts of a gate: holding a level for a while, and hysteresis. Exact recursions, with gradients.

On CPU compiled loops with hand-derived adjoints; elsewhere (`parallel`) tensor operations in log2(samples) steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from hitchain.blocks.dsp.threads import over_rows


def held_maximum(level: Tensor, window: Tensor, parallel: bool | None = None) -> Tensor:
    """The largest of the last `window` samples, for a window between whole numbers:

        y[t] = (1 - f) max x[t - n + 1 .. t] + f max x[t - n .. t],   window = n + f,  n whole, 0 < f <= 1

    Args:
        level: x, (batch, samples).
        window: [samples], above 1, (batch,).
        parallel: tensor operations instead of a loop; by default wherever `level` is not on CPU.

    Returns:
        (batch, samples). Differentiable once, in both.
    """
    if level.numel() == 0:
        return level
    if level.device.type != "cpu" if parallel is None else parallel:
        return torch.stack([_held(row, size) for row, size in zip(level, window, strict=True)])
    result: Tensor = _HeldMaximum.apply(level, window)  # type: ignore[no-untyped-call]
    return result


def whole_part(window: Tensor) -> Tensor:
    """n of a window n + f with 0 < f <= 1, and a millionth: a knob at its end may be rounded past a whole number."""
    return torch.ceil(window.detach().double() - 1e-6).long() - 1


def _held(level: Tensor, window: Tensor) -> Tensor:
    """By maxima over 1, 2, 4, ... samples, two of which cover any number between."""
    count = int(whole_part(window))
    lowest = float(level.detach().min())
    reach, size = level, 1
    while 2 * size <= count:
        reach = torch.maximum(reach, pad(reach, (size, 0), value=lowest)[: len(level)])
        size *= 2
    reach = torch.maximum(reach, pad(reach, (count - size, 0), value=lowest)[: len(level)])
    longer = torch.maximum(reach, pad(level, (count, 0), value=lowest)[: len(level)])
    return reach + (window - count) * (longer - reach)


class _HeldMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, level: Tensor, window: Tensor) -> Tensor:
        from hitchain.blocks.dsp import gating_kernels as kernels

        output = torch.empty_like(level, memory_format=torch.contiguous_format)
        shorter, longer = (torch.empty(level.shape, dtype=torch.int32) for _ in range(2))
        counts = whole_part(window)
        share = window - counts
        over_rows(kernels.held_forward, len(level), *_arrays(level, counts, share, shorter, longer, output))
        ctx.save_for_backward(level, share, shorter, longer)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        from hitchain.blocks.dsp import gating_kernels as kernels

        level, share, shorter, longer = ctx.saved_tensors
        grad_level = torch.zeros_like(level, memory_format=torch.contiguous_format)
        grad_share = torch.zeros_like(share)
        arrays = _arrays(level, share, shorter, longer, grad, grad_level, grad_share)
        over_rows(kernels.held_backward, len(level), *arrays)
        return grad_level, grad_share


def hysteresis(level: Tensor, width: Tensor, parallel: bool | None = None) -> Tensor:
    """A level that is followed at once when it rises, and when it falls only by what exceeds a width (the play of a
    gear; M. Krasnosel'skii and A. Pokrovskii 1989, "Systems with hysteresis"):

        y[t] = min(max(y[t-1], x[t]), x[t] + width),   y[0] = x[0]

    So what opens at a threshold closes `width` below it, and there is no jump for a gradient to miss.

    Args:
        level: x, (batch, samples).
        width: at least 0, (batch,).
        parallel: a scan instead of a loop; by default wherever `level` is not on CPU.

    Returns:
        (batch, samples). Differentiable once, in both.
    """
    if level.numel() == 0:
        return level
    if level.device.type != "cpu" if parallel is None else parallel:
        return _hysteresis_by_scan(level, width)
    result: Tensor = _Hysteresis.apply(level, width)  # type: ignore[no-untyped-call]
    return result


def _hysteresis_by_scan(level: Tensor, width: Tensor) -> Tensor:
    """Each sample clamps the state between two bounds; two clamps, one after the other, are one."""
    low, high = level, torch.cat([level[:, :1], level[:, 1:] + width.unsqueeze(-1)], dim=1)
    shift = 1
    while shift < level.shape[-1]:
        later_low, later_high = low[:, shift:], high[:, shift:]
        joined = [torch.minimum(torch.maximum(bound[:, :-shift], later_low), later_high) for bound in (low, high)]
        low, high = (
            torch.cat([bound[:, :shift], rest], dim=1) for bound, rest in zip((low, high), joined, strict=True)
        )
        shift *= 2
    return low


class _Hysteresis(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, level: Tensor, width: Tensor) -> Tensor:
        from hitchain.blocks.dsp import gating_kernels as kernels

        output = torch.empty_like(level, memory_format=torch.contiguous_format)
        side = torch.empty(level.shape, dtype=torch.int8)
        over_rows(kernels.hysteresis_forward, len(level), *_arrays(level, width, side, output))
        ctx.save_for_backward(side, width)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        from hitchain.blocks.dsp import gating_kernels as kernels

        side, width = ctx.saved_tensors
        grad_level = torch.empty_like(grad, memory_format=torch.contiguous_format)
        grad_width = torch.zeros_like(width)
        over_rows(kernels.hysteresis_backward, len(grad), *_arrays(side, grad, grad_level, grad_width))
        return grad_level, grad_width


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
