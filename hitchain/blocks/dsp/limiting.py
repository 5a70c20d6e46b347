"""A look-ahead true-peak limiter of two stages, in decibels, whose gain is never more than any peak allows.

One stage, for a level that must be brought down by needed[t] = max(0, level[t] - ceiling):

    held[t]       max of needed[t .. t + look-ahead]
    reduction[t]  sum over j of taps[j] * release(held)[t - j],   taps >= 0, sum of taps = 1

`release` rises at once and falls by the exponential law; the taps (a Hann window as long as the look-ahead) turn its
jumps into smooth ramps. Each term of the sum is at least needed[t], because the samples from t - j to t lie within what
was held: hence so is their mean. The output is not late: the signal is known ahead.

The first stage is slow and clean, but a slow gain can make music only so loud. What is needed beyond 6 dB is shared:
the first stage takes ever less of it, 12 dB in all, and a fast stage the rest, as a clipper would in a loud master.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from hitchain.blocks.dsp import fft, true_peak
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.dsp.threads import over_rows

SLOW_ALONE = 6.0
"""[dB] Reduction that the slow stage makes alone."""

SLOW_SHARED = 6.0
"""[dB] Reduction that it makes at most beyond that."""


FAST_LOOKAHEAD, FAST_RELEASE = 0.5, 1.0
"""[ms] Of the fast stage."""

MARGIN = 0.15
"""[dB] Kept under the ceiling, for peaks that fall between the points of the true-peak detector."""


class Stage(NamedTuple):
    """One stage of the limiter: its release, the coefficient (batch,), and its look-ahead [samples]."""

    release: Tensor
    lookahead: int


def stages(release: Tensor, lookahead: float, sample_rate: float) -> tuple[Stage, Stage]:
    """The slow and the fast stage.

    Args:
        release: of the slow stage, time constant [ms], (batch,).
        lookahead: of the slow stage [ms].
    """
    fast_release = torch.full_like(release, FAST_RELEASE)
    return (
        Stage(release_coefficient(release, sample_rate), max(1, round(lookahead * 1e-3 * sample_rate))),
        Stage(release_coefficient(fast_release, sample_rate), max(1, round(FAST_LOOKAHEAD * 1e-3 * sample_rate))),
    )


def excess(audio: Tensor, ceiling: Tensor, oversampling: int) -> Tensor:
    """How far each sample's peak level is above the ceiling.

    Args:
        audio: (batch, channels, samples).
        ceiling: [dBTP], (batch,).
        oversampling: see `true_peak.peak_level`; at 1, where samples alone count, no margin is kept.

    Returns:
        (batch, samples) [dB].
    """
    margin = MARGIN if oversampling > 1 else 0.0
    return true_peak.peak_level(audio, oversampling) - (ceiling - margin)[:, None]


def sliding_maximum(signal: Tensor, window: int, parallel: bool | None = None) -> Tensor:
    """y[t] = max(x[t], ..., x[t + window - 1]): (..., samples) -> (..., samples - window + 1).

    The gradient goes to the (first) largest sample.

    Args:
        parallel: tensor operations instead of the compiled loop; by default wherever `signal` is not on CPU.
    """
    if _elsewhere(signal, parallel):
        return _sliding_maximum(signal, window)
    rows = signal.reshape(-1, signal.shape[-1])
    result: Tensor = _SlidingMaximum.apply(rows, window)  # type: ignore[no-untyped-call]
    return result.reshape(*signal.shape[:-1], -1)


def _sliding_maximum(signal: Tensor, window: int) -> Tensor:
    """Windows are built by doubling: log2(window) passes."""
    with torch.no_grad():
        value, index = signal, torch.arange(signal.shape[-1], device=signal.device).expand(signal.shape)
        span = 1
        while span < window:
            step = min(span, window - span)
            left, right = value[..., :-step], value[..., step:]
            index = torch.where(right > left, index[..., step:], index[..., :-step])
            value = torch.maximum(left, right)
            span += step
    return signal.gather(-1, index)


def hold(level: Tensor, lookahead: int, parallel: bool | None = None) -> Tensor:
    """A peak level (batch, samples) held over the samples ahead, and from one before (a peak may lie between two).

    Returns:
        (batch, samples + lookahead - 1): element i belongs to sample i - lookahead + 1; what comes before the first
        sample is there for the ramp toward it.
    """
    lowest = 20.0 * math.log10(true_peak.FLOOR)
    return sliding_maximum(pad(level, (lookahead, lookahead - 1), value=lowest), lookahead + 1, parallel)


def release_coefficient(release: Tensor, sample_rate: float) -> Tensor:
    """Time constant [ms] -> the share of the way back made in one sample: 1 - exp(-1000 / (release * sample_rate))."""
    return -torch.expm1(-1000.0 / (release * sample_rate))


def follow(held: Tensor, stage: Stage, shared: bool, parallel: bool | None = None) -> Tensor:
    """The smooth gain reduction of one stage.

    Args:
        held: (batch, samples + lookahead - 1) [dB], laid out as by `hold`; below 0 nothing is needed.
        shared: take no more than `slow_share` of it.
        parallel: tensor operations instead of the compiled loop; by default wherever `held` is not on CPU.

    Returns:
        (batch, samples) [dB], 0 or more.
    """
    if _elsewhere(held, parallel):
        needed = torch.relu(held)
        followed = ballistics(slow_share(needed) if shared else needed, 1.0, stage.release, parallel=True)
        return _ramp(followed, stage.lookahead)
    release = stage.release.expand(len(held))
    alone = SLOW_ALONE if shared else math.inf
    result: Tensor = _Follow.apply(held, release, stage.lookahead, alone)  # type: ignore[no-untyped-call]
    return result


def _ramp(followed: Tensor, lookahead: int) -> Tensor:
    if lookahead == 1:
        return followed
    samples = followed.shape[-1]
    n_fft = fft.fast_length(samples)  # what wraps around falls on the first samples, which are cut off
    ramp = torch.fft.rfft(_taps(lookahead, followed), n=n_fft)
    smooth: Tensor = torch.fft.irfft(torch.fft.rfft(followed, n=n_fft) * ramp, n=n_fft)
    return smooth[..., lookahead - 1 : samples]


def _taps(length: int, like: Tensor) -> Tensor:
    """A Hann window without its zeros, of unit sum."""
    position = (torch.arange(length, dtype=like.dtype, device=like.device) + 1.0) / (length + 1.0)
    window = torch.sin(math.pi * position).square()
    return window / window.sum()


def slow_share(needed: Tensor) -> Tensor:
    """What the slow stage takes of the reduction needed [dB]: all up to 6, then 6 + 6 (1 - exp(-(needed - 6) / 6))."""
    beyond = torch.relu(needed - SLOW_ALONE)
    return needed - beyond - SLOW_SHARED * torch.expm1(-beyond / SLOW_SHARED)


def gain_reduction(level: Tensor, held: Tensor, slow: Stage, fast: Stage, parallel: bool | None = None) -> Tensor:
    """How far the gain must be lowered so that no peak passes 0 dB.

    Args:
        level: (batch, samples) [dB], from `true_peak.peak_level`, less the ceiling.
        held: the same through `hold` with the slow stage's look-ahead (it stays the same when the level is raised).
        parallel: tensor operations instead of compiled loops; by default wherever `level` is not on CPU.

    Returns:
        (batch, samples) [dB], 0 or more, and at least the level.
    """
    reduction = follow(held, slow, shared=True, parallel=parallel)
    (loud,) = torch.where((held > SLOW_ALONE).any(dim=-1))
    if len(loud) == 0:
        return reduction
    if len(loud) < len(held):  # an item's result must not depend on whether another is loud
        one = Stage(fast.release[loud], fast.lookahead)
        return reduction.index_add(0, loud, _rest(level[loud] - reduction[loud], one, parallel))
    return reduction + _rest(level - reduction, fast, parallel)


def _rest(level: Tensor, fast: Stage, parallel: bool | None) -> Tensor:
    return follow(hold(level, fast.lookahead, parallel), fast, shared=False, parallel=parallel)


def amplify(audio: Tensor, gain: Tensor, reduction: Tensor, parallel: bool | None = None) -> Tensor:
    """y = x 10^((gain - reduction) / 20).

    Args:
        audio: (batch, channels, samples).
        gain: (batch,) [dB]; reduction: (batch, samples) [dB].
        parallel: tensor operations instead of the compiled loop; by default wherever `audio` is not on CPU.

    Returns:
        (batch, channels, samples). Differentiable once.
    """
    if _elsewhere(audio, parallel):
        return audio * to_gain(gain[:, None] - reduction)[:, None]
    result: Tensor = _Amplify.apply(audio, gain, reduction)  # type: ignore[no-untyped-call]
    return result


def _elsewhere(tensor: Tensor, parallel: bool | None) -> bool:
    return tensor.device.type != "cpu" if parallel is None else parallel


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class _SlidingMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signal: Tensor, window: int) -> Tensor:
        from hitchain.blocks.dsp import limiting_kernels as kernels

        ctx.save_for_backward(signal)
        ctx.window = window
        result = signal.new_empty(len(signal), signal.shape[-1] - window + 1)
        over_rows(kernels.maximum_forward, len(signal), *_arrays(signal), window, result.numpy())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        from hitchain.blocks.dsp import limiting_kernels as kernels

        (signal,) = ctx.saved_tensors
        grad_signal = torch.zeros_like(signal, memory_format=torch.contiguous_format)
        arrays = _arrays(grad, grad_signal)
        over_rows(kernels.maximum_backward, len(signal), *_arrays(signal), ctx.window, *arrays)
        return grad_signal, None


class _Follow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, held: Tensor, release: Tensor, lookahead: int, alone: float) -> Tensor:
        from hitchain.blocks.dsp import limiting_kernels as kernels

        rows, length = held.shape
        reduction = held.new_empty(rows, length - lookahead + 1)
        states = torch.empty(rows, -(-length // kernels.BLOCK), dtype=torch.float64)
        ctx.save_for_backward(held, release, states)
        ctx.shape = (lookahead, alone, SLOW_SHARED)
        over_rows(kernels.stage_forward, rows, *_arrays(held, release), *ctx.shape, *_arrays(reduction, states))
        return reduction

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        from hitchain.blocks.dsp import limiting_kernels as kernels

        held, release, states = ctx.saved_tensors
        grad_held = torch.empty_like(held, memory_format=torch.contiguous_format)
        grad_release = torch.empty(release.shape, dtype=release.dtype)
        results = _arrays(states, grad, grad_held, grad_release)
        over_rows(kernels.stage_backward, len(held), *_arrays(held, release), *ctx.shape, *results)
        return grad_held, grad_release, None, None


class _Amplify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, gain: Tensor, reduction: Tensor) -> Tensor:
        from hitchain.blocks.dsp import limiting_kernels as kernels

        ctx.save_for_backward(audio, gain, reduction)
        output = torch.empty_like(audio, memory_format=torch.contiguous_format)
        over_rows(kernels.amplify_forward, len(audio), *_arrays(audio, gain, reduction, output))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from hitchain.blocks.dsp import limiting_kernels as kernels

        audio, gain, reduction = ctx.saved_tensors
        results = [
            torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (audio, gain, reduction)
        ]
        over_rows(kernels.amplify_backward, len(audio), *_arrays(audio, gain, reduction, grad, *results))
        return results[0], results[1], results[2]
