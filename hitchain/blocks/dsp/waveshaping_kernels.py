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
    kind = audio.dtype.type
    one, above, below = kind(1), kind(1 / upper**2), kind(1 / lower**2)
    for item in range(first, last):
        slope, rest = gain[item], bias[item]
        rest_root = np.sqrt(one + rest * rest * (above if rest >= 0 else below))
        rest_slope = one / (rest_root * rest_root * rest_root)
        for channel in range(audio.shape[1]):
            source, given, target = audio[item, channel], grad[item, channel], grad_audio[item, channel]
            samples = source.shape[0]
            # A sample ends one step and starts the next. Working both out anew costs less than carrying one over.
            for t in range(samples):
                level = slope * source[t] + rest
                before = slope * source[t - 1] + rest if t > 0 else rest
                after = slope * source[t + 1] + rest if t < samples - 1 else level
                ending, _ = _slopes(level, before, above, below, one)
                _, starting = _slopes(after, level, above, below, one)
                target[t] = given[t] * ending + (given[t + 1] * starting if t < samples - 1 else kind(0))
            _, starting = _slopes(slope * source[0] + rest, rest, above, below, one)
            sum_gain, sum_bias = 0.0, float(given[0] * starting)
            for t in range(samples):
                sum_gain += target[t] * source[t]
                sum_bias += target[t] - rest_slope * given[t]
                target[t] *= slope
            grad_gain[item] += sum_gain
            grad_bias[item] += sum_bias
