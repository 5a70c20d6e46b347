"""How a collection is spread: its sides, the skew of its popularity, and the balance of its genres and other labels.

Popularity data is skewed: a few recordings have nearly all likes, and genres differ in how they are heard and liked. A
rater that learns from it learns that too; `hitchain evaluate` shows how much of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitchain.rater.row import SPLITS, Row

MOST_CLASSES = 50
"""Classes of a label that are listed, the most frequent first."""
QUANTILES = {"lowest": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "top_tenth": 0.9, "highest": 1.0}


def balance(rows: Sequence[Row], sides: Sequence[str] | None = None) -> dict[str, Any]:
    """What balance.json holds.

    Args:
        sides: each row's side of the split, if it is split.

    Returns:
        `rows`; `with_counts`; `artists`; `splits` (side -> rows); `skew` (None without counts): quantiles of `plays`,
        `likes` and `popularity`, `zero_likes`, `zero_or_one_like` (shares of rows), `gini_likes`; and `labels`: by name
        `labelled` (rows), `classes` (how many), `evenness` (0..1: the entropy of the classes over that of equal ones)
        and `groups`, a list of class, `rows`, `share`, `popularity` (mean), `zero_likes` (share).
    """
    plays, likes = _counts(rows)
    known = ~(np.isnan(plays) | np.isnan(likes))
    names = sorted({name for row in rows for name in row.labels})
    return {
        "rows": len(rows),
        "with_counts": int(known.sum()),
        "artists": len({row.artist.strip().casefold() for row in rows} - {""}),
        "splits": {} if sides is None else {name: sum(side == name for side in sides) for name in SPLITS},
        "skew": _skew(rows, plays[known], likes[known], known) if known.any() else None,
        "labels": {name: _label(rows, name, likes) for name in names},
    }


def _counts(rows: Sequence[Row]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([row.plays for row in rows], float), np.array([row.likes for row in rows], float)


def _skew(
    rows: Sequence[Row], plays: NDArray[np.float64], likes: NDArray[np.float64], known: NDArray[np.bool_]
) -> dict[str, Any]:
    popularity = np.array([row.popularity for row, one in zip(rows, known, strict=True) if one])
    return {
        **{
            name: {key: float(np.quantile(values, place)) for key, place in QUANTILES.items()}
            for name, values in (("plays", plays), ("likes", likes), ("popularity", popularity))
        },
        "zero_likes": float((likes == 0.0).mean()),
        "zero_or_one_like": float((likes <= 1.0).mean()),
        "gini_likes": gini(likes),
    }


def gini(values: ArrayLike) -> float:
    """Gini's coefficient of values >= 0, (n,): 0 where all have the same or none, towards 1 where one has all.

    G = sum_i (2 i - n - 1) x_i / (n sum x), x sorted, i from 1.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count, total = len(ordered), float(ordered.sum())
    if total == 0.0:
        return 0.0
    return float(((2.0 * np.arange(1, count + 1) - count - 1.0) * ordered).sum() / (count * total))


def classes_of(row: Row, label: str) -> tuple[str, ...]:
    """The classes a row belongs to by a label: several for tags, which are separated by commas, else one or none."""
    value = row.labels.get(label, "")
    if label.casefold().endswith("tags"):
        return tuple(sorted({tag.strip() for tag in value.split(",")} - {""}))
    return (value,) if value else ()


def _label(rows: Sequence[Row], name: str, likes: NDArray[np.float64]) -> dict[str, Any]:
    members: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        for value in classes_of(row, name):
            members.setdefault(value, []).append(place)
    counts = np.array([len(places) for places in members.values()], float)
    shares = counts / counts.sum()
    evenness = 1.0 if len(counts) == 1 else float(-(shares * np.log(shares)).sum() / math.log(len(counts)))
    ordered = sorted(members, key=lambda value: (-len(members[value]), value))[:MOST_CLASSES]
    return {
        "labelled": sum(bool(classes_of(row, name)) for row in rows),
        "classes": len(members),
        "evenness": evenness,
        "groups": [
            {
                "class": value,
                "rows": len(members[value]),
                "share": len(members[value]) / len(rows),
                "popularity": _mean([rows[place].popularity for place in members[value]]),
                "zero_likes": _mean(
                    [math.nan if math.isnan(likes[place]) else float(likes[place] == 0.0) for place in members[value]]
                ),
            }
            for value in ordered
        ],
    }


def _mean(values: Sequence[float]) -> float | None:
    """The mean of the values that are known; None where none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None


def told(found: Mapping[str, Any]) -> str:
    """A balance in words and tables."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    sides = ", ".join(f"{count} {name}" for name, count in found["splits"].items())
    yield f"{found['rows']} rows by {found['artists']} artists" + (f": {sides}" if sides else "")
    skew = found["skew"]
    if skew is None:
        yield "no row has plays and likes"
    else:
        likes, plays, p = skew["likes"], skew["plays"], skew["popularity"]
        yield (
            f"popularity is skewed: {skew['zero_likes']:.0%} of rows have no like, {skew['zero_or_one_like']:.0%} none "
            f"or one (p = 0); Gini of likes {skew['gini_likes']:.2f} (0 even, 1 one has all)"
        )
        for name, values, form in (("plays", plays, ",.0f"), ("likes", likes, ",.0f"), ("p", p, ".5f")):
            shown = ", ".join(f"{key.replace('_', ' ')} {values[key]:{form}}" for key in QUANTILES)
            yield f"  {name:<6}{shown}"
    for name, label in found["labels"].items():
        yield (f"{name}: {label['classes']} classes in {label['labelled']} rows, evenness {label['evenness']:.2f} of 1")
        for group in label["groups"]:
            p_shown = "" if group["popularity"] is None else f"  mean p {group['popularity']:.5f}"
            zero = "" if group["zero_likes"] is None else f"  no like {group['zero_likes']:.0%}"
            yield f"  {group['class'][:30]:<30} {group['rows']:>7} {group['share']:>6.1%}{p_shown}{zero}"
