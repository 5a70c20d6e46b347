"""How far apart the candidates of a climb stand: one that has lost its diversity has only one idea left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

COLLAPSED = 0.25
"""A batch that keeps less than this share of its first diversity has collapsed."""


def points(history: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(step, diversity) at every look: the standard deviation of knob positions, a share of their range."""
    found = []
    for row in history:
        looked = row.get("looked")
        value = looked.get("diversity") if isinstance(looked, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found.append((float(row["step"]), float(value)))
    return found


def diversity(history: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """The diversity at the first and the last look; None where nothing was looked at."""
    found = points(history)
    return {"first": found[0][1], "last": found[-1][1]} if found else None


def collapsed(found: Mapping[str, float] | None) -> list[str]:
    """A warning where the batch has lost most of its diversity."""
    if found is None or found["first"] <= 0 or found["last"] >= COLLAPSED * found["first"]:
        return []
    return ["the candidates have become one: the batch has lost three quarters of its diversity"]
