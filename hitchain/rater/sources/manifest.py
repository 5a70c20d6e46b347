"""The manifest: a table that says which recording got how many plays and likes, and by whom it is.

CSV or JSON Lines (both UTF-8) or Parquet, by the suffix. The columns path, plays and likes must be there; artist,
date and split may be; every other column is a label ("genre", "amp", "tags"). Columns stand in any order.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.rater.row import Row, Skipped
from hitchain.rater.sources.records import Record, checked
from hitchain.rater.sources.tables import csv_lines

KEYS = ("path", "columns", "labels")
EXAMPLE = "songs.csv"
REQUIRED = ("path", "plays", "likes")
COLUMNS = (*REQUIRED, "artist", "date", "split")

Cells = tuple[int, Mapping[str, Any] | str]
"""A line's number, and its cells by column or what is wrong with it."""


def read_manifest(
    path: str | Path, columns: Mapping[str, str] | None = None, labels: Sequence[str] | None = None
) -> tuple[list[Row], list[Skipped]]:
    """The rows of a manifest, and the rows that cannot be used.

    Args:
        path: a .csv, .jsonl (or .ndjson) or .parquet file. A relative path in it is relative to its own folder.
        columns: {one of `COLUMNS`: what the file calls it}; the same name where none is given.
        labels: the label columns to take; None takes every other column.

    Raises:
        UserError: the file cannot be read, a column is missing, or a column holds not one usable value. The message
            names file, column and line.
    """
    file = Path(path)
    called = _called(columns or {})
    suffix = file.suffix.casefold()
    if suffix not in _READERS:
        raise UserError(f"manifest {file} ends in {suffix!r}; it can be one of: {', '.join(_READERS)}.")
    try:
        header, lines = _READERS[suffix](file)
        _check_columns(file, header, called, labels)
        return checked(file, _records(lines, called, labels), file.parent)
    except FileNotFoundError as error:
        raise UserError(f"manifest not found: {file}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        kind = "a Parquet file" if suffix == ".parquet" else "text in UTF-8"
        raise UserError(f"cannot read manifest {file}: {error}. It must be {kind}.") from error


read = read_manifest


def _called(columns: Mapping[str, str]) -> dict[str, str]:
    for name in columns:
        if name not in COLUMNS:
            raise UserError(f"unknown key 'source.columns.{name}'; {nearest(str(name), COLUMNS)}")
    return {name: str(columns.get(name) or name) for name in COLUMNS}


def _check_columns(file: Path, header: Sequence[str], called: Mapping[str, str], labels: Sequence[str] | None) -> None:
    for name in header:
        if list(header).count(name) > 1 and name:
            raise UserError(f"manifest {file} has the column {name!r} twice.")
    wanted = [called[name] for name in REQUIRED]
    wanted += [name for key, name in called.items() if name != key and key not in REQUIRED]  # asked for by name
    for column in [*wanted, *(labels or [])]:
        if column not in header:
            hint = nearest(column, header) if header else "the file is empty."
            raise UserError(
                f"manifest {file} has no column {column!r}; {hint} It needs the columns "
                f"{', '.join(called[name] for name in REQUIRED)}, separated by commas in a CSV file."
            )


def _records(lines: Iterable[Cells], called: Mapping[str, str], labels: Sequence[str] | None) -> Iterator[Record]:
    taken = set(called.values())
    for line, cells in lines:
        if isinstance(cells, str):
            yield Record(line, "", problem=cells)
            continue
        path = cells.get(called["path"])
        others = (name for name in cells if name not in taken) if labels is None else labels
        yield Record(
            line,
            "" if path is None else str(path).strip(),
            _cell(cells, called["plays"]),
            _cell(cells, called["likes"]),
            cells.get(called["artist"]),
            cells.get(called["date"]),
            cells.get(called["split"]),
            {name: cells.get(name) for name in others if name},
        )


def _cell(cells: Mapping[str, Any], column: str) -> Any:
    """A count's cell; a NaN in the file is text like any other, so that it is named."""
    value = cells.get(column)
    return str(value) if isinstance(value, float) else value


def _read_csv(file: Path) -> tuple[Sequence[str], Iterator[Cells]]:
    lines = csv_lines(file)
    _, header = next(lines, (0, []))
    return [name.strip() for name in header], _csv_cells(lines, [name.strip() for name in header])


def _csv_cells(lines: Iterable[tuple[int, list[str]]], header: Sequence[str]) -> Iterator[Cells]:
    for line, cells in lines:
        if len(cells) > len(header):
            yield line, f"{len(cells)} cells in a table of {len(header)} columns"
        else:
            yield line, dict(zip(header, cells, strict=False))


def _read_json_lines(file: Path) -> tuple[Sequence[str], Iterator[Cells]]:
    """JSON Lines have no header: the columns are the keys of all lines."""
    columns: dict[str, None] = {}
    for _, cells in _json_lines(file):
        if not isinstance(cells, str):
            columns.update(dict.fromkeys(cells))
    if not columns:
        for number, problem in _json_lines(file):
            raise UserError(f"manifest {file}, line {number}: {problem or 'an object without keys'}.")
    return list(columns), _json_lines(file)


def _json_lines(file: Path) -> Iterator[Cells]:
    with file.open(encoding="utf-8-sig") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                yield number, f"not valid JSON: {error}"
                continue
            yield number, value if isinstance(value, dict) else "not a JSON object"


def _read_parquet(file: Path) -> tuple[Sequence[str], Iterator[Cells]]:
    if not file.is_file():
        raise FileNotFoundError(file)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("a Parquet manifest needs pyarrow: pip install 'hitchain[parquet]'.") from error
    try:
        table = pyarrow.parquet.ParquetFile(file)
        return list(table.schema_arrow.names), _parquet_lines(table)
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from error


def _parquet_lines(table: Any) -> Iterator[Cells]:
    """Rows are numbered from 1."""
    import pyarrow

    number = 0
    try:
        for batch in table.iter_batches():
            for cells in batch.to_pylist():
                number += 1
                yield number, cells
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from error


_READERS = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
