"""A set of recordings in memory, with the interface of a prepared one: tones are liked, hisses are not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitchain.rater.row import Row
from hitchain.rater.shards.layout import SAMPLE_RATE, Entry


def tone_or_hiss(tonal: bool, seed: int, seconds: float = 1.5, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """(2, samples)."""
    random = np.random.default_rng(seed)
    time_axis = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * random.uniform(200, 800) * time_axis) * 0.3
    hiss = 0.1 * random.standard_normal(len(time_axis))
    return np.stack([tone if tonal else hiss] * 2).astype(np.float32)


@dataclass
class Memory:
    """What training needs of a prepared set."""

    pieces: list[NDArray[np.float32]]
    entries: list[Entry]
    kind: str = "audio"
    front_end: dict[str, object] | None = None

    def crop(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        assert start >= 0
        assert start + length <= self.entries[index].length
        return self.pieces[index][..., start : start + length]


def tones_and_hisses(count: int = 24, artists: int = 8, unknown: int = 0, seconds: float = 1.5) -> Memory:
    """So many recordings by so many artists, the last two of whom validate; the first `unknown` have no counts."""
    pieces = [tone_or_hiss(number % 2 == 0, number, seconds) for number in range(count)]
    entries = []
    for number, piece in enumerate(pieces):
        tonal = number % 2 == 0
        likes = math.nan if number < unknown else 400.0 if tonal else 2.0
        row = Row(
            Path(f"{number}.wav"), 1000.0, likes, f"artist {number % artists}",
            labels={"kind": "tone" if tonal else "hiss", "size": str(number), "same": "x"},
            line=number + 2, name=f"{number}.wav",
        )  # fmt: skip
        split = "validation" if number % artists >= artists - 2 else "training"
        entries.append(Entry(row, piece.shape[-1], 0, 0, split, number))
    return Memory(pieces, entries)
