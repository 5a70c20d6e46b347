"""Compiled loops of `bends` on CPU, for batch items first <= item < last. The equations stand there.

Imported at first use, for compilation and its cache cost a second.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from hitchain.blocks.dsp.bends import FAR, NEAR, SHORT

Array = Any
FAST = {"contract", "nsz"}


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def curve_at(level: float, knee: float, slopes: Array, thresholds: Array) -> tuple[float, float, float]:
    """f, its slope and its derivative to the knee."""
    size = abs(level)
    value, slope, by_knee = slopes[0] * size, slopes[0], 0.0
    for k in range(len(thresholds)):
        width = knee * thresholds[k]
        start = max(size - thresholds[k] + width, 0.0)
        rounded = min(start, 2.0 * width)
        share = rounded / (2.0 * width)
        value += slopes[k + 1] * (rounded * share * 0.5 + (start - rounded))
        slope += slopes[k + 1] * share
        by_knee += slopes[k + 1] * thresholds[k] * (share - share * share)
    if level < 0.0:
        return -value, slope, -by_knee
    return value, slope, by_knee


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def integral_at(level: float, knee: float, slopes: Array, thresholds: Array) -> tuple[float, float]:
    """F and its derivative to the knee."""
    size = abs(level)
    value, by_knee = 0.5 * slopes[0] * size * size, 0.0
    for k in range(len(thresholds)):
        width = knee * thresholds[k]
        start = max(size - thresholds[k] + width, 0.0)
        rounded = min(start, 2.0 * width)
        beyond, share = start - rounded, rounded / (2.0 * width)
        value += slopes[k + 1] * (rounded * rounded * share / 6.0 + beyond * (0.5 * beyond + width))
        by_knee += slopes[k + 1] * thresholds[k] * (rounded * share * 0.5 - rounded * share * share / 3.0)
    return value, by_knee


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def mean_forward(
    first: int, last: int, audio: Array, bias: Array, knee: Array, slopes: Array, thresholds: Array, result: Array
) -> None:
    for item in range(first, last):
        rest, round_ = bias[item], knee[item]
        offset = curve_at(rest, round_, slopes, thresholds)[0]
        for channel in range(audio.shape[1]):
            source, target = audio[item, channel], result[item, channel]
            before = rest
            area_before = integral_at(before, round_, slopes, thresholds)[0]
            for t in range(source.shape[0]):
                level = source[t] + rest
                area = integral_at(level, round_, slopes, thresholds)[0]
                step = level - before
                if abs(step) < SHORT * (1.0 + abs(level) + abs(before)):
                    near = curve_at(NEAR * level + FAR * before, round_, slopes, thresholds)[0]
                    far = curve_at(FAR * level + NEAR * before, round_, slopes, thresholds)[0]
                    mean = 0.5 * (near + far)
                else:
                    mean = (area - area_before) / step
                target[t] = mean - offset
                before, area_before = level, area


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def mean_backward(
    first: int,
    last: int,
    audio: Array,
    bias: Array,
    knee: Array,
    slopes: Array,
    thresholds: Array,
    grad: Array,
    grad_audio: Array,
    sums: Array,
) -> None:
    """sums (items, 2): the gradients of the bias and of the knee."""
    for item in range(first, last):
        rest, round_ = bias[item], knee[item]
        _, rest_slope, rest_by_knee = curve_at(rest, round_, slopes, thresholds)
        for channel in range(audio.shape[1]):
            source, given, target = audio[item, channel], grad[item, channel], grad_audio[item, channel]
            before = rest
            area_before, area_before_by_knee = integral_at(before, round_, slopes, thresholds)
            value_before = curve_at(before, round_, slopes, thresholds)[0]
            by_bias, by_knee = 0.0, 0.0
            held = 0.0  # what is known so far of the gradient of `before`
            for t in range(source.shape[0]):
                level = source[t] + rest
                area, area_by_knee = integral_at(level, round_, slopes, thresholds)
                value = curve_at(level, round_, slopes, thresholds)[0]
                step = level - before
                if abs(step) < SHORT * (1.0 + abs(level) + abs(before)):
                    _, slope, near = curve_at(NEAR * level + FAR * before, round_, slopes, thresholds)
                    _, other, far = curve_at(FAR * level + NEAR * before, round_, slopes, thresholds)
                    ending = 0.5 * (NEAR * slope + FAR * other)
                    starting = 0.5 * (FAR * slope + NEAR * other)
                    moved = 0.5 * (near + far)
                else:
                    mean = (area - area_before) / step
                    ending, starting = (value - mean) / step, (mean - value_before) / step
                    moved = (area_by_knee - area_before_by_knee) / step
                here = given[t]
                held += here * starting
                if t > 0:
                    target[t - 1] = held
                by_bias += held
                by_knee += here * (moved - rest_by_knee)
                by_bias -= here * rest_slope
                held = here * ending
                before, value_before, area_before, area_before_by_knee = level, value, area, area_by_knee
            if source.shape[0] > 0:
                target[source.shape[0] - 1] = held
                by_bias += held
            sums[item, 0] += by_bias
            sums[item, 1] += by_knee
