"""Two transistors, the second fed by the first's collector and feeding back from its emitter: the fuzz of the sixties.

    source - series - input capacitor - b        first transistor: base b, emitter at ground, collector c
    supply - load - c, supply - collector - d    second transistor: base c, collector d, emitter e
    e - feedback - b, e - upper - w - lower - ground, bypass capacitor from w to ground

The transistors are those of J. Ebers and J. Moll (1954), with the same capacitance between collector and base:

    If = Is (exp(vbe / V) - 1),    Ir = Is (exp(vbc / V) - 1)
    Ic = If - (1 + 1 / Br) Ir,     Ib = If / Bf + Ir / Br

Kirchhoff's law at b, c, d, e, w and the input capacitor, with the second backward differentiation formula for every
capacitor, C dv/dt = C (3 v[n] - 4 v[n-1] + v[n-2]) / (2 T), is solved for each sample by Newton's method; the two
linear unknowns are eliminated first. No conducting junction rises by more than a few V in a step, which keeps it
from running away. It begins at the operating point, solved likewise. The adjoint is linear, backwards in time: with
F the sums of currents, J = dF/dz and l the multipliers,

    J[n]' l[n] = dL/dz[n] - (dF[n+1]/dz[n])' l[n+1] - (dF[n+2]/dz[n])' l[n+2],    dL/dp = -sum l[n]' dF[n]/dp

and once more at the operating point, from which all began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows


@dataclass(frozen=True)
class Fixed:
    """What no knob changes [F, F, F, S, S, V, V]."""

    input_capacitor: float
    bypass_capacitor: float
    collector_base: float
    feedback: float
    load: float
    supply: float
    thermal: float = 25.85e-3

    def values(self) -> Tensor:
        first = (self.input_capacitor, self.bypass_capacitor, self.collector_base)
        return torch.tensor((*first, self.feedback, self.load, self.supply, self.thermal), dtype=torch.float64)


def two_transistors(source: Tensor, values: Tensor, fixed: Fixed, rate: float) -> Tensor:
    """How far the second collector is from its operating point [V].

    Args:
        source: [V], (batch, channels, samples).
        values: (batch, 8): series [ohm], collector, upper, lower [S], Is [A], 1 / Bf of either transistor, 1 / Br.
        rate: of the samples [Hz].

    Returns:
        [V], of the source's shape. Differentiable once, in both tensors. Off the CPU it is worked out there and brought
        back: each sample waits for the one before.
    """
    given = (source.cpu(), values.double().cpu(), fixed.values(), rate)
    voltage: Tensor = _TwoTransistors.apply(*given)  # type: ignore[no-untyped-call]
    return voltage.to(source.device)


class _TwoTransistors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, values: Tensor, fixed: Tensor, rate: float) -> Tensor:
        from hitchain.blocks.dsp import transistors_kernels as kernels

        rests = torch.zeros(len(source), 6, dtype=torch.float64)
        nodes = torch.empty(*source.shape, 6, dtype=source.dtype)
        over_rows(kernels.solve, len(source), *_arrays(source, values, fixed), rate, *_arrays(rests, nodes))
        ctx.save_for_backward(source, values, fixed, rests, nodes)
        ctx.rate = rate
        return nodes[..., 2].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        from hitchain.blocks.dsp import transistors_kernels as kernels

        source, values, fixed, rests, nodes = ctx.saved_tensors
        back = torch.empty_like(source, memory_format=torch.contiguous_format)
        sums = torch.zeros_like(values, memory_format=torch.contiguous_format)
        given = (*_arrays(source, values, fixed), ctx.rate, *_arrays(rests, nodes, grad))
        over_rows(kernels.adjoint, len(source), *given, *_arrays(back, sums))
        return back, sums, None, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
