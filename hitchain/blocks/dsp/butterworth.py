"""Butterworth filters of even order as second-order sections, with resonance."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from hitchain.blocks.dsp import filters

Kind = Literal["low pass", "high pass", "band pass", "notch"]


def pole_qs(order: int) -> list[float]:
    """Q of each pair of poles of an even order, the sharpest last: 1 / (2 sin((2k + 1) pi / (2 order)))."""
    return sorted(0.5 / math.sin((2 * k + 1) * math.pi / (2 * order)) for k in range(order // 2))


def butterworth(kind: Kind, order: int, frequency: Tensor, resonance: Tensor, sample_rate: int) -> filters.Section:
    """6 * order dB an octave (a band's: on each side), by the bilinear transform.

    Args:
        kind: what passes, or what does not.
        order: even. A band pass or notch has twice as many poles.
        frequency: cutoff or centre [Hz], (batch,), float64.
        resonance: [dB], (batch,), float64. Of a low or high pass, by which the sharpest pair's Q is raised; a band's
            frequency / bandwidth is 10^(resonance / 20) / sqrt(2).

    Returns:
        b and a, (batch, order / 2 or order, 3).
    """
    raised = torch.exp(resonance * (math.log(10.0) / 20.0))
    if kind in ("low pass", "high pass"):
        qs = pole_qs(order)
        q = torch.stack([raised * qs[-1] if q == qs[-1] else torch.full_like(raised, q) for q in qs], dim=-1)
        design = filters.low_pass if kind == "low pass" else filters.high_pass
        return design(frequency.unsqueeze(-1), q, sample_rate)
    return _band(kind, order, frequency, raised * math.sqrt(0.5), sample_rate)


def _band(kind: Kind, order: int, frequency: Tensor, q: Tensor, sample_rate: int) -> filters.Section:
    """The prototype's poles p go where s^2 - p B s + w0^2 = 0 (band pass; notch: s^2 - B s / p + w0^2 = 0)."""
    spread = torch.sqrt(1.0 + 0.25 / q.square())
    low, high = (
        torch.tan(filters.bounded_frequency(frequency * (spread + side), sample_rate) * (math.pi / sample_rate))
        for side in (-0.5 / q, 0.5 / q)
    )
    centre, width = low * high, high - low  # w0^2 and B
    angles = (2 * torch.arange(order // 2, dtype=q.dtype, device=q.device) + 1) * (math.pi / (2 * order))
    pole = torch.polar(torch.ones_like(angles), math.pi / 2.0 + angles)  # 1 / p is its conjugate: another of them
    half = 0.5 * width.unsqueeze(-1) * pole
    root = torch.sqrt(half.square() - centre.unsqueeze(-1))
    return _sections(kind, torch.cat([half + root, half - root], dim=-1), centre, width)


def _sections(kind: Kind, poles: Tensor, centre: Tensor, width: Tensor) -> filters.Section:
    """Each pole with its conjugate, (batch, order), and a pair of zeros, through s = (1 - z^-1) / (1 + z^-1)."""
    damping, square = -2.0 * poles.real, poles.real.square() + poles.imag.square()
    zero, one = torch.zeros_like(damping), torch.ones_like(damping)
    if kind == "band pass":
        top = zero, width.unsqueeze(-1).expand_as(damping), zero
    else:
        top = one, zero, centre.unsqueeze(-1).expand_as(damping)
    whole = 1.0 + damping + square
    b, a = (
        torch.stack([(s2 + s1 + s0) / whole, 2.0 * (s0 - s2) / whole, (s2 - s1 + s0) / whole], dim=-1)
        for s2, s1, s0 in (top, (one, damping, square))
    )
    return b, a
