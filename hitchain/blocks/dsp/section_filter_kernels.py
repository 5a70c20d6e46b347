"""Compiled parts of the filter in blocks: the recursion over blocks, and the matrices that take one.

Imported at first use. States are held in float64 whatever the type of the arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any


@njit(cache=True, nogil=True)
def advance(first: int, last: int, transition: Array, states: Array, backwards: bool) -> None:
    """In place, states[k + 1] += transition @ states[k] from the first block on; backwards, the other way round.

    For rows first <= row < last.
    transition (rows, n, n), states (rows, blocks + 1, n), n even. The product adds up two columns at a time: the loop
    over a column is what the compiler vectorises, and two take half the loads and stores of the sum.
    """
    count, n = states.shape[1], states.shape[2]
    columns = np.empty((n, n), np.float64)
    state, following = np.empty(n, np.float64), np.empty(n, np.float64)
    for row in range(first, last):
        for i in range(n):
            for j in range(n):
                columns[j, i] = transition[row, i, j]
            state[i] = states[row, count - 1 if backwards else 0, i]
        for step in range(1, count):
            k = count - 1 - step if backwards else step
            for i in range(n):
                following[i] = states[row, k, i]
            for j in range(0, n, 2):
                one, other = state[j], state[j + 1]
                for i in range(n):
                    following[i] += columns[j, i] * one + columns[j + 1, i] * other
            for i in range(n):
                states[row, k, i] = following[i]
                state[i] = following[i]


@njit(cache=True, nogil=True)
def _simulate(a: Array, b: Array, c: Array, d: Array, inputs: Array, states: Array) -> None:
    """A block of the series, from an impulse (run 0) and from each unit state (runs 1 to n), without input.

    a (sections, 2, 2), b and c (sections, 2) and d (sections) are one item's. Written: inputs (L, sections + 1, runs),
    what enters each section and, last, the output; states (L + 1, sections, 2, runs), before each sample and after all.
    """
    length, sections, runs = len(inputs), len(d), inputs.shape[2]
    states[0] = 0.0
    for run in range(1, runs):
        states[0, (run - 1) // 2, (run - 1) % 2, run] = 1.0
    for t in range(length):
        inputs[t, 0] = 0.0
        inputs[t, 0, 0] = 1.0 if t == 0 else 0.0
        for i in range(sections):
            u, s, p, q = inputs[t, i], states[t, i], a[i, 0], a[i, 1]
            for run in range(runs):
                inputs[t, i + 1, run] = c[i, 0] * s[0, run] + c[i, 1] * s[1, run] + d[i] * u[run]
                states[t + 1, i, 0, run] = p[0] * s[0, run] + p[1] * s[1, run] + b[i, 0] * u[run]
                states[t + 1, i, 1, run] = q[0] * s[0, run] + q[1] * s[1, run] + b[i, 1] * u[run]


@njit(cache=True, nogil=True)
def matrices_forward(
    first: int,
    last: int,
    a: Array,
    b: Array,
    c: Array,
    d: Array,
    toeplitz: Array,
    observed: Array,
    driven: Array,
    power: Array,
) -> None:
    """What `section_filter.block_matrices` gives for the sections in series, for items first <= item < last."""
    sections, length, n = d.shape[1], observed.shape[1], observed.shape[2]
    inputs = np.empty((length, sections + 1, n + 1))
    states = np.empty((length + 1, sections, 2, n + 1))
    flat = states.reshape(length + 1, n, n + 1)
    for item in range(first, last):
        _simulate(a[item], b[item], c[item], d[item], inputs, states)
        for t in range(length):
            observed[item, t] = inputs[t, sections, 1:]
            driven[item, :, length - 1 - t] = flat[t + 1, :, 0]
            for s in range(length):
                toeplitz[item, t, s] = inputs[t - s, sections, 0] if s <= t else 0.0
        power[item] = flat[length, :, 1:]


@njit(cache=True, nogil=True)
def matrices_backward(
    first: int,
    last: int,
    a: Array,
    b: Array,
    c: Array,
    d: Array,
    grad_toeplitz: Array,
    grad_observed: Array,
    grad_driven: Array,
    grad_power: Array,
    grad_a: Array,
    grad_b: Array,
    grad_c: Array,
    grad_d: Array,
) -> None:
    """Its adjoint: the simulation once more, then backwards. The last four, zero before, receive the gradients."""
    sections, length, n = d.shape[1], grad_observed.shape[1], grad_observed.shape[2]
    runs = n + 1
    inputs = np.empty((length, sections + 1, runs))
    states = np.empty((length + 1, sections, 2, runs))
    adjoint = np.empty((sections, 2, runs))  # of the states after the sample
    flat = adjoint.reshape(n, runs)
    output = np.empty(runs)  # adjoint of what leaves the section
    for item in range(first, last):
        _simulate(a[item], b[item], c[item], d[item], inputs, states)
        flat[:, 0] = 0.0
        flat[:, 1:] = grad_power[item]
        for t in range(length - 1, -1, -1):
            flat[:, 0] += grad_driven[item, :, length - 1 - t]
            output[1:] = grad_observed[item, t]
            output[0] = 0.0
            for s in range(length - t):
                output[0] += grad_toeplitz[item, t + s, s]
            for i in range(sections - 1, -1, -1):
                u, s0, s1 = inputs[t, i], states[t, i, 0], states[t, i, 1]
                into = b[item, i]
                p, q, out, through = a[item, i, 0], a[item, i, 1], c[item, i], d[item, i]
                for run in range(runs):
                    l0, l1, g = adjoint[i, 0, run], adjoint[i, 1, run], output[run]
                    grad_a[item, i, 0, 0] += l0 * s0[run]
                    grad_a[item, i, 0, 1] += l0 * s1[run]
                    grad_a[item, i, 1, 0] += l1 * s0[run]
                    grad_a[item, i, 1, 1] += l1 * s1[run]
                    grad_b[item, i, 0] += l0 * u[run]
                    grad_b[item, i, 1] += l1 * u[run]
                    grad_c[item, i, 0] += g * s0[run]
                    grad_c[item, i, 1] += g * s1[run]
                    grad_d[item, i] += g * u[run]
                    adjoint[i, 0, run] = p[0] * l0 + q[0] * l1 + out[0] * g
                    adjoint[i, 1, run] = p[1] * l0 + q[1] * l1 + out[1] * g
                    output[run] = into[0] * l0 + into[1] * l1 + through * g
