"""A feedback delay network by its frequency response, at a cost that grows with the lines, not with their square."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.delays import delay_phasors, delay_response, first_order_response, half_angles
from hitchain.blocks.dsp.threads import over_rows


class FeedbackNetwork(NamedTuple):
    """What a batch of networks is made of. Phases grow with every turn: float64.

    lengths: of the lines, m > 0 [samples], real-valued, (batch, lines), an even number of lines.
    rates: of decay at low, middle and high frequencies [nepers a sample], (batch, 3).
    tangents: tan(pi f / sample_rate) of the crossovers from low to middle and from middle to high, (batch, 2).
    delay: before the network [samples], (batch,).
    wet, dry: gains of the network and of what goes past it, (batch,).
    """

    lengths: Tensor
    rates: Tensor
    tangents: Tensor
    delay: Tensor
    wet: Tensor
    dry: Tensor


def feedback_network_response(
    network: FeedbackNetwork, signs: Tensor, feed: Tensor, n_fft: int, fused: bool | None = None
) -> Tensor:
    """The transfer functions of a lossy feedback delay network, from one input to left and right.

        H_c = dry + wet feed e^{-j w delay} sum_i sign_ci s_i

    Line i delays by m_i samples and attenuates by exp(-m_i A(w)), so that what has gone round for t samples, by
    whatever way, is attenuated by exp(-t A(w)): the decay is the same for every mode (Jot and Chaigne 1991). A is made
    of the bands' rates and first-order low-passes L at the crossovers, and so is the response of a causal filter:

        A = high + (mid - high) L_high + (low - mid) L_low

    The input goes into all lines; line outputs s go back through Jot's matrix, a ring turned by Householder's
    reflection:

        s_i = D_i (s_{i-1} + 1 - (2/N) sum s),  D_i = e^{-j w m_i - m_i A}

    Without the sum, that is a ring, solved in one turn; the sum is a rank-one change, brought in by the
    Sherman-Morrison formula. The gradient solves the transposed network once: dH/dD_i = u_i q_i, with u_i what enters
    line i and q_i what its output is worth.

    Args:
        network: the differentiable part.
        signs: (2, lines), constant.
        feed: a constant filter before the network, complex (n_fft // 2 + 1,); it sets the type of the result.
        n_fft: the transform's length.
        fused: the compiled kernel instead of tensor operations; by default on CPU.

    Returns:
        Complex (batch, 2, n_fft // 2 + 1). Differentiable (once, if fused) in all of the network.
    """
    network = FeedbackNetwork(*(value.double() for value in network))
    if network.lengths.device.type == "cpu" if fused is None else fused:
        result: Tensor = _FeedbackNetwork.apply(  # type: ignore[no-untyped-call]
            signs.to(feed.real.dtype).contiguous(), feed, n_fft, *network
        )
        return result
    return _response(network, signs, feed, n_fft)


def _response(network: FeedbackNetwork, signs: Tensor, feed: Tensor, n_fft: int) -> Tensor:
    """In tensor operations: what runs on a GPU."""
    lengths, real = network.lengths, feed.real.dtype
    lines = lengths.shape[-1]
    low, middle, high = (rate.unsqueeze(-1) for rate in network.rates.to(real).unbind(-1))
    below_low, below_high = (
        first_order_response(tangent.unsqueeze(-1), n_fft) for tangent in network.tangents.to(real).unbind(-1)
    )
    loss = high + (middle - high) * below_high + (low - middle) * below_low
    through = torch.exp(-lengths.to(real).unsqueeze(-1) * loss.unsqueeze(1)) * delay_response(lengths, n_fft, real)
    state, product = torch.zeros_like(loss), torch.ones_like(loss)
    states, products = [], []
    for line in range(lines):  # the ring cut open between the last line and the first
        state = through[:, line] * (state + 1.0)
        product = product * through[:, line]
        states.append(state)
        products.append(product)
    ring = torch.stack(states, 1) + torch.stack(products, 1) * (state / (1.0 - product)).unsqueeze(1)
    solved = ring / (1.0 + (2.0 / lines) * ring.sum(dim=1, keepdim=True))
    before = network.wet.to(real).unsqueeze(-1) * feed * delay_response(network.delay, n_fft, real)
    return (signs.to(solved.dtype) @ solved) * before.unsqueeze(1) + network.dry.to(real)[:, None, None]


class _FeedbackNetwork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signs: Tensor, feed: Tensor, n_fft: int, *values: Tensor) -> Tensor:
        from hitchain.blocks.dsp import feedback_network_kernels as kernels

        network = FeedbackNetwork(*values)
        given = _given(network, signs, feed, n_fft)
        tasks = given[5].size // (network.lengths.shape[-1] + 1)  # a far phasor for each line and block, and the delay
        response = torch.empty(len(network.lengths), 2, n_fft // 2 + 1, dtype=feed.dtype)
        over_rows(kernels.network_forward, tasks, *given, response.numpy())
        ctx.save_for_backward(signs, feed, *values)
        ctx.n_fft = n_fft
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import feedback_network_kernels as kernels

        signs, feed, *values = ctx.saved_tensors
        network = FeedbackNetwork(*values)
        batch, lines = network.lengths.shape
        given = _given(network, signs, feed, ctx.n_fft)
        parts = torch.zeros(given[5].size // (lines + 1), lines + 8, dtype=torch.float64)
        incoming = grad.resolve_conj().contiguous().numpy()
        over_rows(kernels.network_backward, len(parts), *given, incoming, 2.0 * math.pi / ctx.n_fft, parts.numpy())
        return None, None, None, *_gradients(network, parts.view(batch, -1, lines + 8).sum(dim=1))


def _given(network: FeedbackNetwork, signs: Tensor, feed: Tensor, n_fft: int) -> list[Any]:
    """The arrays that both kernels take."""
    from hitchain.blocks.dsp import feedback_network_kernels as kernels

    delays = torch.cat([network.lengths, network.delay.unsqueeze(-1)], dim=-1)
    near, far = delay_phasors(delays, n_fft, kernels.BLOCK)
    split = torch.view_as_real(near).transpose(-1, -2).to(signs.dtype)
    mixing = torch.stack([network.wet, network.dry], dim=-1)
    halves = half_angles(n_fft, signs.dtype, signs.device)
    values = (network.lengths, network.rates, network.tangents, mixing, split, far, signs, halves, feed)
    return [value.detach().contiguous().numpy() for value in values]


def _gradients(network: FeedbackNetwork, sums: Tensor) -> FeedbackNetwork:
    """From the kernel's sums (batch, lines + 8) to the gradients.

    After the lines' lengths, with t = dL/dA conjugated, and z the network's output times the gradient to it: the sums
    of Re t; of Re t L and Re t L (1 - L) for each crossover, dL/dK being L (1 - L) / K; of Re z; of w Im z; and of the
    real part of the gradient that came in.
    """
    lines = network.lengths.shape[-1]
    whole, low, low_edge, high, high_edge, wet, delay, dry = sums[:, lines:].unbind(-1)
    rates = torch.stack([low, high - low, whole - high], dim=-1)
    steps = -network.rates.diff(dim=-1)  # low - mid, mid - high
    tangents = steps * torch.stack([low_edge, high_edge], dim=-1) / network.tangents
    return FeedbackNetwork(sums[:, :lines], rates, tangents, network.wet * delay, wet, dry)
