"""First-order recursions with exact gradients: the one place where sample-by-sample feedback is dispatched.

On CPU a compiled loop runs each row, in parallel over rows, with a hand-derived adjoint. Elsewhere (`parallel=True`)
the same result comes from an associative scan in log2(samples) steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

Value = Tensor | float


def linear_recurrence(
    coefficient: Value, drive: Tensor, initial: Value | None = None, parallel: bool | None = None
) -> Tensor:
    """A first-order linear recursion: y[t] = a[t] y[t-1] + b[t], y[-1] = initial.

    The adjoint is the same recursion run backwards, l[t] = dL/dy[t] + a[t+1] l[t+1], from which dL/db[t] = l[t],
    dL/da[t] = l[t] y[t-1] and dL/dinitial = a[0] l[0].

    Args:
        coefficient: a, one a row (shape (...) or (..., 1)) or one a sample (shape (..., samples)).
        drive: b, shape (..., samples), float32 or float64.
        initial: y[-1], shape (...); 0 if left out.
        parallel: scan instead of loop; by default wherever `drive` is not on CPU.

    Returns:
        y, shape (..., samples). Differentiable once, in all three.
    """
    rows, samples = drive.shape[:-1].numel(), drive.shape[-1]
    if drive.numel() == 0:
        return drive
    result: Tensor = _LinearRecurrence.apply(  # type: ignore[no-untyped-call]
        _coefficients(coefficient, drive),
        drive.reshape(rows, samples).contiguous(),
        _initial(initial, drive),
        drive.device.type != "cpu" if parallel is None else parallel,
    )
    return result.reshape(drive.shape)


def ballistics(
    level: Tensor, attack: Value, release: Value, initial: Value | None = None, parallel: bool | None = None
) -> Tensor:
    """A one-pole follower that rises and falls at different speeds (the branching smoother of Giannoulis et al. 2012).

        y[t] = y[t-1] + c[t] (x[t] - y[t-1]),  c[t] = attack where x[t] > y[t-1], else release

    It attacks upwards, as a gain reduction in dB or an envelope does. A gain that falls when it attacks takes the two
    the other way round: `ballistics(gain, release, attack)`. With both equal it is a plain one-pole low-pass.

    The adjoint is l[t] = dL/dy[t] + (1 - c[t+1]) l[t+1], from which dL/dx[t] = c[t] l[t] and dL/dc[t] =
    l[t] (x[t] - y[t-1]), which goes to the attack or the release (Yu et al. 2024, "Differentiable all-pole filters for
    time-varying audio systems"). The switching itself has no gradient, and needs none: at a switch both sides agree.

    Args:
        level: x, shape (..., samples), float32 or float64.
        attack, release: in (0, 1], one a row (shape (...) or (..., 1)) or one a sample (shape (..., samples)); see
            `dynamics.time_coefficient`.
        initial: y[-1], shape (...); 0 if left out.
        parallel: scan instead of loop; by default wherever `level` is not on CPU. It repeats the scan until the
            switching pattern stands still, which is the exact result (Howard's policy iteration; few rounds).

    Returns:
        y, shape (..., samples). Differentiable once, in all four.
    """
    rows, samples = level.shape[:-1].numel(), level.shape[-1]
    if level.numel() == 0:
        return level
    result: Tensor = _Ballistics.apply(  # type: ignore[no-untyped-call]
        level.reshape(rows, samples).contiguous(),
        _coefficients(attack, level),
        _coefficients(release, level),
        _initial(initial, level),
        level.device.type != "cpu" if parallel is None else parallel,
    )
    return result.reshape(level.shape)


def _coefficients(value: Value, like: Tensor) -> Tensor:
    """One or `samples` values for each row: (rows, 1) or (rows, samples)."""
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if tensor.ndim < like.ndim:
        tensor = tensor.unsqueeze(-1)
    return tensor.expand(*like.shape[:-1], tensor.shape[-1]).reshape(-1, tensor.shape[-1]).contiguous()


def _initial(value: Value | None, like: Tensor) -> Tensor:
    if value is None:
        return like.new_zeros(like.shape[:-1].numel())
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return tensor.expand(like.shape[:-1]).reshape(-1).contiguous()


def scan(coefficient: Tensor, drive: Tensor) -> Tensor:
    """y[t] = a[t] y[t-1] + b[t] with y[-1] = 0, by pairing neighbours: log2(samples) steps, work linear in samples.

    (a0, b0) then (a1, b1) is (a0 a1, a1 b0 + b1), so the odd samples follow from a recursion of half the length
    (Blelloch 1990, "Prefix sums and their applications"). Both shaped (..., samples). Plain tensor operations.
    """
    samples = drive.shape[-1]
    if samples == 1:
        return drive
    even, odd = slice(0, samples - 1, 2), slice(1, samples, 2)
    pairs = scan(
        coefficient[..., even] * coefficient[..., odd], coefficient[..., odd] * drive[..., even] + drive[..., odd]
    )
    result = torch.empty_like(drive)
    result[..., odd] = pairs
    result[..., :1] = drive[..., :1]
    before = pairs[..., : (samples - 1) // 2]
    result[..., 2::2] = coefficient[..., 2::2] * before + drive[..., 2::2]
    return result


def _scan_from(initial: Tensor, coefficient: Tensor, drive: Tensor) -> Tensor:
    start = drive[:, :1] + coefficient[:, :1] * initial[:, None]
    return scan(coefficient, torch.cat([start, drive[:, 1:]], dim=1))


def _adjoint(factor: Tensor, grad_output: Tensor) -> Tensor:
    """l[t] = g[t] + factor[t+1] l[t+1]."""
    reversed_factor = torch.cat([torch.zeros_like(factor[:, :1]), factor[:, 1:].flip(1)], dim=1)
    return scan(reversed_factor, grad_output.flip(1)).flip(1)


def _before(initial: Tensor, output: Tensor) -> Tensor:
    """y[t-1]."""
    return torch.cat([initial[:, None], output[:, :-1]], dim=1)


def _reduce(grad: Tensor, like: Tensor) -> Tensor:
    """Gradient per sample -> gradient of a coefficient given per row or per sample."""
    return (grad if like.shape[1] > 1 else grad.sum(dim=1, keepdim=True)).to(like.dtype)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class _LinearRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coefficient: Tensor, drive: Tensor, initial: Tensor, parallel: bool) -> Tensor:
        if parallel:
            wide = coefficient.double().expand(drive.shape)
            output = _scan_from(initial.double(), wide, drive.double()).to(drive.dtype)
        else:
            from hitchain.blocks.dsp import recursion_kernels as kernels

            output = torch.empty_like(drive)
            over_rows(kernels.linear_forward, len(drive), *_arrays(coefficient, drive, initial, output))
        ctx.save_for_backward(coefficient, initial, output)
        ctx.parallel = parallel
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        coefficient, initial, output = ctx.saved_tensors
        if ctx.parallel:
            wide = coefficient.double().expand(output.shape)
            adjoint = _adjoint(wide, grad_output.double())
            grad_coefficient = _reduce(adjoint * _before(initial, output), coefficient)
            grad_initial = (wide[:, 0] * adjoint[:, 0]).to(initial.dtype)
            return grad_coefficient, adjoint.to(output.dtype), grad_initial, None
        from hitchain.blocks.dsp import recursion_kernels as kernels

        grads = [torch.empty_like(tensor) for tensor in (coefficient, output, initial)]
        inputs = _arrays(coefficient, initial, output, grad_output)
        over_rows(kernels.linear_backward, len(output), *inputs, *_arrays(*grads))
        return *grads, None


class _Ballistics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, level: Tensor, attack: Tensor, release: Tensor, initial: Tensor, parallel: bool) -> Tensor:
        if parallel:
            output, rising = _ballistics_by_scan(level, attack, release, initial)
        else:
            from hitchain.blocks.dsp import recursion_kernels as kernels

            output, rising = torch.empty_like(level), torch.empty_like(level, dtype=torch.bool)
            arrays = _arrays(level, attack, release, initial, output, rising)
            over_rows(kernels.ballistics_forward, len(level), *arrays)
        ctx.save_for_backward(level, attack, release, initial, output, rising)
        ctx.parallel = parallel
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        level, attack, release, initial, output, rising = ctx.saved_tensors
        if ctx.parallel:
            factor = torch.where(rising, attack.double(), release.double())
            adjoint = _adjoint(1.0 - factor, grad_output.double())
            slope = adjoint * (level - _before(initial, output))
            return (
                (factor * adjoint).to(level.dtype),
                _reduce(torch.where(rising, slope, 0.0), attack),
                _reduce(torch.where(rising, 0.0, slope), release),
                ((1.0 - factor[:, 0]) * adjoint[:, 0]).to(initial.dtype),
                None,
            )
        from hitchain.blocks.dsp import recursion_kernels as kernels

        grads = [torch.empty_like(tensor) for tensor in (level, attack, release, initial)]
        inputs = _arrays(level, attack, release, initial, output, rising, grad_output)
        over_rows(kernels.ballistics_backward, len(level), *inputs, *_arrays(*grads))
        return *grads, None


def _ballistics_by_scan(level: Tensor, attack: Tensor, release: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """The follower's output and where it rises: scan with a guessed pattern, correct the pattern, repeat.

    Each round makes at least one more sample right, so it ends; ends too where only samples at which the level meets
    the state, and either branch is right, still change sides.
    """
    wide, first = level.double(), initial.double()
    up, down = attack.double(), release.double()
    rising = wide > _before(first, wide)
    output = torch.full_like(wide, torch.inf)
    for _ in range(level.shape[1] + 1):
        factor = torch.where(rising, up, down)
        previous, output = output, _scan_from(first, 1.0 - factor, factor * wide)
        pattern = wide > _before(first, output)
        if torch.equal(pattern, rising) or torch.allclose(output, previous, rtol=1e-14, atol=1e-300):
            break
        rising = pattern
    return output.to(level.dtype), rising
