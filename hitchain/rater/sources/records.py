"""From what a source has written to rows: the checks every source shares."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hitchain.errors import UserError
from hitchain.rater.row import SPLITS, Row, Skipped

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
SPLIT_WORDS = {"train": "training", "valid": "validation", "val": "validation", **{name: name for name in SPLITS}}
HEAD_BYTES = 65_536


@dataclass(frozen=True)
class Record:
    """A row as its source writes it: cells are text, numbers or None.

    Attributes:
        name: the path as the source writes it; a relative one is relative to the source's folder.
        problem: what was wrong before there were cells to read (a broken line), else "".
    """

    line: int
    name: str
    plays: Any = math.nan
    likes: Any = math.nan
    artist: Any = ""
    date: Any = ""
    split: Any = ""
    labels: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    problem: str = ""


class _Unusable(Exception):
    """Why a record cannot be used: its kind, the reason in words, and the column that is to blame, if one is."""

    def __init__(self, kind: str, reason: str, column: str = "") -> None:
        super().__init__(reason)
        self.kind, self.column = kind, column


def checked(source: Path, records: Iterable[Record], root: Path) -> tuple[list[Row], list[Skipped]]:
    """Rows that can be used, and the others by kind and reason.

    Args:
        source: the file the records stand in, for messages.
        root: the folder that relative paths start from.

    Raises:
        UserError: there are no records, or a column holds not one usable value: a column of text is a mistake of the
            whole file, where a single bad cell is a mistake of its row.
    """
    rows: list[Row] = []
    skipped: list[Skipped] = []
    blamed: dict[str, tuple[int, str]] = {}
    total = 0
    faults: dict[str, int] = defaultdict(int)
    for record in records:
        total += 1
        try:
            rows.append(_row(record, root))
        except _Unusable as error:
            skipped.append(Skipped(record.line, record.name, str(error), error.kind))
            if error.column:
                faults[error.column] += 1
                blamed.setdefault(error.column, (record.line, str(error)))
    if not total:
        raise UserError(f"{source} has no rows.")
    for column, count in faults.items():
        if count == total:
            line, reason = blamed[column]
            raise UserError(f"{source}: not one row of column {column!r} can be used; line {line}: {reason}.")
    rows, duplicates = _without_duplicates(rows)
    return rows, sorted([*skipped, *duplicates], key=lambda row: row.line)


def _row(record: Record, root: Path) -> Row:
    if record.problem:
        raise _Unusable("malformed", record.problem)
    if not record.name:
        raise _Unusable("missing", "path is empty", "path")
    if URL.match(record.name):
        raise _Unusable("url", "the path is an address; only files can be read")
    plays, likes = _count("plays", record.plays), _count("likes", record.likes)
    if likes > plays:
        raise _Unusable("likes_above_plays", f"likes ({likes:g}) exceed plays ({plays:g})")
    split = _split(record.split)
    path = record.file or root / record.name
    if not os.path.isfile(path):
        raise _Unusable("missing", "file not found")
    labels = {name: text for name, value in record.labels.items() if (text := _text(name, value))}
    return Row(
        path, plays, likes, _text("artist", record.artist), _text("date", record.date), split, labels,
        record.line, record.name,
    )  # fmt: skip


def _count(column: str, cell: Any) -> float:
    """A count; NaN only where the source itself, not a cell, leaves it open."""
    if isinstance(cell, float) and math.isnan(cell):
        return math.nan
    text = "" if cell is None else str(cell).strip()
    if not text:
        raise _Unusable("malformed", f"{column} is empty", column)
    try:
        value = math.nan if isinstance(cell, bool) else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _Unusable("malformed", f"{column} is {text!r}; it must be a count, 0 or more", column)
    if value < 0.0:
        raise _Unusable("negative", f"{column} is {text!r}; it must be a count, 0 or more", column)
    return value


def _split(cell: Any) -> str:
    text = _text("split", cell).casefold()
    if text and text not in SPLIT_WORDS:
        raise _Unusable("malformed", f"split is {text!r}; it must be one of {', '.join(SPLITS)}, or empty", "split")
    return SPLIT_WORDS.get(text, "")


def _text(column: str, cell: Any) -> str:
    """A cell as text, surrounding space removed. A list is its items, joined by ", "."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, list | tuple):
        return ", ".join(text for item in cell if (text := _text(column, item)))
    if isinstance(cell, Mapping):
        raise _Unusable("malformed", f"{column} is a group of values; it must be text, a number or a list", column)
    return str(cell).strip()


def _without_duplicates(rows: list[Row]) -> tuple[list[Row], list[Skipped]]:
    """Rows whose file differs in its bytes from that of every earlier row, and the others.

    Files are compared by size, then by their first bytes, then whole: few of a collection are ever read.
    """
    suspects = [list(rows)]
    for key in (lambda row: os.path.getsize(row.path), _head_digest, _digest):
        suspects = [group for suspected in suspects for group in _alike(suspected, key)]
    first = {id(row): group[0] for group in suspects for row in group[1:]}
    kept = [row for row in rows if id(row) not in first]
    return kept, [_duplicate(row, first[id(row)]) for row in rows if id(row) in first]


def _duplicate(row: Row, first: Row) -> Skipped:
    same = "the same path" if os.path.samefile(row.path, first.path) else "the same bytes"
    return Skipped(row.line, row.name, f"{same} as line {first.line} ({first.name})", "duplicate")


def _alike(rows: list[Row], key: Any) -> list[list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _head_digest(row: Row) -> bytes:
    with row.path.open("rb") as handle:
        return hashlib.blake2b(handle.read(HEAD_BYTES), digest_size=16).digest()


def _digest(row: Row) -> bytes:
    with row.path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").digest()
