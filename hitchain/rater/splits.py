"""Splits: which recordings train, which validate, and which are never looked at before the end.

Artists and near-duplicate recordings are never parted: rows that share either, directly or by way of other rows, are
one unit, and a unit stands on one side. Which, is decided by what comes first of:

1. the stored split, so that what was held out stays held out when rows are added;
2. the source's own split;
3. a hash of the seed and the unit's name, which no other row has a say in.

Where 1 or 2 puts a unit on several sides, all of it goes to the first of training, validation and test: what has been
learnt from once cannot be held out any more. The rows that this moves are counted and named.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.files import read_json, write_json
from hitchain.rater.row import SPLITS, Row

FRACTIONS = {"training": 0.7, "validation": 0.15, "test": 0.15}
NEEDED = ("training", "validation")
"""Sides without which nothing can be trained; a test side may be empty where there are too few artists for three."""
VERSION = 1


@dataclass(frozen=True)
class Moved:
    """A row that does not stand where its source or the stored split had put it, since that would leak."""

    name: str
    wanted: str
    side: str


@dataclass(frozen=True)
class Assignment:
    """A side for each row, and the rows that were moved for it."""

    sides: list[str]
    moved: list[Moved]


@dataclass(frozen=True)
class _Unit:
    """Rows that stay together, by their places; `names` are its artists and its rows without one."""

    rows: list[int]
    names: list[str]
    pinned: str

    def place(self, seed: int) -> float:
        """Where the unit stands in 0..1: the lowest of its names' hashes, so that most additions leave it."""
        return min(_place(name, seed) for name in self.names)


def split(
    rows: Sequence[Row],
    groups: Sequence[Hashable] | None = None,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
    stored: Path | None = None,
) -> list[str]:
    """A side, one of `SPLITS`, for each row. See `assign`."""
    return assign(rows, groups, fractions, seed, stored).sides


def assign(
    rows: Sequence[Row],
    groups: Sequence[Hashable] | None = None,
    fractions: Mapping[str, float] = FRACTIONS,
    seed: int = 0,
    stored: Path | None = None,
) -> Assignment:
    """Put every row on a side, with no artist and no near-duplicate recording on two.

    Args:
        groups: each row's near-duplicate group, as `fingerprint.near_duplicates` gives it; None if each has its own.
        fractions: side -> share of the units that a hash decides; they sum to 1. A side not named gets none.
        stored: a JSON file: read where it exists, and written with every row it held and every row given.

    Raises:
        UserError: wrong fractions, a malformed file, or nothing for a side that is needed.
    """
    _check(fractions)
    kept = _read(stored)
    units = _units(rows, groups, kept)
    placed = {id(unit): unit.pinned or _side(unit.place(seed), fractions) for unit in units}
    _fill(units, placed, fractions, seed)
    sides = [""] * len(rows)
    for unit in units:
        for row in unit.rows:
            sides[row] = placed[id(unit)]
    wanted = [kept["rows"].get(row.name) or row.split for row in rows]
    moved = [
        Moved(row.name, was, side) for row, was, side in zip(rows, wanted, sides, strict=True) if was not in ("", side)
    ]
    if stored is not None:
        _write(stored, kept, rows, Assignment(sides, moved), fractions, seed)
    return Assignment(sides, moved)


def _check(fractions: Mapping[str, float]) -> None:
    for name in fractions:
        if name not in SPLITS:
            raise UserError(f"unknown side of a split {name!r}; {nearest(str(name), SPLITS)}")
    if not fractions or abs(sum(fractions.values()) - 1.0) > 1e-6 or min(fractions.values()) < 0.0:
        raise UserError(f"the shares of a split must be 0 or more and sum to 1, not {dict(fractions)}.")


def artist_key(artist: str) -> str:
    """Names that differ only in case or space are one artist."""
    return " ".join(artist.casefold().split())


def _name(row: Row) -> str:
    """What holds a row to others: its artist; itself where that is unknown."""
    artist = artist_key(row.artist)
    return f"artist/{artist}" if artist else f"row/{row.name}"


def _units(rows: Sequence[Row], groups: Sequence[Hashable] | None, kept: Mapping[str, Any]) -> list[_Unit]:
    """The connected components of rows that share an artist or a group, in the order of their first rows."""
    parents = list(range(len(rows)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    first: dict[Hashable, int] = {}
    for place, row in enumerate(rows):
        for key in (_name(row), *([] if groups is None else [("group", groups[place])])):
            one, other = root(first.setdefault(key, place)), root(place)
            parents[max(one, other)] = min(one, other)
    members: dict[int, list[int]] = defaultdict(list)
    for place in range(len(rows)):
        members[root(place)].append(place)
    return [_unit([rows[place] for place in places], places, kept) for places in members.values()]


def _unit(rows: Sequence[Row], places: list[int], kept: Mapping[str, Any]) -> _Unit:
    names = sorted({_name(row) for row in rows})
    stored = {kept["rows"].get(row.name, "") for row in rows} | {kept["names"].get(name, "") for name in names}
    given = {row.split for row in rows}
    pinned = next((side for sides in (stored, given) for side in SPLITS if side in sides), "")
    return _Unit(places, names, pinned)


def _place(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _side(place: float, fractions: Mapping[str, float]) -> str:
    used = [name for name in SPLITS if fractions.get(name, 0.0) > 0.0]
    for name in used:
        place -= fractions[name]
        if place < 0.0:
            return name
    return used[-1]


def _fill(units: Sequence[_Unit], placed: dict[int, str], fractions: Mapping[str, float], seed: int) -> None:
    """Where the hash of a few artists leaves a side empty, give it one from the side that has most to spare."""
    free = sorted((unit for unit in units if not unit.pinned), key=lambda unit: unit.place(seed))
    for side in SPLITS:
        if fractions.get(side, 0.0) <= 0.0 or side in placed.values():
            continue
        held: dict[str, list[_Unit]] = defaultdict(list)
        for unit in units:
            held[placed[id(unit)]].append(unit)
        spared = [name for name in SPLITS if len(held[name]) > 1 or (side in NEEDED and name not in NEEDED)]
        donors = [unit for unit in free if placed[id(unit)] in spared]
        if donors:
            largest = max(SPLITS, key=lambda name: (len(held[name]), -SPLITS.index(name)))
            spare = [unit for unit in donors if placed[id(unit)] == largest] or donors
            placed[id(spare[-1])] = side
        elif side in NEEDED:
            raise UserError(
                f"the {side} side of the split is empty: {len(units)} artists or groups of near-duplicates in all, "
                f"{len(free)} of them not put elsewhere by the source or the stored split. At least 2 are needed, "
                "since validation uses artists that training never hears."
            )


def _read(stored: Path | None) -> dict[str, dict[str, str]]:
    """{"rows": {name: side}, "names": {artist or row: side}} of a stored split; nothing where there is none."""
    if stored is None or not stored.exists():
        return {"rows": {}, "names": {}}
    value = read_json(stored, "stored split")
    version = value.get("version") if isinstance(value, dict) else None
    if version != VERSION:
        raise UserError(f"stored split {stored} has version {version!r}; {VERSION} can be read.")
    for part in ("rows", "names"):
        sides = value.get(part)
        if not isinstance(sides, dict):
            raise UserError(f"stored split {stored} has no {part!r}.")
        for name, side in sides.items():
            if side not in SPLITS:
                raise UserError(f"stored split {stored}: {part}.{name} is {side!r}; {nearest(str(side), SPLITS)}")
    return {"rows": value["rows"], "names": value["names"]}


def _write(
    stored: Path,
    kept: Mapping[str, Mapping[str, str]],
    rows: Sequence[Row],
    assignment: Assignment,
    fractions: Mapping[str, float],
    seed: int,
) -> None:
    sides = assignment.sides
    value = {
        "version": VERSION,
        "seed": seed,
        "fractions": dict(fractions),
        "rows": {**kept["rows"], **{row.name: side for row, side in zip(rows, sides, strict=True)}},
        "names": {**kept["names"], **{_name(row): side for row, side in zip(rows, sides, strict=True)}},
        "moved": [asdict(row) for row in assignment.moved],
    }
    write_json(stored, value)
