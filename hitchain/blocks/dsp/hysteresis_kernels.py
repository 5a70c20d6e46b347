"""Compiled loops of `hysteresis` on CPU, for batch items first <= item < last. The equations stand there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
FAST = {"contract", "nsz"}
ITERATIONS = 30
CLOSE = 1e-7


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def langevin(q: float) -> tuple[float, float]:
    """L and its derivative; near 0 by their series, in which nothing cancels."""
    if abs(q) < 0.1:
        s = q * q
        value = q * (1.0 / 3.0 - s * (1.0 / 45.0 - s * (2.0 / 945.0 - s * (1.0 / 4725.0 - s * 2.0 / 93555.0))))
        slope = 1.0 / 3.0 - s * (1.0 / 15.0 - s * (2.0 / 189.0 - s * (1.0 / 675.0 - s * 2.0 / 10395.0)))
        return value, slope
    fallen = np.exp(-2.0 * abs(q))
    part = 1.0 / (1.0 - fallen)
    coth = (1.0 + fallen) * part
    if q < 0.0:
        coth = -coth
    inverse = 1.0 / q
    return coth - inverse, inverse * inverse - 4.0 * fallen * part * part


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def irreversible(d: float, side: float, c: float, coercivity: float, coupling: float) -> tuple[float, float, float]:
    """p h and its derivatives to d and c."""
    if side * d <= 0.0:
        return 0.0, 0.0, 0.0
    left, turned = 1.0 - c, side * coercivity
    below = 1.0 / (left * turned - coupling * d)
    return left * d * below, left * left * turned * below * below, coupling * d * d * below * below


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def magnetise(
    first: int, last: int, field: Array, reversible: Array, coercivity: float, coupling: float, result: Array
) -> None:
    for item in range(first, last):
        c = reversible[item]
        for channel in range(field.shape[1]):
            source, target = field[item, channel], result[item, channel]
            m, x_before, value = 0.0, 0.0, 0.0
            for t in range(source.shape[0]):
                x = float(source[t])
                step = x - x_before
                if step != 0.0:
                    side, half, start = (1.0 if step > 0.0 else -1.0), 0.5 * step, m
                    known = start - c * value + half * irreversible(value - m, side, c, coercivity, coupling)[0]
                    for _ in range(ITERATIONS):
                        value, slope = langevin(x + coupling * m)
                        h, by_d, _c = irreversible(value - m, side, c, coercivity, coupling)
                        steep = 1.0 - c * coupling * slope - half * by_d * (coupling * slope - 1.0)
                        change = (m - known - c * value - half * h) / steep
                        m -= change
                        if abs(change) < CLOSE:
                            break
                    value -= coupling * slope * change  # as m went on
                target[t] = m
                x_before = x


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def adjoint(
    first: int,
    last: int,
    field: Array,
    reversible: Array,
    magnetisation: Array,
    grad: Array,
    coercivity: float,
    coupling: float,
    back: Array,
    sums: Array,
) -> None:
    for item in range(first, last):
        c = reversible[item]
        for channel in range(field.shape[1]):
            source, states = field[item, channel], magnetisation[item, channel]
            given, target = grad[item, channel], back[item, channel]
            pulled, total = 0.0, 0.0  # what the samples after this one hand back to m
            samples = source.shape[0]
            if samples == 0:
                continue
            x, m = float(source[samples - 1]), states[samples - 1]
            value, slope = langevin(x + coupling * m)
            for t in range(samples - 1, -1, -1):
                x_before = float(source[t - 1]) if t > 0 else 0.0
                m_before = states[t - 1] if t > 0 else 0.0
                value_before, slope_before = langevin(x_before + coupling * m_before)
                pulled += given[t]
                # a step of 0 leaves m; to the field it has a slope all the same, for the side that is coming
                step = x - x_before
                side, half = (-1.0 if step < 0.0 else 1.0), 0.5 * step
                h, by_d, by_c = irreversible(value - m, side, c, coercivity, coupling)
                h_before, d_before, c_before = irreversible(value_before - m_before, side, c, coercivity, coupling)
                pulled /= 1.0 - c * coupling * slope - half * by_d * (coupling * slope - 1.0)
                mean = 0.5 * (h + h_before)
                target[t] += pulled * (mean + (c + half * by_d) * slope)
                if t > 0:
                    target[t - 1] += pulled * ((half * d_before - c) * slope_before - mean)
                total += pulled * (value - value_before + half * (by_c + c_before))
                pulled *= 1.0 - c * coupling * slope_before + half * d_before * (coupling * slope_before - 1.0)
                x, m, value, slope = x_before, m_before, value_before, slope_before
            sums[item] += total
