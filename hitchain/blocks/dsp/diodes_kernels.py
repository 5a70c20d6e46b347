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


SHORT = 1e-4
"""Steps below this [V] are short: the mean is that of their ends."""


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def polished(u: float, guess: float, resistance: float, saturation: float, emission: float) -> tuple[float, float]:
    """v of v + 2 R saturation sinh(v / emission) = u to the last digit, and F(u)."""
    v = root(u / resistance, guess, 1.0 / resistance, saturation, emission)
    weight = resistance * saturation
    grown = np.exp(v / emission)
    v -= (v + weight * (grown - 1.0 / grown) - u) / (1.0 + weight / emission * (grown + 1.0 / grown))
    grown = np.exp(v / emission)
    shrunk = 1.0 / grown
    return v, 0.5 * v * v + weight * (v * (grown - shrunk) - emission * (grown + shrunk - 2.0))


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def mean_forward(
    first: int,
    last: int,
    level: Array,
    resistance: float,
    limit: float,
    saturation: float,
    emission: float,
    held: Array,
    voltage: Array,
) -> None:
    """held: v at each sample, for the way back; voltage: the means."""
    v_limit, area_limit = polished(limit, 0.0, resistance, saturation, emission)
    for item in range(first, last):
        for channel in range(level.shape[1]):
            source, target, kept = level[item, channel], voltage[item, channel], held[item, channel]
            u_before, v_before, area_before = 0.0, 0.0, 0.0
            for t in range(source.shape[0]):
                u = float(source[t])
                if abs(u) >= limit:
                    v, area = (v_limit if u > 0.0 else -v_limit), area_limit + v_limit * (abs(u) - limit)
                else:
                    v, area = polished(u, v_before, resistance, saturation, emission)
                step = u - u_before
                target[t] = 0.5 * (v + v_before) if abs(step) < SHORT else (area - area_before) / step
                kept[t] = v
                u_before, v_before, area_before = u, v, area


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def mean_backward(
    first: int,
    last: int,
    level: Array,
    held: Array,
    grad: Array,
    resistance: float,
    limit: float,
    saturation: float,
    emission: float,
    back: Array,
) -> None:
    weight, inverse = resistance * saturation, 1.0 / emission
    v_limit, area_limit = polished(limit, 0.0, resistance, saturation, emission)
    for item in range(first, last):
        for channel in range(level.shape[1]):
            source, kept = level[item, channel], held[item, channel]
            given, target = grad[item, channel], back[item, channel]
            u_before, v_before, area_before, slope_before = 0.0, 0.0, 0.0, 1.0
            for t in range(source.shape[0]):
                u, v = float(source[t]), kept[t]
                if abs(u) >= limit:
                    area, slope = area_limit + v_limit * (abs(u) - limit), 0.0
                else:
                    grown = np.exp(v * inverse)
                    shrunk = 1.0 / grown
                    area = 0.5 * v * v + weight * (v * (grown - shrunk) - emission * (grown + shrunk - 2.0))
                    slope = 1.0 / (1.0 + weight * inverse * (grown + shrunk))
                step = u - u_before
                ending, starting = 0.5 * slope, 0.5 * slope_before
                if abs(step) >= SHORT:
                    mean = (area - area_before) / step
                    ending, starting = (v - mean) / step, (mean - v_before) / step
                if t > 0:
                    target[t - 1] += given[t] * starting
                target[t] = given[t] * ending
                u_before, v_before, area_before, slope_before = u, v, area, slope
