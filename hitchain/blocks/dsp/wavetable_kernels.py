"""The inner loops of wavetables, compiled. Imported only when first used."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy", inline="always")
def _cubic(table, at, w):
    """Catmull-Rom interpolation at `at` + w, and its slope."""
    last = len(table) - 1
    a, b, c, d = table[(at - 1) & last], table[at & last], table[(at + 1) & last], table[(at + 2) & last]
    kind = table.dtype.type
    half, two, three, four, five = kind(0.5), kind(2.0), kind(3.0), kind(4.0), kind(5.0)
    first, second, third = c - a, two * a - five * b + four * c - d, three * (b - c) + d - a
    return b + half * w * (first + w * (second + w * third)), half * (first + w * (two * second + three * w * third))


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def forward(first, last, since, frequency, gain, position, bank, level, phase, counts, step, audio):
    """See `wavetable.scan`. The audio must come in as zeros."""
    frames, size = bank.shape[1], bank.shape[2]
    kind = bank.dtype.type
    for v in range(first, last):
        rows = bank[level[v]]
        for u in range(frequency.shape[1]):
            start, pace = frequency[v, u] * since[v] + phase[u], frequency[v, u] * step
            loud = kind(gain[v, u])
            for i in range(counts[v]):
                turns = start + pace * i
                place = (turns - np.floor(turns)) * size
                at = np.int32(place)
                w = kind(place - at)
                frame = min(max(np.int32(position[v, i]), np.int32(0)), np.int32(frames - 2))
                along = position[v, i] - kind(frame)
                one, _ = _cubic(rows[frame], at, w)
                other, _ = _cubic(rows[frame + 1], at, w)
                audio[v, i] += loud * (one + along * (other - one))


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def backward(
    first, last, since, frequency, gain, position, bank, level, phase, counts, step, upstream,
    d_since, d_frequency, d_gain, d_position,
):  # fmt: skip
    """The adjoint of `forward`. The gradients must come in as zeros."""
    frames, size = bank.shape[1], bank.shape[2]
    kind = bank.dtype.type
    for v in range(first, last):
        rows = bank[level[v]]
        for u in range(frequency.shape[1]):
            start, pace = frequency[v, u] * since[v] + phase[u], frequency[v, u] * step
            loud = kind(gain[v, u])
            loudness, turned, late = 0.0, 0.0, 0.0
            for i in range(counts[v]):
                turns = start + pace * i
                place = (turns - np.floor(turns)) * size
                at = np.int32(place)
                w = kind(place - at)
                frame = min(max(np.int32(position[v, i]), np.int32(0)), np.int32(frames - 2))
                along = position[v, i] - kind(frame)
                one, steep = _cubic(rows[frame], at, w)
                other, steeper = _cubic(rows[frame + 1], at, w)
                pull = upstream[v, i]
                loudness += pull * (one + along * (other - one))
                d_position[v, i] += pull * loud * (other - one)
                slope = float(pull * loud * (steep + along * (steeper - steep)))
                turned += slope
                late += slope * i
            d_gain[v, u] = loudness
            d_frequency[v, u] = size * (turned * since[v] + late * step)
            d_since[v] += size * turned * frequency[v, u]
