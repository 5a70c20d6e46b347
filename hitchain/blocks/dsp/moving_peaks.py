"""Peak equalisers whose gain follows the level in their band."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp import dynamics, filters
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.dsp.section_filter import filter_sections
from hitchain.blocks.dsp.threads import over_rows

SOFTNESS = 3.0
"""[dB] Of the bend at a threshold."""

HALF = 6.0
"""[dB] Over a threshold at which half of a range is used."""


def share(amount: Tensor) -> Tensor:
    """From decibels over a threshold to the share of a range that is used: amount / (amount + 6 dB), in [0, 1)."""
    return amount / (amount + HALF)


def moving_peaks(
    audio: Tensor,
    frequency: Tensor,
    q: Tensor,
    threshold: Tensor,
    span: Tensor,
    attack: Tensor,
    release: Tensor,
    sample_rate: int,
    key: Tensor | None = None,
) -> Tensor:
    """Bands side by side, each a fixed band pass B with a gain that moves:

        y = x + sum over bands of (10^(gain / 20) - 1) B x
        gain = span share(overshoot of the level of B x above the threshold, through attack and release)

    Where a gain G stands still, 1 + (G - 1) B is the peak filter of P. Regalia and S. Mitra (1987, "Tunable digital
    frequency response equalization filters"): (s^2 + G s/Q + 1) / (s^2 + s/Q + 1).

    Args:
        audio: (batch, channels, samples).
        frequency [Hz], q, threshold [dB], span [dB]: (batch, bands).
        attack, release: time constants [ms], (batch, bands).
        key: audio whose level counts instead.

    Returns:
        (batch, channels, samples).
    """
    batch, bands = frequency.shape
    b, a = (part.flatten(0, 1).unsqueeze(1) for part in filters.band_pass(frequency.double(), q.double(), sample_rate))

    def split(signal: Tensor) -> Tensor:
        return filter_sections(signal.repeat_interleave(bands, dim=0), b, a)

    parts = split(audio)
    rise, fall = (dynamics.time_coefficient(time.flatten(), sample_rate) for time in (attack, release))
    heard = None if key is None else split(key)
    moved = moved_parts(parts, threshold.flatten(), span.flatten(), rise, fall, heard)
    return audio + moved.view(batch, bands, *audio.shape[1:]).sum(dim=1)


def moved_parts(
    parts: Tensor,
    threshold: Tensor,
    span: Tensor,
    rise: Tensor,
    fall: Tensor,
    heard: Tensor | None = None,
    parallel: bool | None = None,
) -> Tensor:
    """What a moving gain adds to each part, (10^(gain / 20) - 1) part.

    On CPU one compiled pass forward and one back; elsewhere (`parallel`), and with another level, tensor operations.

    Args:
        parts: (rows, channels, samples).
        threshold, span: [dB]; rise, fall: coefficients of the follower; each (rows,).
        heard: what gives the level, where it is not the part itself.
        parallel: by default wherever `parts` is not on CPU.
    """
    if parts.numel() == 0:
        return parts
    if heard is not None or (parts.device.type != "cpu" if parallel is None else parallel):
        over = dynamics.soft_overshoot(dynamics.peak_level(parts if heard is None else heard), threshold, SOFTNESS)
        gain = to_gain(span.unsqueeze(-1) * share(ballistics(over, rise, fall)))
        return (gain - 1.0).unsqueeze(1) * parts
    moved: Tensor = _Moved.apply(parts, torch.stack([threshold, span, rise, fall], dim=-1))  # type: ignore[no-untyped-call]
    return moved


_CONSTANTS = (10.0 ** (dynamics.FLOOR / 20.0), SOFTNESS, HALF)


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parts: Tensor, values: Tensor) -> Tensor:
        from hitchain.blocks.dsp import moving_peaks_kernels as kernels
        from hitchain.blocks.dsp.dynamics_kernels import BLOCK

        output = torch.empty_like(parts, memory_format=torch.contiguous_format)
        states = torch.empty(len(parts), -(-parts.shape[-1] // BLOCK), dtype=torch.float64)
        inputs = _arrays(parts, values.double())
        over_rows(kernels.moved_forward, len(parts), *inputs, *_CONSTANTS, *_arrays(output, states))
        ctx.save_for_backward(parts, values, states)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        from hitchain.blocks.dsp import moving_peaks_kernels as kernels

        parts, values, states = ctx.saved_tensors
        grad_parts = torch.empty_like(parts, memory_format=torch.contiguous_format)
        grad_values = torch.empty(values.shape, dtype=torch.float64)
        inputs, results = _arrays(parts, values.double()), _arrays(states, grad, grad_parts, grad_values)
        over_rows(kernels.moved_backward, len(parts), *inputs, *_CONSTANTS, *results)
        return grad_parts, grad_values.to(values.dtype)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def peaks_tail(frequency: Tensor, q: Tensor, sample_rate: int) -> float:
    """Seconds for which the slowest band rings, to -100 dB."""
    _, a = filters.band_pass(frequency.detach().double(), q.detach().double(), sample_rate)
    return float(torch.as_tensor(filters.ring_time(a, decay=100.0)).max()) / sample_rate
