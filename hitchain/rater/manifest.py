"""The manifest: a CSV file that says which recording got how many plays and likes, and by whom it is."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hitchain.errors import UserError, nearest
from hitchain.rater.target import popularity

COLUMNS = ("path", "plays", "likes", "artist")


@dataclass(frozen=True)
class Row:
    """One recording of a manifest. `line` is where it stands in the file."""

    path: Path
    plays: float
    likes: float
    artist: str
    line: int

    @property
    def popularity(self) -> float:
        return popularity(self.likes, self.plays)


@dataclass(frozen=True)
class Skipped:
    """A row that cannot be used, and why."""

    line: int
    path: str
    reason: str


def read_manifest(path: str | Path) -> tuple[list[Row], list[Skipped]]:
    """The rows of a manifest, and the rows that cannot be used.

    The file is CSV (UTF-8) with a header; the columns path, plays, likes and artist may stand in any order among
    others. A relative path is relative to the manifest's folder. A row is skipped where its file is missing or its
    likes exceed its plays: real collections hold some of those.

    Raises:
        UserError: the file cannot be read, a column is missing, or a cell is empty or not a number. The message names
            the file, line and column.
    """
    file = Path(path)
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            _check_columns(file, reader.fieldnames or [])
            rows, skipped = [], []
            for record in reader:
                row = _row(file, reader.line_num, record)
                reason = _reason_to_skip(row)
                if reason:
                    skipped.append(Skipped(row.line, str(row.path), reason))
                else:
                    rows.append(row)
    except FileNotFoundError as error:
        raise UserError(f"manifest not found: {file}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read manifest {file}: {error}. It must be a CSV file in UTF-8.") from error
    if not rows and not skipped:
        raise UserError(f"manifest {file} has a header but no rows.")
    return rows, skipped


def _check_columns(file: Path, columns: Sequence[str]) -> None:
    for column in COLUMNS:
        if column not in columns:
            hint = nearest(column, columns) if columns else "the file is empty."
            raise UserError(
                f"manifest {file} has no column {column!r}; {hint} Its first line must name {', '.join(COLUMNS)}."
            )


def _row(file: Path, line: int, record: Mapping[str, str | None]) -> Row:
    for column in COLUMNS:
        if not (record.get(column) or "").strip():
            raise UserError(f"manifest {file}, line {line}: column {column!r} is empty.")
    audio = Path(str(record["path"]).strip())
    return Row(
        path=audio if audio.is_absolute() else file.parent / audio,
        plays=_count(file, line, "plays", str(record["plays"])),
        likes=_count(file, line, "likes", str(record["likes"])),
        artist=str(record["artist"]).strip(),
        line=line,
    )


def _count(file: Path, line: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise UserError(
            f"manifest {file}, line {line}: column {column!r} is {text.strip()!r}; it must be a count, 0 or more."
        )
    return value


def _reason_to_skip(row: Row) -> str:
    if row.likes > row.plays:
        return f"likes ({row.likes:g}) exceed plays ({row.plays:g})"
    if not row.path.is_file():
        return "file not found"
    return ""


def split_by_artist(rows: Iterable[Row], fractions: Mapping[str, float], seed: int = 0) -> dict[str, list[Row]]:
    """Rows parted so that no artist is in two parts.

    An artist's part follows from a hash of the name and the seed alone: it does not change when rows are added, removed
    or reordered. Names that differ only in case or surrounding space are one artist.

    Args:
        fractions: part name -> share of the artists; the shares must sum to 1.
    """
    total = sum(fractions.values())
    if not fractions or abs(total - 1.0) > 1e-6 or min(fractions.values()) < 0.0:
        raise UserError(f"the shares of a split must be 0 or more and sum to 1, not {dict(fractions)}.")
    parts: dict[str, list[Row]] = {name: [] for name in fractions}
    for row in rows:
        parts[_part(row.artist, fractions, seed)].append(row)
    return parts


def _part(artist: str, fractions: Mapping[str, float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed}/{artist.strip().casefold()}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in fractions.items():
        place -= share
        if place < 0.0:
            return name
    return next(reversed(list(fractions)))
