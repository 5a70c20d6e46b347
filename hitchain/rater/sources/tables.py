"""Lines of CSV files, numbered where they begin."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

LONGEST_CELL = 2**24
"""Characters; the csv module's own limit is 131,072, and FMA's artist biographies come near it."""


def csv_lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a CSV file in UTF-8, empty ones left out: (the line's number in the file, its cells).

    Raises:
        OSError, UnicodeDecodeError, csv.Error: the file cannot be read.
    """
    csv.field_size_limit(LONGEST_CELL)
    with file.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle)
        begins = 1
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
