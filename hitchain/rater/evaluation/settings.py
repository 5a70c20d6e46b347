"""What `hitchain evaluate` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.rater.row import SPLITS

EVERYTHING = "all"


@dataclass(frozen=True)
class EvaluateSettings:
    """The keys of conf/evaluate.yaml, checked; `raters` is `rater` as a list."""

    raters: tuple[str, ...]
    prepared: str | None
    source: Mapping[str, Any]
    split: str
    target: str
    group: str
    k: int
    baselines: bool
    feature_seconds: float
    window_seconds: float
    resamples: int
    device: str
    seed: int
    out: Path

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> EvaluateSettings:
        """Raises `UserError` for an unknown key or a value out of range."""
        values = dict(config)
        named = values.pop("rater", None) or "appeal"
        raters = [named] if isinstance(named, str) else named
        if not isinstance(raters, list) or not all(isinstance(name, str | int) for name in raters):
            raise UserError(f"rater={named!r} should be a name or a list, for example rater=[appeal,runs/rater].")
        values["raters"] = tuple(dict.fromkeys(str(name) for name in raters))
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(f"unknown key {key!r}; {nearest(str(key), known)}")
        _check(values)
        values |= {"out": Path(str(values["out"])), "group": str(values["group"] or "")}
        return cls(**values)


def _check(values: Mapping[str, Any]) -> None:
    if values["split"] not in (*SPLITS, EVERYTHING):
        raise UserError(f"split={values['split']!r}: {nearest(str(values['split']), (*SPLITS, EVERYTHING))}")
    ranges = {
        "k": (1, 100_000),
        "feature_seconds": (1.0, 600.0),
        "window_seconds": (2.0, 600.0),
        "resamples": (0, 100_000),
    }
    for key, (low, high) in ranges.items():
        if not low <= values[key] <= high:
            raise UserError(f"{key}={values[key]} should be from {low:g} to {high:g}.")
