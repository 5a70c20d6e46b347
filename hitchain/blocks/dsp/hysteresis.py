"""Magnetic hysteresis after Jiles and Atherton, as a tape remembers a field.

With the magnetisation m in units of saturation and the field x in units of the anhysteretic shape parameter,

    dm/dx = p h + c dL(Q)/dx,      Q = x + b m,   d = L(Q) - m,   s = sign(dx)
    h = (1 - c) d / ((1 - c) s K - b d),            p = 1 where s d > 0, else 0

L(q) = coth q - 1 / q is Langevin's function, K the coercivity, b the coupling of the domains, and c the reversible
share (D. C. Jiles, D. L. Atherton, "Theory of ferromagnetic hysteresis", J. Magn. Magn. Mater. 61, 1986; J.
Chowdhury, "Real-time physical modelling for analog tape machines", DAFx-19, which has the values). Time does not occur:
the loop is the same however fast it is run through. Each step takes the reversible part whole and the other by the
trapezoidal rule,

    m[n] = m[n-1] + c (L(Q[n]) - L(Q[n-1])) + (x[n] - x[n-1]) (p h[n] + p h[n-1]) / 2

for m[n], by Newton's method, and its adjoint is the linear recursion that this implies, backwards in time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

COERCIVITY, COUPLING = 1.44, 0.0048
"""K = k / a and b = alpha Ms / a at Chowdhury's k = 0.47875, alpha = 0.0016, Ms = 1 and a = 1 / 3.01 (half drive)."""


def langevin(field: Tensor) -> Tensor:
    """L(q) = coth q - 1 / q, without cancellation near 0."""
    small = field.abs() < 0.1
    safe = torch.where(small, 1.0, field)
    square = field.square()
    series = field * (1.0 / 3.0 - square * (1.0 / 45.0 - square * (2.0 / 945.0 - square / 4725.0)))
    return torch.where(small, series, 1.0 / torch.tanh(safe) - 1.0 / safe)


def magnetise(field: Tensor, reversible: Tensor) -> Tensor:
    """The magnetisation that a field leaves, from the demagnetised state.

    Args:
        field: x, (batch, channels, samples).
        reversible: c, (batch,), 0 to 0.97.

    Returns:
        m, between -1 and 1, of the field's shape. Differentiable once, in both. Off the CPU it is worked out there and
        brought back: each sample waits for the one before.
    """
    if field.device.type == "cpu":
        result: Tensor = _Magnetise.apply(field, reversible)  # type: ignore[no-untyped-call]
        return result
    result = _Magnetise.apply(field.cpu(), reversible.cpu())  # type: ignore[no-untyped-call]
    return result.to(field.device)


class _Magnetise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor, reversible: Tensor) -> Tensor:
        from hitchain.blocks.dsp import hysteresis_kernels as kernels

        magnetisation = torch.empty(field.shape, dtype=torch.float64)
        arrays = _arrays(field, reversible.double(), magnetisation)
        over_rows(kernels.magnetise, len(field), *arrays[:2], COERCIVITY, COUPLING, arrays[2])
        ctx.save_for_backward(field, reversible, magnetisation)
        return magnetisation.to(field.dtype, copy=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        from hitchain.blocks.dsp import hysteresis_kernels as kernels

        field, reversible, magnetisation = ctx.saved_tensors
        back = torch.zeros_like(field, memory_format=torch.contiguous_format)
        sums = torch.zeros(len(field), dtype=torch.float64)
        given, results = _arrays(field, reversible.double(), magnetisation, grad), _arrays(back, sums)
        over_rows(kernels.adjoint, len(field), *given, COERCIVITY, COUPLING, *results)
        return back, sums.to(reversible.dtype)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
