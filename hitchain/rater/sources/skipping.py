"""Rows that cannot be used: their kinds, counts, and the file that names them."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable

from hitchain.files import write_text
from hitchain.rater.row import Skipped

KINDS = {
    "missing": "there is no such file",
    "url": "the path is an address; fetch the file first",
    "malformed": "a cell is empty or not what its column holds",
    "negative": "a count is under 0",
    "likes_above_plays": "each like belongs to a play",
    "duplicate": "the same path, or a file of the same bytes, stands in an earlier row",
    "undecodable": "not audio, truncated, or holding NaN",
    "silent": "nothing rises above silence",
    "short": "too short to be rated",
}
"""Why a row is skipped. The last three are found where audio is decoded, the others by the source."""


def counted(skipped: Iterable[Skipped]) -> dict[str, int]:
    """How many rows were skipped, by kind, in the order of `KINDS`."""
    counts = Counter(row.kind for row in skipped)
    order = [*KINDS, *sorted(counts.keys() - KINDS.keys())]
    return {kind: counts[kind] for kind in order if counts[kind]}


def told(skipped: Iterable[Skipped]) -> str:
    """The counts in words: "3 missing, 1 duplicate"; "none" where every row can be used."""
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counted(skipped).items()) or "none"


def write_skipped(path: str | os.PathLike[str], skipped: Iterable[Skipped]) -> None:
    """Write skipped.csv (line, path, kind, reason), whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("line", "path", "kind", "reason"))
    writer.writerows((row.line, row.path, row.kind, row.reason) for row in sorted(skipped, key=lambda row: row.line))
    write_text(path, text.getvalue())
