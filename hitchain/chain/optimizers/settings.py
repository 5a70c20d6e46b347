"""Settings of an optimizer: a frozen dataclass whose fields carry their range, checked when they are read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from hitchain.errors import UserError, nearest

Settings = TypeVar("Settings")


def setting(default: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """A field with a default and an inclusive range."""
    return dataclasses.field(default=default, metadata={"range": (low, high)})


def read_settings(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Settings from plain values.

    Raises:
        UserError: an unknown key (naming the nearest), a value of another type than its default's, or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in fields:
            raise UserError(f"unknown key '{where}.{key}'; {nearest(str(key), fields)}")
        _check(value, fields[key], f"{where}.{key}")
    return kind(**values)


def _check(value: Any, field: dataclasses.Field[Any], where: str) -> None:
    low, high = field.metadata.get("range", (-math.inf, math.inf))
    default = field.default
    if isinstance(default, bool) or not isinstance(default, int | float):
        return
    wanted: tuple[type, ...] = (int,) if isinstance(default, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
        kind = "a whole number" if isinstance(default, int) else "a number"
        span = f" from {low:g} to {high:g}" if math.isfinite(high) else f" of {low:g} or more"
        raise UserError(f"{where}={value!r} is out of range: it should be {kind}{span}.")
