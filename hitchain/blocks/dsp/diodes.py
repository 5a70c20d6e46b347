"""A pair of diodes across a resistor and a capacitor, driven by a current: the clipper of most pedals.

    C dv/dt = i(t) - G v - 2 Is sinh(v / V)

(D. T. Yeh, J. Abel, A. Vladimirescu, J. O. Smith, "Numerical methods for simulation of guitar distortion circuits",
Computer Music Journal 32(2), 2008.) The equation is stiff: conducting diodes discharge the capacitor in
nanoseconds. It is solved by the second backward differentiation formula, which is stable there and does not ring:

    (3 v[n] - 4 v[n-1] + v[n-2]) C / (2 T) = i[n] - G v[n] - 2 Is sinh(v[n] / V)

for v[n], by Newton's method to full precision. Seen from above the root it is convex on either side of 0, so that
iterating from the smaller of two upper bounds, (right side) / (G + 3 C / 2 T) and V asinh((right side) / (2 Is)), never
overshoots. The adjoint is linear, backwards in time: with J[n] = 3 C / 2 T + G + (2 Is / V) cosh(v[n] / V)

    J[n] l[n] = dL/dv[n] + (C / 2 T) (4 l[n+1] - l[n+2]),    dL/di[n] = l[n],    dL/dG = -sum l[n] v[n]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows


@dataclass(frozen=True)
class Diode:
    """Saturation current [A] and emission voltage, n kT / q [V]."""

    current: float
    voltage: float


SILICON = Diode(2.52e-9, 45.3e-3)
"""1N914 and 1N4148 (Yeh, Abel, Smith 2007)."""


def diode_clip(current: Tensor, conductance: Tensor, capacitance: float, rate: float, diode: Diode = SILICON) -> Tensor:
    """The voltage across the diodes. At rest before the first sample.

    Args:
        current: i [A], (batch, channels, samples).
        conductance: G [S], (batch,), above 0.
        capacitance: C [F].
        rate: of the samples [Hz].

    Returns:
        v [V], of the current's shape. Differentiable once, in both tensors. Off the CPU it is worked out there and
        brought back: each sample waits for the one before.
    """
    step = 0.5 * capacitance * rate
    if current.device.type == "cpu":
        voltage: Tensor = _DiodeClip.apply(current, conductance, step, diode)  # type: ignore[no-untyped-call]
        return voltage
    voltage = _DiodeClip.apply(current.cpu(), conductance.cpu(), step, diode)  # type: ignore[no-untyped-call]
    return voltage.to(current.device)


def diode_clip_mean(level: Tensor, resistance: float, limit: float, diode: Diode = SILICON) -> Tensor:
    """The same pair behind a resistor, without a capacitor, antialiased to the first order. At rest before the start.

    v + a sinh(v / V) = u, a = 2 R Is, has no memory, and its antiderivative is known through v (see `waveshaping`):

        F(u) = v^2 / 2 + a (v sinh(v / V) - V cosh(v / V))

    Args:
        level: u [V], (batch, channels, samples).
        resistance: R [ohm].
        limit: where the amplifier in front stops [V]: beyond, v stays and F goes on straight.

    Returns:
        v [V], half a sample late.
    """
    if level.device.type == "cpu":
        voltage: Tensor = _DiodeClipMean.apply(level, resistance, limit, diode)  # type: ignore[no-untyped-call]
        return voltage
    voltage = _DiodeClipMean.apply(level.cpu(), resistance, limit, diode)  # type: ignore[no-untyped-call]
    return voltage.to(level.device)


class _DiodeClipMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, level: Tensor, resistance: float, limit: float, diode: Diode) -> Tensor:
        from hitchain.blocks.dsp import diodes_kernels as kernels

        voltage = torch.empty_like(level, memory_format=torch.contiguous_format)
        held = torch.empty(level.shape, dtype=torch.float64)
        fixed = (resistance, limit, diode.current, diode.voltage)
        over_rows(kernels.mean_forward, len(level), *_arrays(level), *fixed, *_arrays(held, voltage))
        ctx.save_for_backward(level, held)
        ctx.fixed = fixed
        return voltage

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        from hitchain.blocks.dsp import diodes_kernels as kernels

        level, held = ctx.saved_tensors
        back = torch.empty_like(level, memory_format=torch.contiguous_format)
        over_rows(kernels.mean_backward, len(level), *_arrays(level, held, grad), *ctx.fixed, *_arrays(back))
        return back, None, None, None


class _DiodeClip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, conductance: Tensor, step: float, diode: Diode) -> Tensor:
        from hitchain.blocks.dsp import diodes_kernels as kernels

        voltage = torch.empty_like(current, memory_format=torch.contiguous_format)
        arrays = _arrays(current, conductance.double())
        over_rows(kernels.solve, len(current), *arrays, step, diode.current, diode.voltage, voltage.numpy())
        ctx.save_for_backward(voltage, conductance)
        ctx.fixed = (step, diode.current, diode.voltage)
        return voltage

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        from hitchain.blocks.dsp import diodes_kernels as kernels

        voltage, conductance = ctx.saved_tensors
        back = torch.empty_like(voltage)
        sums = torch.zeros(len(voltage), dtype=torch.float64)
        given, results = _arrays(voltage, conductance.double(), grad), _arrays(back, sums)
        over_rows(kernels.adjoint, len(voltage), *given, *ctx.fixed, *results)
        return back, sums.to(conductance.dtype), None, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
