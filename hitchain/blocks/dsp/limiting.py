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
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitchain.blocks.dsp import fft
from hitchain.blocks.dsp.decibels import from_gain
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.dsp.resampling import upsample

SLOW_ALONE = 6.0
"""[dB] Reduction that the slow stage makes alone."""

SLOW_SHARED = 6.0
"""[dB] Reduction that it makes at most beyond that."""


class Stage(NamedTuple):
    """One stage of the limiter: its release, the coefficient (batch,), and its look-ahead [samples]."""

    release: Tensor
    lookahead: int


def peak_level(audio: Tensor, oversampling: int = 4) -> Tensor:
    """The highest magnitude from each sample to the next, and of all channels.

    Args:
        audio: (batch, channels, samples).
        oversampling: points looked at for each sample.

    Returns:
        (batch, samples) [dB], at least -160.
    """
    peak = audio.abs().amax(dim=1)
    if oversampling > 1:  # the first of each `oversampling` points is the sample itself: only one of the two may count
        between = upsample(audio, oversampling).reshape(*audio.shape, oversampling)[..., 1:]
        peak = torch.maximum(peak, between.abs().amax(dim=(1, 3)))
    return from_gain(peak)


def sliding_maximum(signal: Tensor, window: int) -> Tensor:
    """y[t] = max(x[t], ..., x[t + window - 1]): (..., samples) -> (..., samples - window + 1).

    The gradient goes to the (first) largest sample. Windows are built by doubling: log2(window) passes.
    """
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


def hold(level: Tensor, lookahead: int) -> Tensor:
    """A peak level (batch, samples) held over the samples ahead, and from one before (a peak may lie between two).

    Returns:
        (batch, samples + lookahead - 1): element i belongs to sample i - lookahead + 1; what comes before the first
        sample is there for the ramp toward it.
    """
    lowest = float(from_gain(torch.zeros(())))
    return sliding_maximum(pad(level, (lookahead, lookahead - 1), value=lowest), lookahead + 1)


def release_coefficient(release: Tensor, sample_rate: float) -> Tensor:
    """Time constant [ms] -> the share of the way back made in one sample: 1 - exp(-1000 / (release * sample_rate))."""
    return -torch.expm1(-1000.0 / (release * sample_rate))


def follow(held: Tensor, release: Tensor, lookahead: int) -> Tensor:
    """The smooth gain reduction of one stage.

    Args:
        held: (batch, samples + lookahead - 1) [dB], 0 or more, laid out as by `hold`.
        release: (batch,), the coefficient from `release_coefficient`.
        lookahead: [samples].

    Returns:
        (batch, samples) [dB], 0 or more.
    """
    followed = ballistics(held, 1.0, release)
    if lookahead == 1:
        return followed
    n_fft = fft.fast_length(held.shape[-1])  # what wraps around falls on the first samples, which are cut off
    ramp = torch.fft.rfft(_taps(lookahead, held), n=n_fft)
    smooth: Tensor = torch.fft.irfft(torch.fft.rfft(followed, n=n_fft) * ramp, n=n_fft)
    return smooth[..., lookahead - 1 : held.shape[-1]]


def _taps(length: int, like: Tensor) -> Tensor:
    """A Hann window without its zeros, of unit sum."""
    position = (torch.arange(length, dtype=like.dtype, device=like.device) + 1.0) / (length + 1.0)
    window = torch.sin(math.pi * position).square()
    return window / window.sum()


def slow_share(needed: Tensor) -> Tensor:
    """What the slow stage takes of the reduction needed [dB]: all up to 6, then 6 + 6 (1 - exp(-(needed - 6) / 6))."""
    beyond = torch.relu(needed - SLOW_ALONE)
    return needed - beyond - SLOW_SHARED * torch.expm1(-beyond / SLOW_SHARED)


def gain_reduction(level: Tensor, held: Tensor, slow: Stage, fast: Stage) -> Tensor:
    """How far the gain must be lowered so that no peak passes 0 dB.

    Args:
        level: (batch, samples) [dB], from `peak_level`, less the ceiling.
        held: the same through `hold` with the slow stage's look-ahead (it is the costly part, and stays the same
            when the level is raised).

    Returns:
        (batch, samples) [dB], 0 or more, and at least the level.
    """
    reduction = follow(slow_share(torch.relu(held)), slow.release, slow.lookahead)
    if bool((held <= SLOW_ALONE).all()):
        return reduction
    rest = torch.relu(hold(level - reduction, fast.lookahead))
    return reduction + follow(rest, fast.release, fast.lookahead)
