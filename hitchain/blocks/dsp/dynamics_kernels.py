"""The compressor on CPU, forward and back, for batch items first <= item < last. The equations stand in `dynamics`.

Imported at first use, for compilation and its cache cost a second. It works through blocks that stay in the cache:
level and curve many samples at once, the follower a sample after the other, the gain many at once again. Only the
follower's state at the start of each block is kept for the way back, where the rest is worked out anew. All in float64
inside.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.elementary_kernels import PLAIN, SUMS, exp, log

Array = Any
BLOCK = 1024
_DECIBELS = 20.0 / math.log(10.0)
THRESHOLD, SLOPE, KNEE, RISE, FALL, MAKEUP, MIX = range(7)
"""Columns of `values`."""


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _detect(
    audio: Array, begin: int, end: int, floor: float, values: Array, peak: Array, bend: Array, over: Array
) -> None:
    """The linked peak, how far its level is into the knee (0 to 1), and the overshoot [dB]."""
    knee = values[KNEE]
    width = max(knee, 1e-12)
    bottom = values[THRESHOLD] - 0.5 * knee
    first = audio[0, begin:end]
    for i in range(end - begin):
        peak[i] = abs(first[i])
    for channel in range(1, audio.shape[0]):
        other = audio[channel, begin:end]
        for i in range(end - begin):
            peak[i] = max(peak[i], abs(other[i]))
    for i in range(end - begin):
        into = log(max(peak[i], floor)) * _DECIBELS - bottom
        bend[i] = min(max(into / width, 0.0), 1.0)
        over[i] = bend[i] * bend[i] * (0.5 * knee) + max(into - knee, 0.0)


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def follow(over: Array, count: int, rise: float, fall: float, state: Array) -> None:
    """state[i + 1] from state[i], for the overshoots of a block.

    The faster of the two ways leads higher going up and lower going down: so where rise >= fall it is the larger of
    both, where not the smaller, and the next sample need not wait for a comparison.
    """
    y = state[0]
    stay_rise, stay_fall = 1.0 - rise, 1.0 - fall
    if rise >= fall:
        for i in range(count):
            y = max(stay_rise * y + rise * over[i], stay_fall * y + fall * over[i])
            state[i + 1] = y
    else:
        for i in range(count):
            y = min(stay_rise * y + rise * over[i], stay_fall * y + fall * over[i])
            state[i + 1] = y


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def compress_forward(
    first: int, last: int, audio: Array, values: Array, floor: float, output: Array, states: Array
) -> None:
    channels, samples = audio.shape[1], audio.shape[2]
    peak, bend, over = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    state = np.empty(BLOCK + 1)
    gain = np.empty(BLOCK)
    for item in range(first, last):
        knobs = values[item]
        slope, makeup, mix = knobs[SLOPE] / _DECIBELS, knobs[MAKEUP] / _DECIBELS, knobs[MIX]
        state[0] = 0.0
        for block in range(states.shape[1]):
            begin = block * BLOCK
            end = min(begin + BLOCK, samples)
            count = end - begin
            states[item, block] = state[0]
            _detect(audio[item], begin, end, floor, knobs, peak, bend, over)
            follow(over, count, knobs[RISE], knobs[FALL], state)
            for i in range(count):
                gain[i] = 1.0 + mix * (exp(makeup - slope * state[i + 1]) - 1.0)
            for channel in range(channels):
                source, target = audio[item, channel, begin:end], output[item, channel, begin:end]
                for i in range(count):
                    target[i] = source[i] * gain[i]
            state[0] = state[count]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def compress_backward(
    first: int,
    last: int,
    audio: Array,
    values: Array,
    floor: float,
    states: Array,
    grad: Array,
    grad_audio: Array,
    grad_values: Array,
) -> None:
    samples = audio.shape[2]
    peak, bend, over = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    state = np.empty(BLOCK + 1)
    gain, adjoint, share = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for item in range(first, last):
        knobs, sums = values[item], grad_values[item]
        sums[:] = 0.0
        carried = 0.0  # the adjoint of the follower's state, as seen one sample earlier
        for block in range(states.shape[1] - 1, -1, -1):
            begin = block * BLOCK
            end = min(begin + BLOCK, samples)
            count = end - begin
            state[0] = states[item, block]
            _detect(audio[item], begin, end, floor, knobs, peak, bend, over)
            follow(over, count, knobs[RISE], knobs[FALL], state)
            _from_gain(audio[item, :, begin:end], grad[item, :, begin:end], knobs, state, gain, adjoint, sums)
            for i in range(count):
                share[i] = knobs[RISE] if over[i] > state[i] else knobs[FALL]
            for i in range(count - 1, -1, -1):  # l[t] = g[t] + (1 - c[t+1]) l[t+1]
                own, stay = adjoint[i], 1.0 - share[i]
                adjoint[i] = own + carried
                carried = stay * carried + stay * own
            _from_curve(count, floor, peak, bend, over, state, share, adjoint, sums)
            to_audio(audio[item], grad[item], begin, end, gain, peak, adjoint, share, grad_audio[item])


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _from_gain(audio: Array, grad: Array, knobs: Array, state: Array, gain: Array, adjoint: Array, sums: Array) -> None:
    """From each channel's product to the gain (worked out again) and on to the follower."""
    count = audio.shape[1]
    slope, makeup, mix = knobs[SLOPE], knobs[MAKEUP], knobs[MIX]
    to_slope, to_makeup, to_mix = 0.0, 0.0, 0.0
    for i in range(count):
        adjoint[i] = 0.0
    for channel in range(audio.shape[0]):
        source, given = audio[channel], grad[channel]
        for i in range(count):
            adjoint[i] += source[i] * given[i]
    for i in range(count):
        whole = exp((makeup - slope * state[i + 1]) / _DECIBELS)
        gain[i] = 1.0 + mix * (whole - 1.0)
        to_mix += adjoint[i] * (whole - 1.0)
        decibels = adjoint[i] * whole * (mix / _DECIBELS)
        to_makeup += decibels
        to_slope -= decibels * state[i + 1]
        adjoint[i] = -slope * decibels
    sums[SLOPE] += to_slope
    sums[MAKEUP] += to_makeup
    sums[MIX] += to_mix


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _from_curve(
    count: int,
    floor: float,
    peak: Array,
    bend: Array,
    over: Array,
    state: Array,
    share: Array,
    adjoint: Array,
    sums: Array,
) -> None:
    """From the follower, through curve and level, to the peak: what `adjoint` holds at the end."""
    to_rise, to_fall, to_threshold, to_knee = 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        towards = adjoint[i] * (over[i] - state[i])
        rising = towards if over[i] > state[i] else 0.0
        to_rise += rising
        to_fall += towards - rising
        level = adjoint[i] * share[i] * bend[i]
        to_threshold -= level
        to_knee += 0.5 * (level - level * bend[i])
        adjoint[i] = level * _DECIBELS / peak[i] if peak[i] > floor else 0.0
    sums[RISE] += to_rise
    sums[FALL] += to_fall
    sums[THRESHOLD] += to_threshold
    sums[KNEE] += to_knee


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def to_audio(
    audio: Array,
    grad: Array,
    begin: int,
    end: int,
    gain: Array,
    peak: Array,
    grad_peak: Array,
    loudest: Array,
    grad_audio: Array,
) -> None:
    """What comes through the product, and through the peak to the loudest channel; those as loud share it."""
    count = end - begin
    for i in range(count):
        loudest[i] = 0.0
    for channel in range(audio.shape[0]):
        source = audio[channel, begin:end]
        for i in range(count):
            loudest[i] += 1.0 if abs(source[i]) == peak[i] else 0.0
    for channel in range(audio.shape[0]):
        source, given, target = audio[channel, begin:end], grad[channel, begin:end], grad_audio[channel, begin:end]
        for i in range(count):
            part = grad_peak[i] / loudest[i] if abs(source[i]) == peak[i] else 0.0
            target[i] = given[i] * gain[i] + (part if source[i] > 0.0 else -part)
