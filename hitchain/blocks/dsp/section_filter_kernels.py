"""Compiled recursion over blocks of samples: the states of a filter, for rows first <= row < last.

Imported at first use. The state is held in float64 whatever the type of the arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any


@njit(cache=True, nogil=True)
def advance(first: int, last: int, transition: Array, states: Array, backwards: bool) -> None:
    """In place, states[k + 1] += transition @ states[k] from the first block on; backwards, the other way round.

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
