"""The compiled loop of the circuits on CPU, for rows first <= row < last. Imported at first use."""

from __future__ import annotations

from typing import Any

from numba import njit

Array = Any


@njit(cache=True, nogil=True)
def band_pass(
    first: int, last: int, source: Array, blocking: float, passing: float, backwards: bool, target: Array
) -> None:
    """A one-pole high-pass and a one-pole low-pass; backwards in time it is its own adjoint. State in float64."""
    samples = source.shape[1]
    for row in range(first, last):
        slow, fast = 0.0, 0.0
        for i in range(samples):
            t = samples - 1 - i if backwards else i
            level = float(source[row, t])
            slow += blocking * (level - slow)
            fast += passing * (level - slow - fast)
            target[row, t] = fast
