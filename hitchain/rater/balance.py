"""How a collection is spread, and how that shows in a rater: counts by label, skew of popularity, bias by group.

Popularity data is skewed: a few recordings have nearly all likes, and genres differ in how they are heard and liked. A
rater that learns from it learns that too; these tables say how much.
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
RESAMPLES = 1000
MANY = 10_000
"""Rows from which the bootstrap interval of a mean is taken as the normal one: they agree, and it is quick."""
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


def bias(
    rows: Sequence[Row], ratings: ArrayLike, targets: ArrayLike, label: str, seed: int = 0
) -> list[dict[str, Any]]:
    """How a rater treats the classes of a label, the most frequent first.

    Args:
        ratings, targets: (rows,) each, in the same unit; rows where either is NaN are left out.
        seed: of the bootstrap, with the class's name: a class's interval does not depend on the others.

    Returns:
        For each class `class`, `rows`, `rating` and `target` (means), `error` (mean of rating - target: above 0 it is
        rated too high), `error_low` and `error_high` (95 % bootstrap interval of it; None for one row) and `mse`.
    """
    rated, wanted = np.asarray(ratings, np.float64), np.asarray(targets, np.float64)
    known = ~(np.isnan(rated) | np.isnan(wanted))
    members: dict[str, list[int]] = {}
    for place in np.flatnonzero(known).tolist():
        for value in classes_of(rows[place], label):
            members.setdefault(value, []).append(place)
    table = []
    for value in sorted(members, key=lambda one: (-len(members[one]), one)):
        places = members[value]
        error = rated[places] - wanted[places]
        low, high = interval_of_mean(error, seed, value)
        table.append(
            {
                "class": value, "rows": len(places), "rating": float(rated[places].mean()),
                "target": float(wanted[places].mean()), "error": float(error.mean()),
                "error_low": low, "error_high": high, "mse": float(np.square(error).mean()),
            }
        )  # fmt: skip
    return table


def interval_of_mean(values: NDArray[np.float64], seed: int, name: str = "") -> tuple[float | None, float | None]:
    """The 95 % interval of a mean by percentile bootstrap (Efron 1979); None for fewer than two values."""
    if len(values) < 2:
        return None, None
    if len(values) > MANY:
        half = 1.959964 * float(values.std()) / math.sqrt(len(values))
        return float(values.mean()) - half, float(values.mean()) + half
    random = np.random.default_rng([seed, *name.encode()])
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def bias_told(table: Sequence[Mapping[str, Any]]) -> str:
    """A bias report as a table."""
    lines = [f"{'class':<30} {'rows':>6} {'rating':>9} {'target':>9} {'error':>9}  95 % interval"]
    for row in table:
        low, high = row["error_low"], row["error_high"]
        interval = "" if low is None else f"{low:+.4f} .. {high:+.4f}"
        lines.append(
            f"{row['class'][:30]:<30} {row['rows']:>6} {row['rating']:>9.4f} {row['target']:>9.4f} "
            f"{row['error']:>+9.4f}  {interval}"
        )
    return "\n".join(lines)
