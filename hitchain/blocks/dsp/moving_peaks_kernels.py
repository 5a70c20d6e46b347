"""The moving gain of `moving_peaks` on CPU, forward and back, for rows first <= row < last.

Imported at first use, for compilation and its cache cost a second. As in `dynamics_kernels`, it works through blocks
that stay in the cache, keeps the follower's state at the start of each and works the rest out anew on the way back.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.dynamics_kernels import BLOCK, follow, to_audio
from hitchain.blocks.dsp.elementary_kernels import PLAIN, SUMS, exp, log

Array = Any
_DECIBELS = 20.0 / math.log(10.0)
THRESHOLD, SPAN, RISE, FALL = range(4)
"""Columns of `values`."""


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _detect(
    audio: Array, begin: int, end: int, floor: float, threshold: float, softness: float, peak: Array, over: Array
) -> None:
    """The linked peak, and how far its level is over the threshold."""
    first = audio[0, begin:end]
    for i in range(end - begin):
        peak[i] = abs(first[i])
    for channel in range(1, audio.shape[0]):
        other = audio[channel, begin:end]
        for i in range(end - begin):
            peak[i] = max(peak[i], abs(other[i]))
    for i in range(end - begin):
        x = (log(max(peak[i], floor)) * _DECIBELS - threshold) / softness
        over[i] = softness * (max(x, 0.0) + log(1.0 + exp(-abs(x))))


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def moved_forward(
    first: int,
    last: int,
    audio: Array,
    values: Array,
    floor: float,
    softness: float,
    half: float,
    output: Array,
    states: Array,
) -> None:
    channels, samples = audio.shape[1], audio.shape[2]
    peak, over, gain, state = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK + 1)
    for row in range(first, last):
        knobs = values[row]
        span = knobs[SPAN] / _DECIBELS
        state[0] = 0.0
        for block in range(states.shape[1]):
            begin = block * BLOCK
            end = min(begin + BLOCK, samples)
            count = end - begin
            states[row, block] = state[0]
            _detect(audio[row], begin, end, floor, knobs[THRESHOLD], softness, peak, over)
            follow(over, count, knobs[RISE], knobs[FALL], state)
            for i in range(count):
                gain[i] = exp(span * state[i + 1] / (state[i + 1] + half)) - 1.0
            for channel in range(channels):
                source, target = audio[row, channel, begin:end], output[row, channel, begin:end]
                for i in range(count):
                    target[i] = source[i] * gain[i]
            state[0] = state[count]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def moved_backward(
    first: int,
    last: int,
    audio: Array,
    values: Array,
    floor: float,
    softness: float,
    half: float,
    states: Array,
    grad: Array,
    grad_audio: Array,
    grad_values: Array,
) -> None:
    samples = audio.shape[2]
    peak, over, gain, state = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK + 1)
    adjoint, share = np.empty(BLOCK), np.empty(BLOCK)
    for row in range(first, last):
        knobs, sums = values[row], grad_values[row]
        sums[:] = 0.0
        carried = 0.0  # the adjoint of the follower's state, as seen one sample earlier
        for block in range(states.shape[1] - 1, -1, -1):
            begin = block * BLOCK
            end = min(begin + BLOCK, samples)
            count = end - begin
            state[0] = states[row, block]
            _detect(audio[row], begin, end, floor, knobs[THRESHOLD], softness, peak, over)
            follow(over, count, knobs[RISE], knobs[FALL], state)
            _from_gain(audio[row, :, begin:end], grad[row, :, begin:end], knobs[SPAN], half, state, gain, adjoint, sums)
            for i in range(count):
                share[i] = knobs[RISE] if over[i] > state[i] else knobs[FALL]
            for i in range(count - 1, -1, -1):  # l[t] = g[t] + (1 - c[t+1]) l[t+1]
                own, stay = adjoint[i], 1.0 - share[i]
                adjoint[i] = own + carried
                carried = stay * carried + stay * own
            _from_level(count, floor, softness, peak, over, state, share, adjoint, sums)
            to_audio(audio[row], grad[row], begin, end, gain, peak, adjoint, share, grad_audio[row])


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _from_gain(
    audio: Array, grad: Array, span: float, half: float, state: Array, gain: Array, adjoint: Array, sums: Array
) -> None:
    """From each channel's product to the gain (worked out again) and on to the follower."""
    count = audio.shape[1]
    to_span = 0.0
    for i in range(count):
        adjoint[i] = 0.0
    for channel in range(audio.shape[0]):
        source, given = audio[channel], grad[channel]
        for i in range(count):
            adjoint[i] += source[i] * given[i]
    for i in range(count):
        room = 1.0 / (state[i + 1] + half)
        used = state[i + 1] * room
        whole = exp(span / _DECIBELS * used)
        gain[i] = whole - 1.0
        decibels = adjoint[i] * whole / _DECIBELS
        to_span += decibels * used
        adjoint[i] = decibels * span * half * room * room
    sums[SPAN] += to_span


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _from_level(
    count: int,
    floor: float,
    softness: float,
    peak: Array,
    over: Array,
    state: Array,
    share: Array,
    adjoint: Array,
    sums: Array,
) -> None:
    """From the follower, through bend and level, to the peak: what `adjoint` holds at the end.

    The bend's slope is 1 - e^(-over / softness).
    """
    to_rise, to_fall, to_threshold = 0.0, 0.0, 0.0
    for i in range(count):
        towards = adjoint[i] * (over[i] - state[i])
        rising = towards if over[i] > state[i] else 0.0
        to_rise += rising
        to_fall += towards - rising
        level = adjoint[i] * share[i] * (1.0 - exp(-over[i] / softness))
        to_threshold -= level
        adjoint[i] = level * _DECIBELS / peak[i] if peak[i] > floor else 0.0
    sums[RISE] += to_rise
    sums[FALL] += to_fall
    sums[THRESHOLD] += to_threshold
