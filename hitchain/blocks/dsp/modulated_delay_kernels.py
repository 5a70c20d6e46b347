"""Compiled reading of a delay line whose delay moves, and its adjoint; the equation stands in `modulated_delay`.

A row's line is the signal between PAD zeros on either side. Imported at first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.modulated_delay import BEFORE, PAD, PHASES, TAPS

Array = Any
SUMS = {"contract", "nsz", "arcp", "reassoc"}  # lets sums be vectorised; their order is fixed when compiled


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def place(t: int, delay: float, samples: int) -> tuple[int, int, float]:
    """Where t - delay stands: the first tap in the padded line, the kernel's cell and how far into it.

    The first tap is -1 where nothing is to be read.
    """
    position = t - delay
    if not -BEFORE - 1.0 <= position < samples + BEFORE:
        return -1, 0, 0.0
    whole = int(np.floor(position))
    phase = (position - whole) * PHASES
    cell = min(int(phase), PHASES - 1)
    return PAD + whole - BEFORE, cell, phase - cell


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def read(line: Array, begin: int, table: Array, cell: int, w: float) -> float:
    """The line at a place: the taps weighted by the cell's cubic."""
    kind = line.dtype.type
    u = 1.0 - w
    a, b = kind((1.0 + 2.0 * w) * u * u), kind(w * u * u)
    c, d = kind(w * w * (3.0 - 2.0 * w)), kind(-w * w * u)
    here, rise, there, fall = table[0, cell], table[1, cell], table[0, cell + 1], table[1, cell + 1]
    total = kind(0.0)
    for k in range(TAPS):
        total += line[begin + k] * (a * here[k] + b * rise[k] + c * there[k] + d * fall[k])
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def pull(line: Array, d_line: Array, begin: int, table: Array, cell: int, w: float, upstream: float) -> float:
    """Back through `read`: adds to the line's gradient; gives the gradient of the position [1 / sample]."""
    kind = line.dtype.type
    u, g = 1.0 - w, kind(upstream)
    a, b = g * kind((1.0 + 2.0 * w) * u * u), g * kind(w * u * u)
    c, d = g * kind(w * w * (3.0 - 2.0 * w)), g * kind(-w * w * u)
    e, f, h = kind(6.0 * w * u), kind(u * (1.0 - 3.0 * w)), kind(w * (3.0 * w - 2.0))
    here, rise, there, fall = table[0, cell], table[1, cell], table[0, cell + 1], table[1, cell + 1]
    slope = kind(0.0)
    for k in range(TAPS):
        d_line[begin + k] += a * here[k] + b * rise[k] + c * there[k] + d * fall[k]
        slope += line[begin + k] * (e * (there[k] - here[k]) + f * rise[k] + h * fall[k])
    return float(slope) * PHASES * upstream


@njit(cache=True, nogil=True, error_model="numpy")
def delay_forward(
    first: int, last: int, audio: Array, delay: Array, feedback: Array, table: Array, line: Array, output: Array
) -> None:
    """`feedback` has no column (none), one, or one a sample."""
    samples = audio.shape[1]
    fed, step = feedback.shape[1] > 0, int(feedback.shape[1] > 1)
    for row in range(first, last):
        own = line[row]
        own[:PAD] = 0.0
        own[PAD + samples :] = 0.0
        if not fed:
            for t in range(samples):
                own[PAD + t] = audio[row, t]
        for t in range(samples):
            begin, cell, w = place(t, delay[row, t], samples)
            heard = read(own, begin, table, cell, w) if begin >= 0 else own.dtype.type(0.0)
            output[row, t] = heard
            if fed:
                own[PAD + t] = audio[row, t] + feedback[row, step * t] * heard


@njit(cache=True, nogil=True, error_model="numpy")
def delay_backward(
    first: int,
    last: int,
    delay: Array,
    feedback: Array,
    table: Array,
    line: Array,
    output: Array,
    grad: Array,
    d_audio: Array,
    d_delay: Array,
    d_feedback: Array,
) -> None:
    """From the last sample to the first: what a later sample read has then given its share to what it read."""
    samples = output.shape[1]
    fed, step = feedback.shape[1] > 0, int(feedback.shape[1] > 1)
    d_line = np.empty(line.shape[1], line.dtype)
    for row in range(first, last):
        d_line[:] = 0.0
        total = 0.0
        for t in range(samples - 1, -1, -1):
            upstream = float(grad[row, t])
            if fed:
                share = float(d_line[PAD + t]) * output[row, t]
                if step:
                    d_feedback[row, t] = share
                total += share
                upstream += feedback[row, step * t] * d_line[PAD + t]
            begin, cell, w = place(t, delay[row, t], samples)
            d_delay[row, t] = 0.0
            if begin >= 0:
                d_delay[row, t] = -pull(line[row], d_line, begin, table, cell, w, upstream)
        if fed and not step:
            d_feedback[row, 0] = total
        for t in range(samples):
            d_audio[row, t] = d_line[PAD + t]
