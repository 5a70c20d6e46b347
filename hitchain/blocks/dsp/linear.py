"""Filtering by a row of frequency responses: as few and as small transforms as the ringing of each allows.

A response sampled at N bins stands for an impulse response of N samples, so that how long it rings decides how many
bins it needs, not how long the audio is. Responses that ring for a short time are evaluated and multiplied on a short
grid, made an impulse response, and only that one goes to the audio's grid, by one transform; what rings for long is
evaluated there. Long audio is filtered in segments (overlap-save), so that time and memory stay in proportion to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitchain.blocks.dsp import fft

LONGEST_WHOLE = 1 << 19
"""Audio and ringing up to this many samples take one transform. Above it, segments stay nearer to the cache."""

SHORTEST_GRID = 1 << 14
LEAD = 8
"""A short grid keeps 1 / LEAD of itself for what sounds before its time (a fractional delay does)."""

SHARE = 4
"""A grid is short where the audio's is at least so many times longer; so is a segment against the ringing."""


class Response(NamedTuple):
    """One time-invariant filter of a row.

    evaluate: n_fft -> complex (batch or 1, channels or 1, n_fft // 2 + 1), or with a single bin for a gain.
    tail: samples until it has decayed by 90 dB.
    """

    evaluate: Callable[[int], Tensor]
    tail: int


def apply_responses(audio: Tensor, responses: Sequence[Response]) -> Tensor:
    """Audio through a row of filters in series, cut to its own length.

    Args:
        audio: (batch, channels, samples).
        responses: at least one.

    Returns:
        (batch, channels, samples), where one channel meets two the result has two. Differentiable in the audio and in
        what the responses are made of.
    """
    samples, tail = audio.shape[-1], sum(response.tail for response in responses)
    n_fft = transform_length(samples, tail)
    short, long = _split(responses, n_fft)
    gains, factors = _evaluate(short, _grid(short))
    product = reduce(torch.mul, factors) if factors else None
    if product is not None:
        product = _lengthened(product, _grid(short), n_fft)
    more_gains, more_factors = _evaluate(long, n_fft)
    for factor in more_factors:
        product = factor if product is None else product * factor
    if product is not None and samples + tail <= n_fft:
        audio = fft.apply_response(audio, product, n_fft)
    elif product is not None:
        audio = _overlap_save(audio, product, n_fft, tail)
    for gain in (*gains, *more_gains):
        audio = audio * gain.real
    return audio


def _evaluate(responses: Sequence[Response], n_fft: int) -> tuple[list[Tensor], list[Tensor]]:
    """What they are at these bins: the gains, which need no transform, and the others."""
    evaluated = [response.evaluate(n_fft) for response in responses]
    return [item for item in evaluated if item.shape[-1] == 1], [item for item in evaluated if item.shape[-1] > 1]


def transform_length(samples: int, tail: int) -> int:
    """The length of the audio's transform: room for all of it and its ringing, or for a segment of it."""
    whole = samples + tail
    return fft.fast_length(whole if whole <= LONGEST_WHOLE else min(whole, max(LONGEST_WHOLE, SHARE * tail)))


def _split(responses: Sequence[Response], n_fft: int) -> tuple[list[Response], list[Response]]:
    """Those that together fit a short grid, the shortest first, and the others."""
    short: list[Response] = []
    by_tail = sorted(responses, key=lambda response: response.tail)
    for response in by_tail:
        if SHARE * _grid([*short, response]) > n_fft:
            break
        short.append(response)
    return short, by_tail[len(short) :]


def _grid(responses: Sequence[Response]) -> int:
    tail = sum(response.tail for response in responses)
    return fft.fast_length(max(SHORTEST_GRID, tail + tail // (LEAD - 1)))


def _lengthened(response: Tensor, grid: int, n_fft: int) -> Tensor:
    """A response at the bins of a short grid, at the bins of a long one: by way of its impulse response."""
    impulse = torch.fft.irfft(response, n=grid)
    lead = grid // LEAD
    gap = impulse.new_zeros(*impulse.shape[:-1], n_fft - grid)
    return fft.rfft(torch.cat([impulse[..., :-lead], gap, impulse[..., -lead:]], dim=-1), n_fft)


def _overlap_save(audio: Tensor, response: Tensor, n_fft: int, tail: int) -> Tensor:
    """Segment by segment: each transform gives what its first `tail` and last `lead` samples do not spoil."""
    samples, lead = audio.shape[-1], n_fft // (2 * SHARE)
    step = n_fft - tail - lead
    parts = []
    for first in range(0, samples, step):
        begin, end = first - tail, first - tail + n_fft
        segment = pad(audio[..., max(begin, 0) : min(end, samples)], (max(-begin, 0), max(end - samples, 0)))
        filtered = fft.apply_response(segment, response, n_fft)
        parts.append(filtered[..., tail : tail + min(step, samples - first)])
    return torch.cat(parts, dim=-1)
