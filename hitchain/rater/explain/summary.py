"""Attributions in words: the moments and the bands that add or take most, with how far the members agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.rater.explain.attribution import Attribution

OCTAVES = (63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)
"""Centres of the bands [Hz]; each reaches half an octave to either side, the outer ones as far as is heard."""
GRID = 0.1
"""Moments begin at multiples of this [s]."""


def octave_of(frequencies: NDArray[np.float64]) -> NDArray[np.intp]:
    """The number of the octave band that each frequency [Hz] is in."""
    nearest = np.round(np.log2(np.maximum(frequencies, 1.0) / 1000.0)).astype(np.intp) + OCTAVES.index(1000)
    return np.clip(nearest, 0, len(OCTAVES) - 1)


def bands(attribution: Attribution, frequencies: NDArray[np.float64]) -> list[dict[str, Any]]:
    """What each octave band adds over the whole song, low to high.

    Args:
        frequencies: (bands,), the centre of each mel band [Hz].
    """
    by_band = attribution.values.sum(axis=(1, 3), dtype=np.float64)
    octave = octave_of(frequencies)
    rows = []
    for number, centre in enumerate(OCTAVES):
        if (octave == number).any():
            rows.append({"band": centre, **told(by_band[:, octave == number].sum(axis=1))})
    return rows


def moments(attribution: Attribution, seconds: float, most: int) -> dict[str, list[dict[str, Any]]]:
    """The moments of `seconds` that raise and that lower the rating most: up to `most` of each, none overlapping."""
    pieces = per_piece(attribution)
    width = max(1, min(pieces.shape[1], round(seconds / GRID)))
    sums = np.cumsum(np.pad(pieces, ((0, 0), (1, 0))), axis=1)
    windows = sums[:, width:] - sums[:, :-width]
    last = float(attribution.times[-1])
    return {
        name: [
            {
                "start": round(start * GRID, 1),
                "end": round(min((start + width) * GRID, last), 1),
                **told(windows[:, start]),
            }
            for start in _apart(sign * windows.mean(axis=0), width, most)
        ]
        for name, sign in (("raising", 1.0), ("lowering", -1.0))
    }


def per_piece(attribution: Attribution) -> NDArray[np.float64]:
    """What each piece of `GRID` seconds adds: (members, pieces)."""
    by_frame = attribution.values.sum(axis=(1, 2), dtype=np.float64)
    piece = (attribution.times / GRID + 1e-9).astype(np.intp)
    return np.stack([np.bincount(piece, weights=member) for member in by_frame])


def _apart(values: NDArray[np.float64], width: int, most: int) -> list[int]:
    """Where the largest values above 0 are, largest first, each at least `width` from those before."""
    free = values > 0.0
    chosen: list[int] = []
    while free.any() and len(chosen) < most:
        best = int(np.argmax(np.where(free, values, -np.inf)))
        chosen.append(best)
        free[max(0, best - width + 1) : best + width] = False
    return chosen


def told(members: Sequence[float] | NDArray[np.float64], floor: float = 0.0) -> dict[str, Any]:
    """The mean over members, their standard deviation, and whether it is clear.

    Clear is what is above `floor` and has the same sign for every member: of three members that know nothing, one in
    four agrees by chance, so it is a low bar, and what does not pass it says nothing.
    """
    values = np.asarray(members, dtype=np.float64)
    mean = float(values.mean())
    return {
        "change": mean,
        "spread": float(values.std(ddof=1)) if len(values) > 1 else None,
        "clear": bool(abs(mean) > floor and (np.sign(values) == np.sign(mean)).all()),
    }
