"""Compiled passes of `oversampling` on CPU, for tasks first <= task < last. Imported at first use."""

from __future__ import annotations

from typing import Any

from numba import njit

Array = Any
BLOCK = 4096
FAST = {"contract", "nsz"}


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def spread(first: int, last: int, spectrum: Array, turns: Array, scales: Array, phases: Array) -> None:
    """phases (rows, factor, bins) = spectrum (rows, bins) turns (factor, bins); a task is one phase of one row.

    scales: of the first bin, of those between and of the last.
    """
    factor, bins = turns.shape
    for task in range(first, last):
        row, phase = task // factor, task % factor
        source, turn, target = spectrum[row], turns[phase], phases[row, phase]
        scale = scales[1]
        for k in range(bins):
            x, y, a, b = scale * source[k].real, scale * source[k].imag, turn[k].real, turn[k].imag
            target[k] = complex(x * a - y * b, x * b + y * a)
        target[0] = source[0] * turn[0] * scales[0]
        target[bins - 1] = source[bins - 1] * turn[bins - 1] * scales[2]


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def gather(first: int, last: int, phases: Array, turns: Array, scales: Array, spectrum: Array) -> None:
    """spectrum (rows, bins) = the sum of phases (rows, factor, bins) conj(turns); a task is one block of one row."""
    factor, bins = turns.shape
    blocks = -(-bins // BLOCK)
    for task in range(first, last):
        row, begin = task // blocks, task % blocks * BLOCK
        end = min(begin + BLOCK, bins)
        target, scale = spectrum[row, begin:end], scales[1]
        for phase in range(factor):
            source, turn = phases[row, phase, begin:end], turns[phase, begin:end]
            for k in range(end - begin):
                x, y, a, b = scale * source[k].real, scale * source[k].imag, turn[k].real, turn[k].imag
                u, v = x * a + y * b, y * a - x * b
                if phase > 0:
                    u, v = u + target[k].real, v + target[k].imag
                target[k] = complex(u, v)
        if begin == 0:
            target[0] *= scales[0] / scale
        if end == bins:
            target[end - begin - 1] *= scales[2] / scale


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def interleave(first: int, last: int, phases: Array, audio: Array) -> None:
    """audio (rows, samples factor) from phases (rows, factor, samples); a task is one block of one row."""
    factor, samples = phases.shape[1], phases.shape[2]
    blocks = -(-samples // BLOCK)
    for task in range(first, last):
        row, begin = task // blocks, task % blocks * BLOCK
        end = min(begin + BLOCK, samples)
        target = audio[row, begin * factor : end * factor]
        if factor == 4:  # written out, for the compiler to do several samples at once
            zero, one, two, three = (
                phases[row, 0, begin:end],
                phases[row, 1, begin:end],
                phases[row, 2, begin:end],
                phases[row, 3, begin:end],
            )
            for t in range(end - begin):
                target[4 * t] = zero[t]
                target[4 * t + 1] = one[t]
                target[4 * t + 2] = two[t]
                target[4 * t + 3] = three[t]
        else:
            for phase in range(factor):
                source = phases[row, phase, begin:end]
                for t in range(end - begin):
                    target[factor * t + phase] = source[t]


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def separate(first: int, last: int, audio: Array, phases: Array) -> None:
    """The other way round."""
    factor, samples = phases.shape[1], phases.shape[2]
    blocks = -(-samples // BLOCK)
    for task in range(first, last):
        row, begin = task // blocks, task % blocks * BLOCK
        end = min(begin + BLOCK, samples)
        source = audio[row, begin * factor : end * factor]
        for phase in range(factor):
            target = phases[row, phase, begin:end]
            if factor == 4:
                for t in range(end - begin):
                    target[t] = source[4 * t + phase]
            else:
                for t in range(end - begin):
                    target[t] = source[factor * t + phase]
