"""A rater's folder: `rater.json` says which weights files make it up, and how sure it is.

    {"format": "hitchain-ensemble", "version": 1, "members": ["member-0/rater.safetensors", ...],
     "scales": [[slope, offset], ...], "about": {...}, "calibration": {...}}

A member's rating counts as slope * rating + offset, which brings raters that only rank to one unit. `about` replaces
that of the weights files where it is there. Without `calibration` there are no intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hitchain.errors import UserError
from hitchain.files import read_json, write_json
from hitchain.rater.uncertainty import Calibration

FILE = "rater.json"
FORMAT = "hitchain-ensemble"
VERSION = 1
MOST_MEMBERS = 100


@dataclass(frozen=True)
class Listing:
    """What stands in a `rater.json`; see above."""

    members: tuple[str, ...]
    scales: tuple[tuple[float, float], ...]
    calibration: Calibration | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def save(
    folder: str | Path,
    members: Sequence[str],
    calibration: Calibration | None = None,
    scales: Sequence[tuple[float, float]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a folder's `rater.json`, whole or not at all.

    Args:
        members: weights files, relative to the folder, with forward slashes.
        scales: (slope, offset) of each; None leaves all ratings as they are.
        about: JSON values of the whole, for a popularity rater with `target_mean` and `target_deviation`.
    """
    content = {
        "format": FORMAT, "version": VERSION, "members": list(members),
        "scales": [[float(a), float(b)] for a, b in (scales or [(1.0, 0.0)] * len(members))],
        "about": dict(about or {}), "calibration": None if calibration is None else calibration.as_dict(),
    }  # fmt: skip
    _parsed(content)
    write_json(Path(folder) / FILE, content)


def load(folder: str | Path) -> Listing:
    """What a folder's `rater.json` says.

    Raises:
        UserError: it is missing, malformed, or names a file outside its folder.
    """
    file = Path(folder) / FILE
    try:
        return _parsed(read_json(file, "rater"))
    except UserError as error:
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from error


def _parsed(content: Any) -> Listing:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"not the listing of a rater: its `format` must be {FORMAT!r}.")
    if content.get("version") != VERSION:
        raise UserError(f"its format version is {content.get('version')!r}; this hitchain reads {VERSION}.")
    members, about = content.get("members"), content.get("about", {})
    if (
        not isinstance(members, list)
        or not 1 <= len(members) <= MOST_MEMBERS
        or len(set(map(str, members))) != len(members)
    ):
        raise UserError(f"`members` must be a list of 1 to {MOST_MEMBERS} different weights files, not {members!r}.")
    for member in members:
        _check_inside(member)
    scales = content.get("scales", [[1.0, 0.0]] * len(members))
    if not isinstance(scales, list) or len(scales) != len(members) or not all(map(_is_scale, scales)):
        raise UserError(f"`scales` must hold a slope and an offset for each of the {len(members)} members.")
    if not isinstance(about, dict):
        raise UserError("`about` must be a JSON object.")
    calibration = content.get("calibration")
    return Listing(
        tuple(members),
        tuple((float(slope), float(offset)) for slope, offset in scales),
        None if calibration is None else Calibration.from_dict(calibration),
        about,
    )


def _check_inside(member: Any) -> None:
    place = PurePosixPath(member) if isinstance(member, str) and member else None
    if place is None or place.is_absolute() or ".." in place.parts or "\\" in str(member) or ":" in str(member):
        raise UserError(f"member {member!r} must be a file in the rater's own folder, like member-0/rater.safetensors.")


def _is_scale(scale: Any) -> bool:
    return (
        isinstance(scale, list)
        and len(scale) == 2
        and all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in scale)
    )
