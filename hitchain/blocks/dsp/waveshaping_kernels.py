"""Compiled loops of `waveshaping` on CPU, for batch items first <= item < last. The equations stand there.

Imported at first use, for compilation and its cache cost a second. Every sample is worked out by itself, so that the
compiler can do many at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
PLAIN = {"contract", "nsz"}
SUMS = {"contract", "nsz", "arcp", "reassoc"}  # lets sums be vectorised; their order is fixed when compiled
BLOCK = 1024  # samples worked on at a time, in the cache


@njit(inline="always", fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _mean(level: float, before: float, root: float, root_before: float, one: float) -> float:
    same = (level + before) / (root + root_before)
    across = (level * level / (root + one) - before * before / (root_before + one)) / (level - before)
    return across if level * before < 0 else same


@njit(inline="always", fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _slopes(level: float, before: float, above: float, below: float, one: float) -> tuple[float, float]:
    """The derivatives of the mean to where the step ends (a) and to where it starts (b).

    Same side: (1 + s_a s_b - a b / c^2) / (s_a (s_a + s_b)^2), in which s_a s_b - a b / c^2 is written without
    cancellation as (1 + (a^2 + b^2) / c^2) / (s_a s_b + a b / c^2). Across zero: (f(a) - mean) / (a - b).
    """
    inverse = above if level >= 0 else below
    inverse_before = above if before >= 0 else below
    square, square_before = level * level * inverse, before * before * inverse_before
    root, root_before = np.sqrt(one + square), np.sqrt(one + square_before)
    total = root + root_before
    shared = one + (one + square + square_before) / (root * root_before + level * before * inverse)
    shared /= total * total
    value = _mean(level, before, root, root_before, one)
    step = level - before
    across = level * before < 0
    ending = (level / root - value) / step if across else shared / root
    starting = (value - before / root_before) / step if across else shared / root_before
    return ending, starting


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def clip_mean_forward(
    first: int, last: int, audio: Array, gain: Array, bias: Array, upper: float, lower: float, result: Array
) -> None:
    kind = audio.dtype.type
    one, above, below = kind(1), kind(1 / upper**2), kind(1 / lower**2)
    for item in range(first, last):
        slope, rest = gain[item], bias[item]
        rest_root = np.sqrt(one + rest * rest * (above if rest >= 0 else below))
        offset = (rest + rest) / (rest_root + rest_root)  # as the mean computes it: silence gives exactly 0
        for channel in range(audio.shape[1]):
            source, target = audio[item, channel], result[item, channel]
            for t in range(source.shape[0]):
                level = slope * source[t] + rest
                before = slope * source[t - 1] + rest if t > 0 else rest
                root = np.sqrt(one + level * level * (above if level >= 0 else below))
                root_before = np.sqrt(one + before * before * (above if before >= 0 else below))
                target[t] = _mean(level, before, root, root_before, one) - offset


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def steps_back(
    levels: Array, given: Array, samples: int, above: float, below: float, ending: Array, starting: Array
) -> None:
    """What `given` hands on to the end and to the start of each step, levels[t] to levels[t + 1]."""
    one = levels.dtype.type(1)
    for t in range(samples):
        towards_end, towards_start = _slopes(levels[t + 1], levels[t], above, below, one)
        ending[t], starting[t] = given[t] * towards_end, given[t] * towards_start


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def amplify(source: Array, slope: float, rest: float, samples: int, target: Array) -> None:
    for t in range(samples):
        target[t] = slope * source[t] + rest


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def sums_back(target: Array, source: Array, given: Array, slope: float, samples: int) -> tuple[float, float, float]:
    """Sums of target source, of target and of given; then the target times the slope."""
    kind = target.dtype.type
    along, total, passed = kind(0), kind(0), kind(0)
    for t in range(samples):
        along += target[t] * source[t]
        total += target[t]
        passed += given[t]
        target[t] *= slope
    return float(along), float(total), float(passed)


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def clip_mean_backward(
    first: int,
    last: int,
    audio: Array,
    gain: Array,
    bias: Array,
    upper: float,
    lower: float,
    grad: Array,
    grad_audio: Array,
    grad_gain: Array,
    grad_bias: Array,
) -> None:
    """From the last block of samples to the first: a step's start is the sample before, maybe in the block before."""
    kind = audio.dtype.type
    one, above, below = kind(1), kind(1 / upper**2), kind(1 / lower**2)
    levels, ending = np.empty(BLOCK + 1, audio.dtype), np.empty(BLOCK, audio.dtype)
    starting = np.empty(BLOCK + 1, audio.dtype)
    for item in range(first, last):
        slope, rest = gain[item], bias[item]
        rest_root = np.sqrt(one + rest * rest * (above if rest >= 0 else below))
        rest_slope = one / (rest_root * rest_root * rest_root)
        for channel in range(audio.shape[1]):
            samples = audio.shape[2]
            starting[0] = kind(0)  # of the sample after the last
            for block in range((samples - 1) // BLOCK, -1, -1):
                begin, end = block * BLOCK, min(block * BLOCK + BLOCK, samples)
                width = end - begin
                source, given = audio[item, channel, begin:end], grad[item, channel, begin:end]
                target = grad_audio[item, channel, begin:end]
                starting[width] = starting[0]
                levels[0] = slope * audio[item, channel, begin - 1] + rest if begin > 0 else rest
                amplify(source, slope, rest, width, levels[1:])
                steps_back(levels, given, width, above, below, ending, starting)
                for t in range(width):
                    target[t] = ending[t] + starting[t + 1]
                along, total, passed = sums_back(target, source, given, slope, width)
                grad_gain[item] += along
                grad_bias[item] += total - rest_slope * passed
            grad_bias[item] += starting[0]
