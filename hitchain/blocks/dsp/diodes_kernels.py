"""Compiled loops of `diodes` on CPU, for batch items first <= item < last. The equations stand there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
FAST = {"contract", "nsz"}
ITERATIONS = 50
CLOSE = 1e-5
"""A last step of this share of the emission voltage leaves an error of its square."""


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def root(right: float, guess: float, total: float, saturation: float, emission: float) -> float:
    """v of total v + 2 saturation sinh(v / emission) = right, from a guess where that is near, else from above."""
    inverse = 1.0 / emission
    v = min(max(guess, -20.0 * emission), 20.0 * emission)  # where exponentials stay small
    for attempt in range(2):
        for _ in range(ITERATIONS):
            grown = np.exp(v * inverse)
            shrunk = 1.0 / grown
            residual = total * v + saturation * (grown - shrunk) - right
            change = residual / (total + saturation * inverse * (grown + shrunk))
            v -= change
            size = abs(change) * inverse
            if size < CLOSE:
                return float(v)
            if attempt == 0 and size > 0.5:  # far away, exponentials are come down only step by step
                break
        bound = abs(right)
        bound = min(bound / total, emission * np.arcsinh(0.5 * bound / saturation))
        v = bound if right > 0.0 else -bound
    return float(v)


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def solve(
    first: int,
    last: int,
    current: Array,
    conductance: Array,
    step: float,
    saturation: float,
    emission: float,
    voltage: Array,
) -> None:
    for item in range(first, last):
        total = 3.0 * step + conductance[item]
        for channel in range(current.shape[1]):
            source, target = current[item, channel], voltage[item, channel]
            before, earlier = 0.0, 0.0
            for t in range(source.shape[0]):
                right = source[t] + step * (4.0 * before - earlier)
                v = root(right, 2.0 * before - earlier, total, saturation, emission)
                target[t] = v
                before, earlier = v, before


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def adjoint(
    first: int,
    last: int,
    voltage: Array,
    conductance: Array,
    grad: Array,
    step: float,
    saturation: float,
    emission: float,
    back: Array,
    sums: Array,
) -> None:
    for item in range(first, last):
        total, inverse, added = 3.0 * step + conductance[item], 1.0 / emission, 0.0
        for channel in range(voltage.shape[1]):
            source, given, target = voltage[item, channel], grad[item, channel], back[item, channel]
            after, later = 0.0, 0.0
            for t in range(source.shape[0] - 1, -1, -1):
                v = float(source[t])
                grown = np.exp(v * inverse)
                slope = total + saturation * inverse * (grown + 1.0 / grown)
                pulled = (given[t] + step * (4.0 * after - later)) / slope
                target[t] = pulled
                added -= pulled * v
                after, later = pulled, after
        sums[item] += added
