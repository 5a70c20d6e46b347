"""A feedback delay network by its frequency response, at a cost that grows with the lines, not with their square."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.delays import delay_phasors, delay_response
from hitchain.blocks.dsp.threads import over_rows


def feedback_network_response(
    lengths: Tensor, attenuation: Tensor, signs: Tensor, n_fft: int, fused: bool | None = None
) -> Tensor:
    """The transfer functions of a lossy feedback delay network from one input to several outputs.

    Line i delays by m_i samples and attenuates by exp(-m_i A(w)), so that what has gone round for t samples, by
    whatever way, is attenuated by exp(-t A(w)): the decay is the same for every mode (Jot and Chaigne 1991). The input
    goes into all lines; line outputs s go back through Jot's matrix, a ring turned by Householder's reflection:

        s_i = D_i (s_{i-1} + 1 - (2/N) sum s),  D_i = e^{-j w m_i - m_i A},  H_c = sum_i sign_ci s_i

    Without the sum, that is a ring, solved in one turn; the sum is a rank-one change, brought in by the
    Sherman-Morrison formula. The gradient solves the transposed network once: dH/dD_i = u_i q_i, with u_i what enters
    line i and q_i what its output is worth.

    Args:
        lengths: m > 0 [samples], real-valued, (batch, lines); float64, for phases grow with every turn.
        attenuation: A, complex with a positive real part [nepers a sample], (batch, n_fft // 2 + 1). For a causal
            response it must be the response of a causal filter.
        signs: (outputs, lines), constant.
        n_fft: the transform's length.
        fused: the compiled kernel instead of tensor operations; by default on CPU.

    Returns:
        Complex (batch, outputs, n_fft // 2 + 1). Differentiable (once, if fused) in lengths and attenuation.
    """
    if lengths.device.type == "cpu" if fused is None else fused:
        result: Tensor = _FeedbackNetwork.apply(  # type: ignore[no-untyped-call]
            lengths, attenuation, signs.to(attenuation.real.dtype), n_fft
        )
        return result
    lines = lengths.shape[-1]
    through = torch.exp(-lengths.unsqueeze(-1) * attenuation.unsqueeze(1))
    through = (delay_response(lengths, n_fft) * through).to(attenuation.dtype)
    state, product = torch.zeros_like(attenuation), torch.ones_like(attenuation)
    states, products = [], []
    for line in range(lines):  # the ring cut open between the last line and the first
        state = through[:, line] * (state + 1.0)
        product = product * through[:, line]
        states.append(state)
        products.append(product)
    ring = torch.stack(states, 1) + torch.stack(products, 1) * (state / (1.0 - product)).unsqueeze(1)
    solved = ring / (1.0 + (2.0 / lines) * ring.sum(dim=1, keepdim=True))
    return signs.to(solved.dtype) @ solved


class _FeedbackNetwork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lengths: Tensor, attenuation: Tensor, signs: Tensor, n_fft: int) -> Tensor:
        from hitchain.blocks.dsp import feedback_network_kernels as kernels

        near, far = (phasor.to(attenuation.dtype) for phasor in delay_phasors(lengths, n_fft))
        bins = n_fft // 2 + 1
        response = torch.empty(len(lengths), len(signs), bins, dtype=attenuation.dtype)
        arrays = [
            value.detach().resolve_conj().contiguous().numpy() for value in (lengths, attenuation, signs, near, far)
        ]
        over_rows(kernels.network_forward, len(lengths) * far.shape[-1], *arrays, response.numpy())
        ctx.save_for_backward(lengths, attenuation, signs, near, far)
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import feedback_network_kernels as kernels

        lengths, attenuation, signs, near, far = ctx.saved_tensors
        blocks, bins = far.shape[-1], attenuation.shape[-1]
        parts = torch.zeros(len(lengths) * blocks, lengths.shape[-1], dtype=torch.float64)
        grad_attenuation = torch.empty_like(attenuation)
        inputs = (lengths, attenuation, signs, near, far, grad)
        arrays = [value.detach().resolve_conj().contiguous().numpy() for value in inputs]
        step = math.pi / (bins - 1)
        over_rows(kernels.network_backward, len(parts), *arrays, step, parts.numpy(), grad_attenuation.numpy())
        grad_lengths = parts.view(len(lengths), blocks, -1).sum(dim=1).to(lengths.dtype)
        return grad_lengths, grad_attenuation, None, None
