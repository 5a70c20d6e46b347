"""Compiled loop of the tape echo and its adjoint; the equations stand in `tape_loop`. Imported at first use."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

Array = Any
CONTRACT = {"contract"}  # fused multiply-add


@njit(cache=True, nogil=True, fastmath=CONTRACT)
def read(tape: Array, base: int, f: float) -> tuple[float, float]:
    """Catmull-Rom's cubic through tape[base - 1 : base + 3] at base + f, and its slope."""
    a = tape[base - 1] if base >= 1 else 0.0
    b = tape[base] if base >= 0 else 0.0
    c = tape[base + 1] if base >= -1 else 0.0
    d = tape[base + 2] if base >= -2 else 0.0
    one, two, three = 0.5 * (c - a), a - 2.5 * b + 2.0 * c - 0.5 * d, 1.5 * (b - c) + 0.5 * (d - a)
    return b + f * (one + f * (two + f * three)), one + f * (2.0 * two + 3.0 * f * three)


@njit(cache=True, nogil=True, fastmath=CONTRACT)
def forward(
    first: int,
    last: int,
    audio: Array,
    late: Array,
    knobs: Array,
    entering: Array,
    tape: Array,
    heard: Array,
    echo: Array,
) -> None:
    """For rows first <= row < last. knobs (rows, 4): feedback, b, pole and drive; float64 (rows, samples) written."""
    for row in range(first, last):
        feedback, b, pole, drive = knobs[row, 0], knobs[row, 1], knobs[row, 2], knobs[row, 3]
        heard_before = echo_before = before = 0.0
        for t in range(audio.shape[1]):
            place = t - late[row, t]
            base = math.floor(place)
            heard[row, t], _ = read(tape[row], base, place - base)
            echo[row, t] = pole * echo_before + b * (heard[row, t] + heard_before)
            heard_before, echo_before = heard[row, t], echo[row, t]
            entering[row, t] = audio[row, t] + feedback * echo_before
            x, y = drive * entering[row, t], drive * before
            tape[row, t] = (x + y) / ((math.sqrt(1.0 + x * x) + math.sqrt(1.0 + y * y)) * drive)
            before = entering[row, t]


@njit(cache=True, nogil=True, fastmath=CONTRACT)
def backward(
    first: int,
    last: int,
    late: Array,
    knobs: Array,
    entering: Array,
    tape: Array,
    heard: Array,
    echo: Array,
    grad: Array,
    grad_tape: Array,
    grad_audio: Array,
    grad_late: Array,
    grad_knobs: Array,
) -> None:
    """grad_tape (rows, samples) is zero before."""
    for row in range(first, last):
        feedback, b, pole, drive = knobs[row, 0], knobs[row, 1], knobs[row, 2], knobs[row, 3]
        to_before = echo_after = 0.0
        sum_feedback = sum_b = sum_pole = sum_drive = 0.0
        for t in range(late.shape[1] - 1, -1, -1):
            before = entering[row, t - 1] if t > 0 else 0.0
            x, y = drive * entering[row, t], drive * before
            p, q = math.sqrt(1.0 + x * x), math.sqrt(1.0 + y * y)
            scale = 1.0 / (p + q)
            level = (x + y) * scale
            by_x, by_y = (1.0 - level * x / p) * scale, (1.0 - level * y / q) * scale
            pulled = grad_tape[row, t]
            sum_drive += pulled * (by_x * entering[row, t] + by_y * before - level / drive) / drive
            into = pulled * by_x + to_before
            to_before = pulled * by_y
            grad_audio[row, t] = into
            sum_feedback += into * echo[row, t]
            adjoint = grad[row, t] + feedback * into + pole * echo_after
            sum_pole += adjoint * (echo[row, t - 1] if t > 0 else 0.0)
            sum_b += adjoint * (heard[row, t] + (heard[row, t - 1] if t > 0 else 0.0))
            back = b * (adjoint + echo_after)
            echo_after = adjoint
            place = t - late[row, t]
            base = math.floor(place)
            f = place - base
            _, slope = read(tape[row], base, f)
            grad_late[row, t] = -back * slope
            square, cube = f * f, f * f * f
            if base >= 1:
                grad_tape[row, base - 1] += back * (-0.5 * f + square - 0.5 * cube)
            if base >= 0:
                grad_tape[row, base] += back * (1.0 - 2.5 * square + 1.5 * cube)
            if base >= -1:
                grad_tape[row, base + 1] += back * (0.5 * f + 2.0 * square - 1.5 * cube)
            if base >= -2:
                grad_tape[row, base + 2] += back * (-0.5 * square + 0.5 * cube)
        grad_knobs[row, 0], grad_knobs[row, 1] = sum_feedback, sum_b
        grad_knobs[row, 2], grad_knobs[row, 3] = sum_pole, sum_drive
