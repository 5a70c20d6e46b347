"""Compiled loops of the recursions on CPU: the forward pass and its adjoint, for rows first <= row < last.

Imported at first use, for compilation and its cache cost a second. The state is held in float64 whatever the type of
the arrays: with a slow coefficient, float32 stops short of its target. A coefficient array has 1 column (constant
through the row) or as many as there are samples.
"""

from __future__ import annotations

from typing import Any

from numba import njit

Array = Any
CONTRACT = {"contract"}  # fused multiply-add


@njit(fastmath=CONTRACT, cache=True, nogil=True)
def linear_forward(first: int, last: int, coefficient: Array, drive: Array, initial: Array, output: Array) -> None:
    varying = coefficient.shape[1] > 1
    for row in range(first, last):
        state = float(initial[row])
        factor = float(coefficient[row, 0])
        for t in range(drive.shape[1]):
            if varying:
                factor = float(coefficient[row, t])
            state = factor * state + drive[row, t]
            output[row, t] = state


@njit(fastmath=CONTRACT, cache=True, nogil=True)
def linear_backward(
    first: int,
    last: int,
    coefficient: Array,
    initial: Array,
    output: Array,
    grad_output: Array,
    grad_coefficient: Array,
    grad_drive: Array,
    grad_initial: Array,
) -> None:
    varying = coefficient.shape[1] > 1
    for row in range(first, last):
        adjoint = 0.0
        total = 0.0
        factor = float(coefficient[row, 0])
        carried = 0.0  # the adjoint as seen one sample earlier
        for t in range(output.shape[1] - 1, -1, -1):
            adjoint = grad_output[row, t] + carried
            grad_drive[row, t] = adjoint
            before = float(output[row, t - 1]) if t > 0 else float(initial[row])
            if varying:
                factor = float(coefficient[row, t])
                grad_coefficient[row, t] = adjoint * before
            else:
                total += adjoint * before
            carried = factor * adjoint
        grad_initial[row] = carried
        if not varying:
            grad_coefficient[row, 0] = total


@njit(fastmath=CONTRACT, cache=True, nogil=True)
def ballistics_forward(
    first: int, last: int, level: Array, attack: Array, release: Array, initial: Array, output: Array, rising: Array
) -> None:
    varying_attack = attack.shape[1] > 1
    varying_release = release.shape[1] > 1
    for row in range(first, last):
        state = float(initial[row])
        up = float(attack[row, 0])
        down = float(release[row, 0])
        for t in range(level.shape[1]):
            if varying_attack:
                up = float(attack[row, t])
            if varying_release:
                down = float(release[row, t])
            target = float(level[row, t])
            rising[row, t] = target > state
            # The faster way leads higher going up and lower going down: no branch, as switching is hard to predict.
            rise = (1.0 - up) * state + up * target
            fall = (1.0 - down) * state + down * target
            state = max(rise, fall) if up >= down else min(rise, fall)
            output[row, t] = state


@njit(fastmath=CONTRACT, cache=True, nogil=True)
def ballistics_backward(
    first: int,
    last: int,
    level: Array,
    attack: Array,
    release: Array,
    initial: Array,
    output: Array,
    rising: Array,
    grad_output: Array,
    grad_level: Array,
    grad_attack: Array,
    grad_release: Array,
    grad_initial: Array,
) -> None:
    varying_attack = attack.shape[1] > 1
    varying_release = release.shape[1] > 1
    for row in range(first, last):
        up = float(attack[row, 0])
        down = float(release[row, 0])
        total_up = 0.0
        total_down = 0.0
        carried = 0.0
        for t in range(level.shape[1] - 1, -1, -1):
            if varying_attack:
                up = float(attack[row, t])
            if varying_release:
                down = float(release[row, t])
            rises = 1.0 * rising[row, t]
            own = float(grad_output[row, t])
            adjoint = own + carried
            factor = down + rises * (up - down)
            grad_level[row, t] = factor * adjoint
            carried = (1.0 - factor) * carried + (1.0 - factor) * own  # two products: only one waits for the last
            before = float(output[row, t - 1]) if t > 0 else float(initial[row])
            slope = adjoint * (level[row, t] - before)
            slope_up = rises * slope
            slope_down = slope - slope_up
            total_up += slope_up
            total_down += slope_down
            if varying_attack:
                grad_attack[row, t] = slope_up
            if varying_release:
                grad_release[row, t] = slope_down
        grad_initial[row] = carried
        if not varying_attack:
            grad_attack[row, 0] = total_up
        if not varying_release:
            grad_release[row, 0] = total_down
