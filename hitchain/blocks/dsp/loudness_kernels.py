"""K-weighted power on CPU, compiled: the two biquads of BS.1770 one after the other in time, and back.

Imported at first use, for compilation and its cache cost a second. For rows first <= row < last of audio (rows,
samples). In float64 inside, a block of steps at a time. The filters' state at the start of each block is kept for the
way back, where the filtered signal, which is nowhere stored, is worked out anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.elementary_kernels import PLAIN, SUMS

Array = Any
BLOCK = 4096
"""Samples that a block has about: as many steps as fit, one at least."""


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def _weight(drive: Array, count: int, filters: Array, state: Array) -> None:
    """`drive` through both biquads, in place: y[t] = b0 x[t] + b1 x[t-1] + b2 x[t-2] - a1 y[t-1] - a2 y[t-2].

    State: the two last values before the first filter, between both and after the second, the later first.
    """
    b0, b1, b2, a1, a2 = filters[0]
    d0, d1, d2, c1, c2 = filters[1]
    x1, x2, y1, y2, z1, z2 = state
    for i in range(count):
        x = float(drive[i])
        y = (b0 * x + b1 * x1 + b2 * x2 - a2 * y2) - a1 * y1
        z = (d0 * y + d1 * y1 + d2 * y2 - c2 * z2) - c1 * z1
        x2, x1, y2, y1, z2, z1 = x1, x, y1, y, z1, z
        drive[i] = z
    state[0], state[1], state[2], state[3], state[4], state[5] = x1, x2, y1, y2, z1, z2


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _energy(values: Array) -> float:
    total = 0.0
    for i in range(values.shape[0]):
        total += values[i] * values[i]
    return total


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def power_forward(
    first: int, last: int, audio: Array, filters: Array, step: int, power: Array, per_block: int, states: Array
) -> None:
    """power[row, k]: the mean square of the filtered signal from k * step on, `step` samples."""
    steps = power.shape[1]
    weighted = np.empty(per_block * step)
    state = np.empty(6)
    for row in range(first, last):
        state[:] = 0.0
        for block in range(states.shape[1]):
            states[row, block] = state
            begin = block * per_block
            end = min(begin + per_block, steps)
            count = (end - begin) * step
            source = audio[row, begin * step : end * step]
            for i in range(count):
                weighted[i] = source[i]
            _weight(weighted, count, filters, state)
            for k in range(begin, end):
                power[row, k] = _energy(weighted[(k - begin) * step : (k - begin + 1) * step]) / step


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def power_backward(
    first: int,
    last: int,
    audio: Array,
    filters: Array,
    step: int,
    per_block: int,
    states: Array,
    grad: Array,
    grad_audio: Array,
) -> None:
    """The adjoint of the filters is the filters, run backwards in time."""
    steps = grad.shape[1]
    weighted, reverse = np.empty(per_block * step), np.empty(per_block * step)
    backward = np.empty(6)
    for row in range(first, last):
        backward[:] = 0.0
        grad_audio[row, steps * step :] = 0.0
        for block in range(states.shape[1] - 1, -1, -1):
            begin = block * per_block
            end = min(begin + per_block, steps)
            count = (end - begin) * step
            source = audio[row, begin * step : end * step]
            for i in range(count):
                weighted[i] = source[i]
            _weight(weighted, count, filters, states[row, block].copy())
            for k in range(end - begin):
                factor = 2.0 * grad[row, begin + k] / step
                for i in range(k * step, (k + 1) * step):
                    reverse[count - 1 - i] = factor * weighted[i]
            _weight(reverse, count, filters, backward)
            target = grad_audio[row, begin * step : end * step]
            for i in range(count):
                target[i] = reverse[count - 1 - i]
