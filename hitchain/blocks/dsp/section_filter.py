"""Second-order sections in series, run in time: exact, without wrap-around, by matrix products over blocks.

A filter with the state s, s' = A s + B x, y = C s + D x, takes L samples x of a block at once:

    y = T x + O s      T[i, j] = h[i - j], the impulse response; O[i] = C A^i
    s' = P s + R x     P = A^L; R[:, i] = A^(L-1-i) B

so that all but P s is matrix products over every block together, and the recursion has a step a block (Burrus 1972,
"Block realization of digital filters"). The state of a section is that of two trapezoidal integrators (Zavalishin 2012,
"The art of VA filter design", 3.10), whose size is that of the signals at any frequency and rate; in a direct form
it grows as 1 / frequency^2 and cancels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

_DOUBLINGS = 5
BLOCK = 1 << _DOUBLINGS
"""Samples a block. Longer ones multiply more in T, shorter ones in the states."""


def filter_sections(audio: Tensor, b: Tensor, a: Tensor, parallel: bool | None = None) -> Tensor:
    """Filter by second-order sections in series, from rest: what `scipy.signal.sosfilt` computes.

    Args:
        audio: (batch, channels, samples), float32 or float64.
        b, a: (batch or 1, sections, 3), stable, float64 for accuracy: see `filters`.
        parallel: tensor operations alone instead of compiled loops; by default wherever `audio` is not on CPU.

    Returns:
        (batch, channels, samples). Differentiable once, in all three.
    """
    if audio.numel() == 0:
        return audio
    parallel = audio.device.type != "cpu" if parallel is None else parallel
    sections = integrators(b.double(), a.double())
    matrices = block_matrices(*series(*sections)) if parallel else _BlockMatrices.apply(*sections)  # type: ignore[no-untyped-call]
    result: Tensor = _BlockFilter.apply(audio, *matrices, parallel)  # type: ignore[no-untyped-call]
    return result


def integrators(b: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each section as two trapezoidal integrators: A (..., 2, 2), B (..., 2), C (..., 2), D (...).

    The bilinear transform at tan(w0 / 2) = g turns (h2 s^2 + h1 s + h0) / (s^2 + k s + 1) into the section. Every
    stable section has such a form, with real or complex poles: 1 + a1 + a2 and 1 - a1 + a2 are positive.

    Args:
        b, a: (..., 3).
    """
    b, a = b / a[..., :1], a / a[..., :1]
    a1, a2 = a[..., 1], a[..., 2]
    b0, b1, b2 = b.unbind(-1)
    low, high = 1.0 + a1 + a2, 1.0 - a1 + a2  # the denominator at 0 Hz and at Nyquist
    g = torch.sqrt(low / high)
    scale = 2.0 / (high * g)
    k = (1.0 - a2) * scale
    h0, h1 = (b0 + b1 + b2) / low, (b0 - b2) * scale
    drive = 0.5 * high * g  # 2 g / (1 + g k + g^2)
    damping = g + k
    transition = torch.stack([1.0 - drive * damping, -drive, 2.0 * g - g * drive * damping, 1.0 - g * drive], dim=-1)
    return (
        transition.reshape(*g.shape, 2, 2),
        torch.stack([drive, g * drive], dim=-1),
        torch.stack([h1 + h0 * g - b0 * damping, h0 - b0], dim=-1),
        b0,
    )


def series(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One state space of sections in series: A (batch, n, n), B (batch, n), C (batch, n), D (batch), n = 2 sections.

    With y_i = C_i s_i + D_i u_i and u_i = y_(i-1), the sections' inputs are u = F (x, C_1 s_1, C_2 s_2, ...), where
    F[i, j] = D_j ... D_(i-1) below the diagonal: the inverse of the identity less D one below its diagonal.

    Args:
        a, b, c, d: (batch, sections, 2, 2), (batch, sections, 2) twice and (batch, sections).
    """
    sections = d.shape[-1]
    unit = torch.eye(sections + 1, dtype=d.dtype, device=d.device)
    chain = unit - torch.nn.functional.pad(torch.diag_embed(d), (0, 1, 1, 0))
    inputs = torch.linalg.solve_triangular(chain, unit, upper=False, unitriangular=True)  # one more: the output
    from_states = (inputs[:, :, 1:, None] * c[:, None]).flatten(2)
    alone = torch.diag_embed(a.movedim(1, -1)).permute(0, 3, 1, 4, 2).flatten(3).flatten(1, 2)
    return (
        alone + (b[..., None] * from_states[:, :sections, None]).flatten(1, 2),
        (b * inputs[:, :sections, :1]).flatten(1),
        from_states[:, sections],
        inputs[:, sections, 0],
    )


def block_matrices(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What takes a block of samples: T (batch, L, L), O (batch, L, n), R (batch, n, L) and P (batch, n, n).

    Args:
        a, b, c, d: the state space, (batch, n, n), (batch, n), (batch, n), (batch).
    """
    power, driven, observed = a, b[..., None], c[:, None]
    for _ in range(_DOUBLINGS):
        driven = torch.cat([power @ driven, driven], dim=-1)
        observed = torch.cat([observed, observed @ power], dim=-2)
        power = power @ power
    impulse = torch.cat([d[:, None], (observed[:, :-1] @ b[..., None]).squeeze(-1)], dim=-1)
    toeplitz = torch.nn.functional.pad(impulse, (BLOCK - 1, 0)).unfold(-1, BLOCK, 1).flip(-1)
    return toeplitz, observed, driven, power


class _BlockMatrices(torch.autograd.Function):
    """`block_matrices(*series(a, b, c, d))` by running the sections, and its adjoint."""

    @staticmethod
    def forward(ctx: Any, *sections: Tensor) -> tuple[Tensor, ...]:
        from hitchain.blocks.dsp import section_filter_kernels as kernels

        items, count = sections[3].shape
        n = 2 * count
        sizes = (BLOCK, BLOCK), (BLOCK, n), (n, BLOCK), (n, n)
        matrices = tuple(torch.empty(items, *size, dtype=torch.float64) for size in sizes)
        over_rows(kernels.matrices_forward, items, *_arrays(*sections, *matrices))
        ctx.save_for_backward(*sections)
        return matrices

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_matrices: Tensor) -> tuple[Tensor, ...]:
        from hitchain.blocks.dsp import section_filter_kernels as kernels

        sections = ctx.saved_tensors
        grads = tuple(torch.zeros_like(tensor, memory_format=torch.contiguous_format) for tensor in sections)
        over_rows(kernels.matrices_backward, len(sections[0]), *_arrays(*sections, *grad_matrices, *grads))
        return grads


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class _BlockFilter(torch.autograd.Function):
    """The samples past the last whole block are a block of their own, cut short."""

    @staticmethod
    def forward(
        ctx: Any, audio: Tensor, toeplitz: Tensor, observed: Tensor, driven: Tensor, power: Tensor, parallel: bool
    ) -> Tensor:
        rows = audio.reshape(-1, audio.shape[-1]).contiguous()
        matrices = [_for_rows(matrix, audio) for matrix in (toeplitz, observed, driven, power)]
        to_output, from_state, to_state = (matrix.to(rows.dtype).mT for matrix in matrices[:3])
        blocks, rest = _split(rows)
        states = rows.new_zeros(len(rows), blocks.shape[1] + 1, power.shape[-1])
        torch.bmm(blocks, to_state, out=states[:, 1:])
        _advance(matrices[3], states, parallel)
        output = torch.empty_like(rows)
        output_blocks, output_rest = _split(output)
        torch.bmm(blocks, to_output, out=output_blocks)
        output_blocks.baddbmm_(states[:, :-1], from_state)
        length = rest.shape[-1]
        torch.bmm(rest, to_output[:, :length, :length], out=output_rest)
        output_rest.baddbmm_(states[:, -1:], from_state[:, :, :length])
        ctx.save_for_backward(rows, states, *matrices)
        ctx.shape, ctx.batch, ctx.parallel = audio.shape, len(power), parallel
        return output.reshape(audio.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """The same filter backwards in time: l[k] = O^T g[k] + P^T l[k + 1], dL/dx[k] = T^T g[k] + R^T l[k + 1]."""
        rows, states, *matrices = ctx.saved_tensors
        toeplitz, observed, driven = (matrix.to(rows.dtype) for matrix in matrices[:3])
        grad = grad_output.reshape(rows.shape).contiguous()
        grads, grad_rest = _split(grad)
        length = grad_rest.shape[-1]
        adjoint = torch.empty_like(states)
        torch.bmm(grads, observed, out=adjoint[:, :-1])
        torch.bmm(grad_rest, observed[:, :length], out=adjoint[:, -1:])
        _advance(matrices[3].mT, adjoint, ctx.parallel, backwards=True)
        grad_rows = torch.empty_like(rows)
        grad_blocks, grad_end = _split(grad_rows)
        torch.bmm(grads, toeplitz, out=grad_blocks)
        grad_blocks.baddbmm_(adjoint[:, 1:], driven)
        torch.bmm(grad_rest, toeplitz[:, :length, :length], out=grad_end)
        if not any(ctx.needs_input_grad[1:]):
            return grad_rows.view(ctx.shape), None, None, None, None, None
        sums = _matrix_gradients(rows, states, grad, adjoint)
        return grad_rows.view(ctx.shape), *(_per_item(total, ctx.batch, ctx.shape) for total in sums), None


def _matrix_gradients(rows: Tensor, states: Tensor, grad: Tensor, adjoint: Tensor) -> tuple[Tensor, ...]:
    """Of T, O, R and P, for every row, from what goes in and the adjoint of what comes out.

    Args:
        rows, grad: (rows, samples).
        states, adjoint: (rows, blocks + 1, n).
    """
    (blocks, rest), (grads, grad_rest) = _split(rows), _split(grad)
    length = rest.shape[-1]
    before, later = states[:, :-1], adjoint[:, 1:].mT
    toeplitz = grads.mT @ blocks
    toeplitz[:, :length, :length] += grad_rest.mT @ rest
    observed = (before.mT @ grads).mT  # with few rows on the left is the faster way round
    observed[:, :length] += grad_rest.mT @ states[:, -1:]
    return toeplitz, observed, later @ blocks, later @ before


def _split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Views of (rows, samples): the whole blocks (rows, blocks, L) and the rest (rows, 1, less than L)."""
    whole = rows.shape[-1] // BLOCK * BLOCK
    return rows[:, :whole].view(len(rows), -1, BLOCK), rows[:, None, whole:]


def _for_rows(matrix: Tensor, audio: Tensor) -> Tensor:
    """(batch or 1, ...) -> (batch * channels, ...)."""
    batch, channels = audio.shape[:2]
    return matrix[:, None].expand(batch, channels, -1, -1).flatten(0, 1)


def _per_item(total: Tensor, batch: int, shape: torch.Size) -> Tensor:
    """Gradients of every row (batch * channels, ...) -> of what they share (batch or 1, ...), float64."""
    items = total.double().view(*shape[:2], *total.shape[1:]).sum(dim=1)
    return items if batch > 1 else items.sum(dim=0, keepdim=True)


def _advance(transition: Tensor, states: Tensor, parallel: bool, backwards: bool = False) -> None:
    """In place, states[k + 1] += transition states[k] from the first on; backwards, states[k] += that of states[k + 1].

    Args:
        transition: (rows, n, n), float64.
        states: (rows, blocks + 1, n).
    """
    if parallel:
        ordered = states.flip(1) if backwards else states
        ordered = _scan(transition, ordered[:, 0].double(), ordered[:, 1:].double())
        states.copy_(ordered.flip(1) if backwards else ordered)
        return
    from hitchain.blocks.dsp import section_filter_kernels as kernels

    over_rows(kernels.advance, len(states), transition.contiguous().numpy(), states.numpy(), backwards)


def _scan(transition: Tensor, initial: Tensor, drive: Tensor) -> Tensor:
    """s[k + 1] = P s[k] + c[k] by pairing neighbours: log2(blocks) steps, work linear in blocks.

    Args:
        transition: P (rows, n, n).
        initial: s[0] (rows, n).
        drive: c (rows, blocks, n).

    Returns:
        s (rows, blocks + 1, n).
    """
    blocks = drive.shape[1]
    states = drive.new_empty(len(drive), blocks + 1, drive.shape[2])
    if blocks == 0:
        states[:, 0] = initial
        return states
    paired = blocks // 2 * 2
    pairs = drive[:, 1:paired:2] + drive[:, 0:paired:2] @ transition.mT
    states[:, 0::2] = _scan(transition @ transition, initial, pairs)
    states[:, 1::2] = drive[:, 0::2] + states[:, 0:blocks:2] @ transition.mT
    return states
