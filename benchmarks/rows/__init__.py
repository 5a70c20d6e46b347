"""The rows of the table: each a function `measure(repeats, seconds) -> Report` that builds its input and times it."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from benchmarks.harness import Report


class Row(Protocol):
    """What every module or class of a row offers."""

    def __call__(self, repeats: int, seconds: float) -> Report: ...


ROWS: dict[str, tuple[str, str, float]] = {
    "eq": ("effects", "equaliser", 5.0),
    "compressor": ("effects", "compressor", 5.0),
    "reverb": ("reverb", "reverb", 5.0),
    "line": ("line", "line", 12.0),
    "fused": ("line", "fused", 5.0),
    "subtractive": ("instruments", "subtractive", 4.0),
    "additive": ("instruments", "additive", 4.0),
    "render": ("line", "render", 30.0),
    "rater": ("band", "rating", 4.0),
    "band": ("band", "band", 4.0),
    "flat": ("flat", "flat", 240.0),
}
"""{row: (module, function, seconds of audio)} in the order of the table."""


def load(name: str) -> Row:
    """The function that measures a row."""
    module, function, _ = ROWS[name]
    return cast(Row, getattr(importlib.import_module(f"benchmarks.rows.{module}"), function))
