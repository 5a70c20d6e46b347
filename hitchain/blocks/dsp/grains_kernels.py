"""Compiled loops of the pitch shifter in grains. Imported at first use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

Array = Any
TAPS = 24
SUMS = {"contract", "nsz", "arcp", "reassoc"}  # lets sums be vectorised; their order is fixed when compiled


@njit(cache=True, nogil=True, fastmath=SUMS)
def likeness(audio: Array, one: int, other: int, length: int, stride: int) -> float:
    """Normalised correlation of two stretches of a row, every `stride` samples; silent outside the row."""
    begin = max(0, -one, -other)
    end = min(length, len(audio) - one, len(audio) - other)
    product, power = 0.0, 0.0
    for v in range(begin, end, stride):
        x = audio[other + v]
        product += audio[one + v] * x
        power += x * x
    return product / math.sqrt(power + 1e-12)


@njit(cache=True, nogil=True)
def align(
    first: int, last: int, audio: Array, ratios: Array, hop: int, lead: int, reach: int, coarse: int, moved: Array
) -> None:
    """By how many samples the reading of each grain is moved, for items first <= item < last.

    audio (batch, samples); moved (batch, grains), int64, written. Grain k stands at k hop - lead in the output, and
    reads the input around moved[k] + ratio k hop: within `reach` of where it stands, where the input is most like what
    would follow the grain before.
    """
    for item in range(first, last):
        row, length = audio[item], round(ratios[item] * hop)
        moved[item, 0] = -lead
        for k in range(1, moved.shape[1]):
            follows = moved[item, k - 1] + round(ratios[item] * k * hop)
            home, pattern = k * hop - lead, follows - length
            best, middle = likeness(row, pattern, home - length, length, coarse), home
            for lag in range(-reach, reach + 1, coarse):
                value = likeness(row, pattern, home + lag - length, length, coarse)
                if value > best:
                    best, middle = value, home + lag
            best, found = likeness(row, pattern, middle - length, length, 1), middle
            for lag in range(1 - coarse, coarse):
                value = likeness(row, pattern, middle + lag - length, length, 1)
                if value > best:
                    best, found = value, middle + lag
            if abs(follows - home) <= reach and likeness(row, pattern, pattern, length, 1) >= best:
                found = follows
            moved[item, k] = moved[item, k - 1] + found - follows


@njit(cache=True, nogil=True, fastmath=SUMS)
def weigh(table: Array, fraction: float, weights: Array, slopes: Array) -> None:
    """Weights of the TAPS samples around a place at a fraction of a sample, and their derivatives by it: cubic Hermite
    between the rows of table (cells, 4, TAPS): value, rise, and the curvatures, as a polynomial in the cell."""
    kind = weights.dtype.type
    position = fraction * len(table)
    cell = min(int(position), len(table) - 1)
    x, scale = kind(position - cell), kind(len(table))
    c = table[cell]
    for i in range(TAPS):
        weights[i] = c[0, i] + x * (c[1, i] + x * (c[2, i] + x * c[3, i]))
        slopes[i] = scale * (c[1, i] + x * (kind(2.0) * c[2, i] + x * kind(3.0) * c[3, i]))


@njit(cache=True, nogil=True, fastmath=SUMS)
def shift_forward(
    first: int, last: int, audio: Array, ratios: Array, moved: Array, table: Array, hop: int, lead: int, output: Array
) -> None:
    """For items first <= item < last of audio (batch, channels, samples)."""
    channels, samples = audio.shape[1], audio.shape[2]
    weights, slopes = np.empty(TAPS, table.dtype), np.empty(TAPS, table.dtype)
    fade = 0.5 + 0.5 * np.cos(np.pi / hop * np.arange(hop))
    for item in range(first, last):
        for t in range(samples):
            grain, u = (t + lead) // hop, (t + lead) % hop
            for channel in range(channels):
                output[item, channel, t] = 0.0
            for side in range(2):
                share = fade[u] if side == 0 else 1.0 - fade[u]
                place = moved[item, grain + side] + ratios[item] * (t + lead)
                whole = math.floor(place)
                weigh(table, place - whole, weights, slopes)
                base = whole - (TAPS // 2 - 1)
                low, high = max(0, -base), min(TAPS, samples - base)
                for channel in range(channels):
                    value = table.dtype.type(0.0)
                    if high - low == TAPS:
                        read = audio[item, channel, base : base + TAPS]
                        for i in range(TAPS):
                            value += weights[i] * read[i]
                    else:
                        for i in range(low, high):
                            value += weights[i] * audio[item, channel, base + i]
                    output[item, channel, t] += share * value


@njit(cache=True, nogil=True, fastmath=SUMS)
def shift_backward(
    first: int,
    last: int,
    audio: Array,
    ratios: Array,
    moved: Array,
    table: Array,
    hop: int,
    lead: int,
    grad: Array,
    grad_audio: Array,
    grad_ratios: Array,
) -> None:
    """Its adjoint; grad_audio is zero before."""
    channels, samples = audio.shape[1], audio.shape[2]
    weights, slopes = np.empty(TAPS, table.dtype), np.empty(TAPS, table.dtype)
    fade = 0.5 + 0.5 * np.cos(np.pi / hop * np.arange(hop))
    for item in range(first, last):
        sum_ratio = 0.0
        for t in range(samples):
            grain, u = (t + lead) // hop, (t + lead) % hop
            for side in range(2):
                share = fade[u] if side == 0 else 1.0 - fade[u]
                place = moved[item, grain + side] + ratios[item] * (t + lead)
                whole = math.floor(place)
                weigh(table, place - whole, weights, slopes)
                base = whole - (TAPS // 2 - 1)
                low, high = max(0, -base), min(TAPS, samples - base)
                for channel in range(channels):
                    pulled = table.dtype.type(share * grad[item, channel, t])
                    slope = table.dtype.type(0.0)
                    if high - low == TAPS:
                        read = audio[item, channel, base : base + TAPS]
                        write = grad_audio[item, channel, base : base + TAPS]
                        for i in range(TAPS):
                            write[i] += pulled * weights[i]
                            slope += slopes[i] * read[i]
                    else:
                        for i in range(low, high):
                            grad_audio[item, channel, base + i] += pulled * weights[i]
                            slope += slopes[i] * audio[item, channel, base + i]
                    sum_ratio += float(pulled) * float(slope) * (t + lead)
        grad_ratios[item] = sum_ratio
