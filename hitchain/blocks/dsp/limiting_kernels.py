"""The limiter's parts on CPU, compiled: sliding maximum, a stage's follower and ramp, the gain. See `limiting`.

Imported at first use, for compilation and its cache cost a second. For rows or items first <= row < last, in blocks
that stay in the cache. States are float64; kept for the way back is only the follower's at the start of each block.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.elementary_kernels import PLAIN, SUMS, exp

Array = Any
BLOCK = 4096
_DECIBELS = 20.0 / math.log(10.0)


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def maximum_forward(first: int, last: int, signal: Array, window: int, result: Array) -> None:
    """Windows are built by doubling: log2(window) passes over a block, many samples at once."""
    best, other = np.empty(BLOCK + window - 1, signal.dtype), np.empty(BLOCK + window - 1, signal.dtype)
    samples = result.shape[1]
    for row in range(first, last):
        for begin in range(0, samples, BLOCK):
            count = min(BLOCK, samples - begin)
            length = count + window - 1
            _greater(signal[row, begin : begin + length], 0, length, best)
            span = 1
            while span < window:
                step = min(span, window - span)
                length -= step
                _greater(best, step, length, other)
                best, other = other, best
                span += step
            _greater(best, 0, count, result[row, begin : begin + count])


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _greater(source: Array, step: int, length: int, target: Array) -> None:
    """target[i] = max(source[i], source[i + step])."""
    ahead = source[step:]
    for i in range(length):
        target[i] = max(source[i], ahead[i])


@njit(error_model="numpy", nogil=True, cache=True)
def maximum_backward(first: int, last: int, signal: Array, window: int, grad: Array, grad_signal: Array) -> None:
    """To the first largest sample of each window: of those up to a multiple of `window` the running maximum backwards,
    of those from there the running maximum forwards, the larger of both (van Herk 1992, Gil and Werman 1993)."""
    behind = np.empty(window, np.int64)
    samples = grad.shape[1]
    for row in range(first, last):
        values, given, target = signal[row], grad[row], grad_signal[row]
        for begin in range(0, samples, window):
            place = begin + window - 1
            for i in range(begin + window - 1, begin - 1, -1):
                place = i if values[i] >= values[place] else place
                behind[i - begin] = place
            target[behind[0]] += given[begin]
            ahead = begin + window
            for i in range(begin + 1, min(begin + window, samples)):
                last_of_window = i + window - 1
                ahead = last_of_window if values[last_of_window] > values[ahead] else ahead
                place = behind[i - begin]
                target[ahead if values[ahead] > values[place] else place] += given[i]


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _needed(held: Array, begin: int, count: int, alone: float, shared: float, needed: Array) -> None:
    """What a stage is to take of what is held [dB]; see `limiting.slow_share`. All, where `alone` is infinite."""
    source = held[begin : begin + count]
    for i in range(count):
        needed[i] = max(float(source[i]), 0.0)
    if alone < math.inf:
        for i in range(count):
            beyond = max(needed[i] - alone, 0.0)
            needed[i] = needed[i] - beyond + shared * (1.0 - exp(-beyond / shared))


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _ramp(period: int) -> tuple[Array, Array]:
    """cos and sin of 2 pi q / period, q = 1 .. period."""
    cosine, sine = np.empty(period), np.empty(period)
    for q in range(period):
        cosine[q] = math.cos(2.0 * math.pi * (q + 1) / period)
        sine[q] = math.sin(2.0 * math.pi * (q + 1) / period)
    return cosine, sine


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _sums(values: Array, end: int, cosine: Array, sine: Array) -> tuple[float, float, float]:
    """Over q = 1 .. period of values[end - q], alone and times cos and sin."""
    total, real, imaginary = 0.0, 0.0, 0.0
    for q in range(cosine.shape[0]):
        value = values[end - 1 - q]
        total += value
        real += cosine[q] * value
        imaginary += sine[q] * value
    return total, real, imaginary


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def stage_forward(
    first: int,
    last: int,
    held: Array,
    release: Array,
    lookahead: int,
    alone: float,
    shared: float,
    reduction: Array,
    states: Array,
) -> None:
    """The Hann ramp is half of 1 - cos(2 pi q / period): both sums over the last `period` values run on from sample to
    sample, the second by a rotation. They are taken anew for each block, so that rounding does not add up."""
    period = lookahead + 1
    cosine, sine = _ramp(period)
    turn_real, turn_imaginary = cosine[0], sine[0]
    needed = np.empty(BLOCK)
    followed = np.empty(period + BLOCK)  # the last values of the block before, then the block
    for row in range(first, last):
        followed[:] = 0.0
        fall = float(release[row])
        stay = 1.0 - fall
        state = 0.0
        for block in range(states.shape[1]):
            begin = block * BLOCK
            count = min(BLOCK, held.shape[1] - begin)
            states[row, block] = state
            _needed(held[row], begin, count, alone, shared, needed)
            total, real, imaginary = _sums(followed, period, cosine, sine)
            for i in range(count):
                state = max(needed[i], stay * state + fall * needed[i])
                followed[period + i] = state
                change = state - followed[i]
                total += change
                before = real
                real = (turn_real * change - turn_imaginary * imaginary) + turn_real * before
                imaginary = (turn_imaginary * change + turn_real * imaginary) + turn_imaginary * before
                needed[i] = total - real
            skipped = min(max(0, lookahead - 1 - begin), count)
            target = reduction[row, begin + skipped - lookahead + 1 : begin + count - lookahead + 1]
            for i in range(count - skipped):
                target[i] = max(needed[skipped + i], 0.0) / period
            for i in range(period):
                followed[i] = followed[count + i]


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def stage_backward(
    first: int,
    last: int,
    held: Array,
    release: Array,
    lookahead: int,
    alone: float,
    shared: float,
    states: Array,
    grad: Array,
    grad_held: Array,
    grad_release: Array,
) -> None:
    """The ramp's adjoint is the ramp the other way in time, the follower's l[t] = g[t] + (1 - c[t+1]) l[t+1]."""
    period = lookahead + 1
    cosine, sine = _ramp(period)
    turn_real, turn_imaginary = cosine[0], sine[0]
    needed, followed = np.empty(BLOCK), np.empty(BLOCK + 1)
    given = np.empty(BLOCK + period)  # backwards in time: the last values of the block after, then the block
    keep, adjoint = np.empty(BLOCK), np.empty(BLOCK)
    for row in range(first, last):
        given[:] = 0.0
        fall = float(release[row])
        stay = 1.0 - fall
        carried = 0.0
        slope = 0.0
        for block in range(states.shape[1] - 1, -1, -1):
            begin = block * BLOCK
            count = min(BLOCK, held.shape[1] - begin)
            _needed(held[row], begin, count, alone, shared, needed)
            state = states[row, block]
            followed[0] = state
            for i in range(count):
                state = max(needed[i], stay * state + fall * needed[i])
                followed[i + 1] = state
            for i in range(count):
                keep[i] = 0.0 if needed[i] > followed[i] else stay
            skipped = min(max(0, lookahead - 1 - begin), count)
            source = grad[row, begin + skipped - lookahead + 1 : begin + count - lookahead + 1]
            for i in range(count - skipped):
                given[period + i] = source[count - skipped - 1 - i]
            for i in range(count - skipped, count):
                given[period + i] = 0.0
            total, real, imaginary = _sums(given, period, cosine, sine)
            for i in range(count):
                change = given[period + i] - given[i]
                total += change
                before = real
                real = (turn_real * change - turn_imaginary * imaginary) + turn_real * before
                imaginary = (turn_imaginary * change + turn_real * imaginary) + turn_imaginary * before
                t = count - 1 - i
                own = (total - real) / period
                adjoint[t] = own + carried
                carried = keep[t] * carried + keep[t] * own
            for i in range(period):
                given[i] = given[count + i]
            slope += _from_follower(held[row], begin, count, alone, shared, needed, followed, keep, adjoint)
            target = grad_held[row, begin : begin + count]
            for i in range(count):
                target[i] = adjoint[i]
        grad_release[row] = slope


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _from_follower(
    held: Array,
    begin: int,
    count: int,
    alone: float,
    shared: float,
    needed: Array,
    followed: Array,
    keep: Array,
    adjoint: Array,
) -> float:
    """From the follower's adjoint to what is held; the gradient of the release."""
    slope = 0.0
    source = held[begin : begin + count]
    for i in range(count):
        slope += adjoint[i] * min(needed[i] - followed[i], 0.0)
        part = adjoint[i] * (1.0 - keep[i])
        adjoint[i] = part if source[i] > 0.0 else 0.0
    if alone < math.inf:
        for i in range(count):
            adjoint[i] *= exp(-max(source[i] - alone, 0.0) / shared)
    return slope


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def amplify_forward(first: int, last: int, audio: Array, gain: Array, reduction: Array, output: Array) -> None:
    factor = np.empty(BLOCK)
    samples = audio.shape[2]
    for item in range(first, last):
        for begin in range(0, samples, BLOCK):
            end = min(begin + BLOCK, samples)
            _factors(gain[item], reduction[item, begin:end], factor)
            for channel in range(audio.shape[1]):
                source, target = audio[item, channel, begin:end], output[item, channel, begin:end]
                for i in range(end - begin):
                    target[i] = source[i] * factor[i]


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _factors(gain: float, reduction: Array, factor: Array) -> None:
    for i in range(reduction.shape[0]):
        factor[i] = exp((float(gain) - float(reduction[i])) / _DECIBELS)


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def amplify_backward(
    first: int,
    last: int,
    audio: Array,
    gain: Array,
    reduction: Array,
    grad: Array,
    grad_audio: Array,
    grad_gain: Array,
    grad_reduction: Array,
) -> None:
    factor, product = np.empty(BLOCK), np.empty(BLOCK)
    samples = audio.shape[2]
    for item in range(first, last):
        total = 0.0
        for begin in range(0, samples, BLOCK):
            end = min(begin + BLOCK, samples)
            _factors(gain[item], reduction[item, begin:end], factor)
            for i in range(end - begin):
                product[i] = 0.0
            for channel in range(audio.shape[1]):
                source, given = audio[item, channel, begin:end], grad[item, channel, begin:end]
                target = grad_audio[item, channel, begin:end]
                for i in range(end - begin):
                    target[i] = given[i] * factor[i]
                    product[i] += float(given[i]) * source[i]
            toward = grad_reduction[item, begin:end]
            for i in range(end - begin):
                decibels = product[i] * factor[i] / _DECIBELS
                total += decibels
                toward[i] = -decibels
        grad_gain[item] = total
