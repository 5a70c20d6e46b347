"""Compiled loops of `recurrent` on CPU, for rows first <= row < last. The equations stand there.

Imported at first use, for compilation and its cache cost a second. Gates are worked out again on the way back: what a
step keeps is its state alone. Weights come as (hidden, gates * hidden) forward, so that the innermost loop runs over
neighbours in memory, and as (gates * hidden, hidden) on the way back for the same reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hitchain.blocks.dsp.elementary_kernels import exp

Array = Any
SUMS = {"contract", "nsz", "arcp", "reassoc"}


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _gather(weights: Array, hidden: Array, drive: Array, sums: Array) -> None:
    """sums = drive + weights^T hidden."""
    for j in range(sums.shape[0]):
        sums[j] = drive[j]
    for k in range(hidden.shape[0]):
        value = hidden[k]
        for j in range(sums.shape[0]):
            sums[j] += value * weights[k, j]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _squash(values: Array, start: int, stop: int, slope: float) -> None:
    """The logistic function (slope 1) or the hyperbolic tangent (slope 2) of values[start:stop], in place."""
    for j in range(start, stop):
        level = 1.0 / (1.0 + exp(-slope * values[j]))
        values[j] = level if slope == 1.0 else 2.0 * level - 1.0


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def lstm_forward(
    first: int, last: int, drive: Array, weights: Array, start: Array, start_cell: Array, hidden: Array, cell: Array
) -> None:
    size = start.shape[1]
    gates, outer = np.empty(4 * size, drive.dtype), np.empty(size, drive.dtype)
    for row in range(first, last):
        before, before_cell = start[row], start_cell[row]
        for t in range(drive.shape[1]):
            _gather(weights, before, drive[row, t], gates)
            _squash(gates, 0, 2 * size, 1.0)
            _squash(gates, 2 * size, 3 * size, 2.0)
            _squash(gates, 3 * size, 4 * size, 1.0)
            for k in range(size):
                cell[row, t, k] = gates[size + k] * before_cell[k] + gates[k] * gates[2 * size + k]
                outer[k] = cell[row, t, k]
            _squash(outer, 0, size, 2.0)
            for k in range(size):
                hidden[row, t, k] = gates[3 * size + k] * outer[k]
            before, before_cell = hidden[row, t], cell[row, t]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def lstm_backward(
    first: int,
    last: int,
    drive: Array,
    weights: Array,
    transposed: Array,
    start: Array,
    start_cell: Array,
    hidden: Array,
    cell: Array,
    grad: Array,
    grad_start: Array,
    grad_cell: Array,
    grad_drive: Array,
) -> None:
    """`grad_start` comes as zeros; `grad_cell` as the gradient of the last cell, and leaves as that of the first."""
    size = start.shape[1]
    gates, outer = np.empty(4 * size, drive.dtype), np.empty(size, drive.dtype)
    for row in range(first, last):
        back, back_cell = grad_start[row], grad_cell[row]
        for t in range(drive.shape[1] - 1, -1, -1):
            before = hidden[row, t - 1] if t > 0 else start[row]
            before_cell = cell[row, t - 1] if t > 0 else start_cell[row]
            _gather(weights, before, drive[row, t], gates)
            _squash(gates, 0, 2 * size, 1.0)
            _squash(gates, 2 * size, 3 * size, 2.0)
            _squash(gates, 3 * size, 4 * size, 1.0)
            for k in range(size):
                outer[k] = cell[row, t, k]
            _squash(outer, 0, size, 2.0)
            slopes = grad_drive[row, t]
            for k in range(size):
                let, keep, new, out = gates[k], gates[size + k], gates[2 * size + k], gates[3 * size + k]
                heard = grad[row, t, k] + back[k]
                stored = back_cell[k] + heard * out * (1 - outer[k] * outer[k])
                slopes[k] = stored * new * let * (1 - let)
                slopes[size + k] = stored * before_cell[k] * keep * (1 - keep)
                slopes[2 * size + k] = stored * let * (1 - new * new)
                slopes[3 * size + k] = heard * outer[k] * out * (1 - out)
                back_cell[k] = stored * keep
                back[k] = 0
            for j in range(4 * size):
                slope = slopes[j]
                for k in range(size):
                    back[k] += slope * transposed[j, k]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def _gru_gates(weights: Array, before: Array, drive: Array, bias: Array, gates: Array, inner: Array) -> None:
    """reset, update, new in `gates`; what the reset gate multiplies in `inner`."""
    size = before.shape[0]
    for j in range(2 * size):
        gates[j] = drive[j]
    for k in range(size):
        inner[k] = bias[k]
    for k in range(size):
        value = before[k]
        for j in range(2 * size):
            gates[j] += value * weights[k, j]
        for j in range(size):
            inner[j] += value * weights[k, 2 * size + j]
    _squash(gates, 0, 2 * size, 1.0)
    for k in range(size):
        gates[2 * size + k] = drive[2 * size + k] + gates[k] * inner[k]
    _squash(gates, 2 * size, 3 * size, 2.0)


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def gru_forward(first: int, last: int, drive: Array, weights: Array, bias: Array, start: Array, hidden: Array) -> None:
    size = start.shape[1]
    gates, inner = np.empty(3 * size, drive.dtype), np.empty(size, drive.dtype)
    for row in range(first, last):
        before = start[row]
        for t in range(drive.shape[1]):
            _gru_gates(weights, before, drive[row, t], bias, gates, inner)
            for k in range(size):
                hidden[row, t, k] = gates[2 * size + k] + gates[size + k] * (before[k] - gates[2 * size + k])
            before = hidden[row, t]


@njit(fastmath=SUMS, error_model="numpy", nogil=True, cache=True)
def gru_backward(
    first: int,
    last: int,
    drive: Array,
    weights: Array,
    transposed: Array,
    bias: Array,
    start: Array,
    hidden: Array,
    grad: Array,
    grad_start: Array,
    grad_drive: Array,
) -> None:
    """`grad_start` comes as zeros."""
    size = start.shape[1]
    gates, inner = np.empty(3 * size, drive.dtype), np.empty(size, drive.dtype)
    through = np.empty(3 * size, drive.dtype)
    for row in range(first, last):
        back = grad_start[row]
        for t in range(drive.shape[1] - 1, -1, -1):
            before = hidden[row, t - 1] if t > 0 else start[row]
            _gru_gates(weights, before, drive[row, t], bias, gates, inner)
            slopes = grad_drive[row, t]
            for k in range(size):
                reset, update, new = gates[k], gates[size + k], gates[2 * size + k]
                heard = grad[row, t, k] + back[k]
                slopes[2 * size + k] = heard * (1 - update) * (1 - new * new)
                slopes[size + k] = heard * (before[k] - new) * update * (1 - update)
                slopes[k] = slopes[2 * size + k] * inner[k] * reset * (1 - reset)
                through[k] = slopes[k]
                through[size + k] = slopes[size + k]
                through[2 * size + k] = slopes[2 * size + k] * reset
                back[k] = heard * update
            for j in range(3 * size):
                slope = through[j]
                for k in range(size):
                    back[k] += slope * transposed[j, k]
