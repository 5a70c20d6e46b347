"""Compiled loops of `gating` on CPU: forward and back, for rows first <= row < last.

Imported at first use, for compilation and its cache cost a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
CARRIED, RISEN, FALLEN = 0, 1, 2
"""Where the state of the hysteresis comes from: the last one, the level, the level and the width."""


@njit(cache=True, nogil=True)
def held_forward(
    first: int,
    last: int,
    level: Array,
    counts: Array,
    share: Array,
    shorter: Array,
    longer: Array,
    output: Array,
) -> None:
    """The candidates for the maximum wait in a ring, falling in level: the first is the largest still in reach."""
    samples = level.shape[1]
    ring = np.empty(samples, dtype=np.int32)
    for row in range(first, last):
        source, count, part = level[row], counts[row], share[row]
        head, tail = 0, 0
        for t in range(samples):
            while tail > head and source[ring[tail - 1]] <= source[t]:
                tail -= 1
            ring[tail] = t
            tail += 1
            if ring[head] <= t - count:
                head += 1
            best = ring[head]
            further = best
            if t >= count and source[t - count] > source[best]:
                further = t - count
            shorter[row, t] = best
            longer[row, t] = further
            output[row, t] = source[best] + part * (source[further] - source[best])


@njit(cache=True, nogil=True)
def held_backward(
    first: int,
    last: int,
    level: Array,
    share: Array,
    shorter: Array,
    longer: Array,
    grad: Array,
    grad_level: Array,
    grad_share: Array,
) -> None:
    for row in range(first, last):
        part, total = share[row], 0.0
        for t in range(level.shape[1]):
            best, further, given = shorter[row, t], longer[row, t], grad[row, t]
            grad_level[row, best] += (1.0 - part) * given
            grad_level[row, further] += part * given
            total += given * (level[row, further] - level[row, best])
        grad_share[row] = total


@njit(cache=True, nogil=True)
def hysteresis_forward(first: int, last: int, level: Array, width: Array, side: Array, output: Array) -> None:
    for row in range(first, last):
        state = level[row, 0]
        gap = width[row]
        for t in range(level.shape[1]):
            now = level[row, t]
            taken = RISEN if t == 0 else CARRIED
            if now > state:
                state = now
                taken = RISEN
            elif state > now + gap:
                state = now + gap
                taken = FALLEN
            side[row, t] = taken
            output[row, t] = state


@njit(cache=True, nogil=True)
def hysteresis_backward(first: int, last: int, side: Array, grad: Array, grad_level: Array, grad_width: Array) -> None:
    for row in range(first, last):
        carried, total = 0.0, 0.0
        for t in range(grad.shape[1] - 1, -1, -1):
            carried += grad[row, t]
            taken = side[row, t]
            if taken == CARRIED:
                grad_level[row, t] = 0.0
                continue
            grad_level[row, t] = carried
            if taken == FALLEN:
                total += carried
            carried = 0.0
        grad_width[row] = total
