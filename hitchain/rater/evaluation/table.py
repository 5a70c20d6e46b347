"""A CSV table that grows row by row: killed at any moment, it is gone on with where it stopped."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hitchain.errors import UserError


class Table:
    """Rows of text by their first cell. A line that was half written when the process died is dropped.

    Args:
        path: the file; made with its header where there is none.
        columns: the header; the first names the key.

    Raises:
        UserError: the file has another header.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, list(columns)
        self.rows: dict[str, list[str]] = {}
        whole = self._read()
        self._handle = path.open("r+b" if path.exists() else "w+b")
        self._handle.truncate(whole)
        self._handle.seek(0, os.SEEK_END)
        if not whole:
            self._write(self.columns)

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def append(self, cells: Sequence[object]) -> None:
        """Add a row; it is with the system before this returns, so that killing the process loses nothing."""
        row = ["" if cell is None else repr(cell) if isinstance(cell, float) else str(cell) for cell in cells]
        if len(row) != len(self.columns):
            raise ValueError(f"{len(row)} cells for {len(self.columns)} columns")
        self.rows[row[0]] = row
        self._write(row)

    def numbers(self, key: str, columns: Sequence[str]) -> list[float]:
        """Cells of a row as numbers; NaN where a cell is empty."""
        cells = dict(zip(self.columns, self.rows[key], strict=True))
        return [float(cells[column]) if cells[column] else float("nan") for column in columns]

    def _write(self, cells: Sequence[str]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._handle.write(text.getvalue().encode("utf-8"))
        self._handle.flush()

    def _read(self) -> int:
        """Read what is whole; returns how many bytes that is."""
        if not self.path.exists():
            return 0
        data = self.path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        lines = data.decode("utf-8", errors="replace")
        rows = list(csv.reader(io.StringIO(lines)))
        if rows and rows[0] != self.columns:
            raise UserError(f"{self.path} was written for other raters; choose another folder with out=FOLDER.")
        for number, row in enumerate(rows[1:], 2):
            if len(row) != len(self.columns):
                raise UserError(f"{self.path}, line {number} is damaged: remove the line, and run the command again.")
            self.rows[row[0]] = row
        return len(data)
