"""Compiled loops of `rectifying` on CPU, for batch items first <= item < last. Imported at first use."""

from __future__ import annotations

from typing import Any

from numba import njit

Array = Any
FAST = {"contract", "nsz"}


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def octave_forward(first: int, last: int, audio: Array, share: Array, result: Array) -> None:
    for item in range(first, last):
        above = share[item]
        for channel in range(audio.shape[1]):
            source, target, before = audio[item, channel], result[item, channel], 0.0
            for t in range(source.shape[0]):
                level = float(source[t])
                mean = 0.5 * (level + before)
                rectified = abs(mean)
                if level * before < 0.0:
                    rectified = 0.5 * (level * level + before * before) / abs(level - before)
                target[t] = mean + above * (2.0 * rectified - mean)
                before = level


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def octave_backward(
    first: int, last: int, audio: Array, share: Array, grad: Array, grad_audio: Array, grad_share: Array
) -> None:
    for item in range(first, last):
        above, total = share[item], 0.0
        for channel in range(audio.shape[1]):
            source, given, target, before = audio[item, channel], grad[item, channel], grad_audio[item, channel], 0.0
            for t in range(source.shape[0]):
                level, here = float(source[t]), given[t]
                mean = 0.5 * (level + before)
                rectified = abs(mean)
                side = 1.0 if mean > 0.0 else (-1.0 if mean < 0.0 else 0.0)
                ending, starting = 0.5 * side, 0.5 * side
                if level * before < 0.0:
                    step = level - before
                    size, turn = abs(step), (1.0 if step > 0.0 else -1.0)
                    rectified = 0.5 * (level * level + before * before) / size
                    ending, starting = (level - rectified * turn) / size, (before + rectified * turn) / size
                total += here * (2.0 * rectified - mean)
                if t > 0:
                    target[t - 1] += here * (0.5 * (1.0 - above) + 2.0 * above * starting)
                target[t] = here * (0.5 * (1.0 - above) + 2.0 * above * ending)
                before = level
        grad_share[item] += total
