"""How a prepared folder is laid out: names, versions, and an index line to an `Entry` and back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hitchain.errors import UserError
from hitchain.rater.row import Row

FORMAT = "hitchain prepared recordings"
VERSION = 1
SAMPLE_RATE = 32_000
"""Every recording is brought to this sample rate [Hz], so that a batch can hold songs of different rates."""
KINDS = ("audio", "mel")

HEAD = "prepared.json"
INDEX = "index.jsonl"
PLAN = "plan.jsonl"
SHARDS = "shards"


@dataclass(frozen=True, slots=True)
class Entry:
    """A recording of a prepared set.

    Attributes:
        length: in samples (kind "audio") or frames (kind "mel").
        shard, offset: the shard's number, and where in it the recording begins, in samples or frames.
        split: one of `hitchain.rater.row.SPLITS`.
        group: recordings of the same number are the same music by their fingerprints.
        scale: what one step of the 16-bit samples is worth; 1 for kind "mel".
        fingerprint: where the fingerprint stands in the shard's file of them: offset and length.
    """

    row: Row
    length: int
    shard: int
    offset: int
    split: str
    group: int
    scale: float = 1.0
    fingerprint: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """What the recording is called in every listing."""
        return self.row.name


def shard_path(folder: Path, number: int) -> Path:
    """The array of a shard."""
    return folder / SHARDS / f"{number:05d}.npy"


def fingerprints_path(folder: Path, number: int) -> Path:
    """The fingerprints of a shard's recordings, one after another."""
    return folder / SHARDS / f"{number:05d}.fingerprints.npy"


def part_path(folder: Path, number: int) -> Path:
    """What became of each recording of a shard. It is written last: a shard without it is not finished."""
    return folder / SHARDS / f"{number:05d}.json"


def checksum(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def to_line(entry: Entry) -> str:
    """An entry as a line of the index: JSON, where a missing count is null."""
    row = entry.row
    return json.dumps(
        {
            "name": row.name, "path": str(row.path), "line": row.line, "artist": row.artist, "date": row.date,
            "plays": _or_none(row.plays), "likes": _or_none(row.likes), "labels": dict(row.labels),
            "source_split": row.split, "split": entry.split, "group": entry.group, "shard": entry.shard,
            "offset": entry.offset, "length": entry.length, "scale": entry.scale,
            "fingerprint": list(entry.fingerprint),
        },
        ensure_ascii=False,
    )  # fmt: skip


def from_line(line: str) -> Entry:
    """The entry of a line of the index. Raises ValueError, KeyError or TypeError where the line is none."""
    values: Mapping[str, Any] = json.loads(line)
    row = Row(
        Path(values["path"]), _or_nan(values["plays"]), _or_nan(values["likes"]), str(values["artist"]),
        str(values["date"]), str(values["source_split"]), values["labels"], int(values["line"]), str(values["name"]),
    )  # fmt: skip
    start, length = values["fingerprint"]
    return Entry(
        row, int(values["length"]), int(values["shard"]), int(values["offset"]), str(values["split"]),
        int(values["group"]), float(values["scale"]), (int(start), int(length)),
    )  # fmt: skip


def read_head(folder: Path) -> dict[str, Any]:
    """What prepared.json holds.

    Raises:
        UserError: it is missing, malformed, or of another format or version.
    """
    path = folder / HEAD
    if not path.is_file():
        raise UserError(
            f"{folder} is not a prepared set: it has no {HEAD}. Make one with hitchain prepare out={folder}."
        )
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}). {remedy(folder)}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UserError(f"{path} is not the head of a prepared set: its format is not {FORMAT!r}.")
    if head.get("version") != VERSION:
        raise UserError(
            f"{path} is of version {head.get('version')!r}; this hitchain reads version {VERSION}. "
            "Prepare the source again into another folder, or use the hitchain that wrote it."
        )
    if head.get("kind") not in KINDS:
        raise UserError(f"{path} has the kind {head.get('kind')!r}; it can be one of: {', '.join(KINDS)}.")
    return head


def remedy(folder: Path) -> str:
    """What to do about a damaged file of a prepared set."""
    return f"Mend it: run hitchain prepare again with the same source, out={folder} and verify=true."


def _or_none(count: float) -> float | None:
    return None if math.isnan(count) else count


def _or_nan(count: float | None) -> float:
    return math.nan if count is None else float(count)
