"""Compiled loops of `supply` on CPU, for batch items first <= item < last. Imported at first use.

They go through a row frame by frame: within one, samples are independent and the compiler does many at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.waveshaping_kernels import BLOCK, PLAIN, SUMS, _mean, steps_back

Array = Any


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def frame_levels(first: int, last: int, audio: Array, step: int, levels: Array) -> None:
    kind = audio.dtype.type
    channels, samples = audio.shape[1], audio.shape[2]
    share = kind(1.0 / (channels * step))
    for item in range(first, last):
        for frame in range(levels.shape[1]):
            total = kind(0)
            for channel in range(channels):
                source = audio[item, channel, frame * step : min(frame * step + step, samples)]
                for t in range(len(source)):
                    total += abs(source[t])
            levels[item, frame] = total * share


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def frame_levels_backward(first: int, last: int, audio: Array, grad: Array, step: int, grad_audio: Array) -> None:
    kind = audio.dtype.type
    zero, channels, samples = kind(0), audio.shape[1], audio.shape[2]
    share = kind(1.0 / (channels * step))
    for item in range(first, last):
        for channel in range(channels):
            for frame in range(grad.shape[1]):
                begin, end = frame * step, min(frame * step + step, samples)
                source, target = audio[item, channel, begin:end], grad_audio[item, channel, begin:end]
                up = grad[item, frame] * share
                for t in range(len(source)):
                    positive = up if source[t] > zero else zero
                    target[t] = -up if source[t] < zero else positive


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def lines(droop: Array, first: int, last: int, step: int, out: Array) -> None:
    """The droop through frames first <= frame < last: straight lines."""
    kind = out.dtype.type
    share = kind(1.0 / step)
    for frame in range(first, last):
        start, rise, target = droop[frame], (droop[frame + 1] - droop[frame]) * share, out[(frame - first) * step :]
        for t in range(step):
            target[t] = start + rise * kind(t)


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def means(levels: Array, droop: Array, samples: int, target: Array) -> None:
    """target[t] = the mean of the curve from levels[t] to levels[t + 1], over the droop."""
    one = levels.dtype.type(1)
    for t in range(samples):
        level, before = levels[t + 1], levels[t]
        root, root_before = np.sqrt(one + level * level), np.sqrt(one + before * before)
        target[t] = _mean(level, before, root, root_before, one) / droop[t]


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def times(source: Array, factor: Array, samples: int, target: Array) -> None:
    for t in range(samples):
        target[t] = source[t] * factor[t]


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def over(source: Array, divisor: Array, samples: int, target: Array) -> None:
    for t in range(samples):
        target[t] = source[t] / divisor[t]


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def sagging_clip(first: int, last: int, audio: Array, droop: Array, step: int, result: Array) -> None:
    group, frames, samples = max(1, BLOCK // step), droop.shape[1] - 1, audio.shape[2]
    levels, slope = np.empty(group * step + 1, audio.dtype), np.empty(group * step, audio.dtype)
    for item in range(first, last):
        for channel in range(audio.shape[1]):
            levels[0] = audio.dtype.type(0)
            for frame in range(0, frames, group):
                begin, end = frame * step, min((frame + group) * step, samples)
                width = end - begin
                lines(droop[item], frame, min(frame + group, frames), step, slope)
                times(audio[item, channel, begin:end], slope, width, levels[1:])
                means(levels, slope, width, result[item, channel, begin:end])
                levels[0] = levels[width]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def changes(source: Array, ahead: Array, given: Array, output: Array, samples: int, out: Array) -> None:
    """The gradient of the droop at each sample: x dL/d(k x) - y dL/dy / k."""
    for t in range(samples):
        out[t] = source[t] * ahead[t] - given[t] * output[t]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def share_out(change: Array, step: int, samples: int, grad: Array) -> None:
    """The gradients of the droop at the samples of one frame, shared out to its start and its end."""
    kind = change.dtype.type
    total, late = kind(0), kind(0)
    for t in range(samples):
        total += change[t]
        late += change[t] * kind(t)
    late /= kind(step)
    grad[0] += float(total) - float(late)
    grad[1] += float(late)


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def add_shifted(ending: Array, starting: Array, samples: int, out: Array) -> None:
    for t in range(samples):
        out[t] = ending[t] + starting[t + 1]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def sagging_clip_backward(
    first: int, last: int, audio: Array, droop: Array, grad: Array, step: int, grad_audio: Array, grad_droop: Array
) -> None:
    """From the last group of frames to the first: a step's start is the sample before, maybe in the group before."""
    kind = audio.dtype.type
    group, frames, samples = max(1, BLOCK // step), droop.shape[1] - 1, audio.shape[2]
    work = np.empty((7, group * step + 1), audio.dtype)
    levels, starting, slope, given = work[0], work[1], work[2], work[3]
    ending, ahead, output = work[4], work[5], work[6]
    for item in range(first, last):
        for channel in range(audio.shape[1]):
            starting[0] = kind(0)  # of the sample after the last
            for part in range((frames - 1) // group, -1, -1):
                frame, stop = part * group, min(part * group + group, frames)
                begin, end = frame * step, min(stop * step, samples)
                width, source = end - begin, audio[item, channel, begin:end]
                levels[0] = kind(0)
                if frame > 0:
                    lines(droop[item], frame - 1, frame, step, slope)
                    levels[0] = audio[item, channel, begin - 1] * slope[step - 1]
                lines(droop[item], frame, stop, step, slope)
                times(source, slope, width, levels[1:])
                means(levels, slope, width, output)
                over(grad[item, channel, begin:end], slope, width, given)
                starting[width] = starting[0]
                steps_back(levels, given, width, kind(1), kind(1), ending, starting)
                add_shifted(ending, starting, width, ahead)
                times(ahead, slope, width, grad_audio[item, channel, begin:end])
                changes(source, ahead, given, output, width, ending)
                for each in range(frame, stop):
                    start = (each - frame) * step
                    share_out(ending[start:], step, min(step, width - start), grad_droop[item, each:])
