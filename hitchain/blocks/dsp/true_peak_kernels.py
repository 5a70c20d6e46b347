"""The true-peak detector on CPU, compiled. The equations stand in `true_peak`.

Imported at first use, for compilation and its cache cost a second. Forward, blocks of samples are shared out, first <=
part < last of all blocks of all batch items, and within one the compiler does many samples at once; back, batch items.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.elementary_kernels import PLAIN, SUMS, log

Array = Any
BLOCK = 2048
_DECIBELS = 20.0 / math.log(10.0)


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def level_forward(first: int, last: int, audio: Array, taps: Array, floor: float, level: Array) -> None:
    channels, samples = audio.shape[1], audio.shape[2]
    before = taps.shape[1] // 2 - 1
    blocks = (samples + BLOCK - 1) // BLOCK
    source = np.empty(BLOCK + taps.shape[1], audio.dtype)
    point, peak = np.empty(BLOCK, audio.dtype), np.empty(BLOCK, audio.dtype)
    for part in range(first, last):
        item, begin = part // blocks, part % blocks * BLOCK
        count = min(BLOCK, samples - begin)
        for i in range(count):
            peak[i] = 0
        for channel in range(channels):
            _copy(audio[item, channel], begin - before, source)
            for i in range(count):
                peak[i] = max(peak[i], abs(source[i + before]))
            for phase in range(taps.shape[0]):
                _interpolate(source, taps[phase], count, point)
                for i in range(count):
                    peak[i] = max(peak[i], abs(point[i]))
        target = level[item, begin : begin + count]
        for i in range(count):
            target[i] = log(max(float(peak[i]), floor)) * _DECIBELS


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _copy(signal: Array, begin: int, target: Array) -> None:
    """target = signal[begin:], silence outside."""
    inside = max(0, -begin)
    end = max(inside, min(target.shape[0], signal.shape[0] - begin))
    source = signal[begin + inside : begin + end]
    for i in range(inside):
        target[i] = 0
    for i in range(end - inside):
        target[inside + i] = source[i]
    for i in range(end, target.shape[0]):
        target[i] = 0


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _interpolate(source: Array, taps: Array, count: int, point: Array) -> None:
    """point[i] = sum over k of taps[k] source[i + k]; eight taps at a time, so that sums seldom leave the registers."""
    for i in range(count):
        point[i] = 0
    for k in range(0, taps.shape[0], 8):
        h0, h1, h2, h3, h4, h5, h6, h7 = taps[k : k + 8]
        some = source[k:]
        for i in range(count):
            even = h0 * some[i] + h2 * some[i + 2] + h4 * some[i + 4] + h6 * some[i + 6]
            odd = h1 * some[i + 1] + h3 * some[i + 3] + h5 * some[i + 5] + h7 * some[i + 7]
            point[i] += even + odd


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def level_backward(
    first: int, last: int, audio: Array, taps: Array, grad: Array, floor: float, grad_audio: Array
) -> None:
    point = np.empty((audio.shape[1], taps.shape[0] + 1), audio.dtype)
    for item in range(first, last):
        for t in range(audio.shape[2]):
            if grad[item, t] == 0:
                continue
            peak, highest = _points(audio[item], taps, t, point)
            if peak > floor:
                _share(point, peak, grad[item, t] * (_DECIBELS / (peak * highest)), taps, t, grad_audio[item])


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _points(audio: Array, taps: Array, t: int, point: Array) -> tuple[float, int]:
    """The sample and the points after it, of every channel; the highest magnitude, and how many are as high."""
    phases, length = taps.shape
    before = length // 2 - 1
    start, end = max(0, before - t), min(length, audio.shape[1] - t + before)
    peak, highest = 0.0, 0
    for channel in range(audio.shape[0]):
        point[channel, 0] = audio[channel, t]
        near = audio[channel, t - before + start : t - before + end]
        for phase in range(phases):
            total = audio.dtype.type(0)
            for k in range(end - start):
                total += taps[phase, start + k] * near[k]
            point[channel, phase + 1] = total
        for phase in range(phases + 1):
            height = abs(point[channel, phase])
            highest = 1 if height > peak else highest + (height == peak)
            peak = max(peak, height)
    return peak, highest


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _share(point: Array, peak: float, grad: float, taps: Array, t: int, grad_audio: Array) -> None:
    """`grad` to each of the highest points, and from those between samples to the samples they are made of."""
    length = taps.shape[1]
    before = length // 2 - 1
    start, end = max(0, before - t), min(length, grad_audio.shape[1] - t + before)
    for channel in range(point.shape[0]):
        for phase in range(point.shape[1]):
            value = point[channel, phase]
            if abs(value) != peak:
                continue
            signed = grad_audio.dtype.type(grad if value > 0 else -grad)
            if phase == 0:
                grad_audio[channel, t] += signed
                continue
            near = grad_audio[channel, t - before + start : t - before + end]
            for k in range(end - start):
                near[k] += signed * taps[phase - 1, start + k]
