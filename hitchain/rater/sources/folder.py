"""A folder of audio: every sound file under it is a row, its subfolders are labels.

Counts stand beside a sound file (song.json beside song.wav: {"plays": 950, "likes": 4, "artist": ...}) or in counts.csv
at the top of the folder, whose `path` is relative to it. Where neither knows a recording, its counts are NaN.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError
from hitchain.rater.row import Row, Skipped
from hitchain.rater.sources.records import Record, checked
from hitchain.rater.sources.tables import csv_lines

KEYS = ("path", "levels")
EXAMPLE = "music"
TABLE = "counts.csv"
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus")
OWN_FIELDS = ("plays", "likes", "artist", "date", "split")


def read(path: str | Path, levels: Sequence[str] = ("folder",)) -> tuple[list[Row], list[Skipped]]:
    """The rows of a folder, in the order of their paths.

    Args:
        path: the folder; files and folders whose names begin with a dot are left out.
        levels: what the names of the first, second, ... subfolder are: "artist", "date" and "split" mean those, any
            other name makes a label of that name; an empty one is passed over.

    Raises:
        UserError: there is no such folder, no sound file in it, or its table has no column `path`.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"source.path={root} is not a folder.")
    files = list(_sound_files(root))
    if not files:
        raise UserError(f"no sound file ({', '.join(SUFFIXES)}) under {root}.")
    table = _table(root / TABLE)
    records = (_record(root, line, file, levels, table) for line, file in enumerate(files, 1))
    return checked(root, records, root)


def _sound_files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if name.casefold().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


def _table(file: Path) -> dict[str, Mapping[str, Any]]:
    """{path: cells} of counts.csv; nothing where there is none."""
    if not file.is_file():
        return {}
    try:
        lines = csv_lines(file)
        header = [name.strip() for name in next(lines, (0, []))[1]]
        if "path" not in header:
            raise UserError(f"{file} has no column 'path'; its first line must name path, plays and likes.")
        rows = [dict(zip(header, cells, strict=False)) for _, cells in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {file}: {error}. It must be CSV in UTF-8.") from error
    return {Path(row["path"].strip()).as_posix(): row for row in rows}


def _record(root: Path, line: int, file: Path, levels: Sequence[str], table: Mapping[str, Mapping[str, Any]]) -> Record:
    relative = file.relative_to(root)
    fields: dict[str, Any] = dict(zip(levels, relative.parts[:-1], strict=False))
    try:
        fields.update(_beside(file) or table.get(relative.as_posix(), {}))
    except ValueError as error:
        return Record(
            line, relative.as_posix(), problem=f"{file.with_suffix('.json').name} is not a JSON object: {error}"
        )
    own = {name: fields[name] for name in OWN_FIELDS if name in fields}
    labels = {name: value for name, value in fields.items() if name and name not in (*OWN_FIELDS, "path")}
    counts = {name: own.pop(name, math.nan) for name in ("plays", "likes")}
    return Record(line, relative.as_posix(), **counts, **own, labels=labels)


def _beside(file: Path) -> dict[str, Any]:
    """What the JSON file beside a sound file says."""
    sidecar = file.with_suffix(".json")
    if not sidecar.is_file():
        return {}
    value = json.loads(sidecar.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError("it holds something else")
    return value
