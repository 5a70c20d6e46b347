"""A row: one recording of a source, with its counts and labels. And a row that cannot be used, with the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hitchain.rater.target import popularity

SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class Row:
    """One recording of a source.

    Attributes:
        path: the audio file.
        plays, likes: counts, likes <= plays; NaN where the source does not say.
        artist: "" where unknown: then nobody else is taken to be by the same.
        date: as the source has it, beginning with the year ("2008-11-26"); "" where unknown.
        split: one of `SPLITS` where the source itself decides, else "".
        labels: what else the source says ({"genre": "Rock", "amp": "tube"}); a missing label has no key.
        line: where the row stands in the source's file.
        name: identifies the recording in every listing and between runs; the path as the source writes it.
    """

    path: Path
    plays: float = math.nan
    likes: float = math.nan
    artist: str = ""
    date: str = ""
    split: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    line: int = 0
    name: str = ""

    @property
    def popularity(self) -> float:
        """p = likes / plays * log(likes); NaN where a count is missing."""
        return math.nan if math.isnan(self.plays) or math.isnan(self.likes) else popularity(self.likes, self.plays)

    @property
    def year(self) -> int | None:
        """The year of `date`."""
        return int(self.date[:4]) if self.date[:4].isdigit() else None


@dataclass(frozen=True)
class Skipped:
    """A row that cannot be used, and why: one of a few kinds, counted by it, and in words."""

    line: int
    path: str
    reason: str
    kind: str = "unusable"
