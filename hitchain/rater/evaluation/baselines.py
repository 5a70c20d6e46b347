"""Baselines: what a rater must beat to have heard anything. Fitted on recordings that are not rated.

- loudness, duration: a straight line through one number;
- GROUP mean: the mean target of the recording's genre (or what `group` is; of tags, over all it has), the mean of all
  where it is new;
- features + ridge, features + trees: MFCCs and the other features of `hitchain.rater.features`, with ridge regression
  or boosted trees. The honest baseline: no network is needed for these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hitchain.rater.balance import classes_of
from hitchain.rater.evaluation.metrics import Vector
from hitchain.rater.features import NAMES
from hitchain.rater.row import Row

FOLDS = 5
MOST_CLASSES = 200
"""Classes of the group that have a mean of their own, the most frequent first."""
FEWEST = 4
"""Recordings to fit on; with fewer there are no baselines."""

Matrix = NDArray[np.float64]
Predict = Callable[[Matrix, Vector, Matrix], Vector]
"""(fitted rows, their targets, rows to rate) -> ratings."""


def fit_and_rate(
    columns: dict[str, Matrix], rows: Sequence[Row], group: str, targets: Vector, fitted: Sequence[NDArray[np.intp]],
    rated: Sequence[NDArray[np.intp]], seed: int,
) -> dict[str, Vector]:  # fmt: skip
    """Ratings of every baseline: (recordings,), NaN where a recording was not rated; {} where too few are to fit on.

    Args:
        columns: "loudness", "duration" (recordings, 1) and "features" (recordings, len(NAMES)); what is not known is
            left out. targets: (recordings,).
        fitted, rated: the recordings to fit on and to rate, for each fold; a fold's two never share an artist.
    """
    kinds: dict[str, tuple[Matrix, Predict]] = {}
    for name in ("loudness", "duration"):
        if name in columns:
            kinds[name] = (columns[name], _line)
    classes = [frozenset(classes_of(row, group)) for row in rows] if group else []
    counts = Counter(name for row in classes for name in row)
    if counts:
        listed = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_CLASSES]
        kinds[f"{group} mean"] = (np.array([[float(name in row) for name in listed] for row in classes]), _group_mean)
    if "features" in columns:
        kinds["features + ridge"] = (columns["features"], _ridge)
        kinds["features + trees"] = (columns["features"], _trees_of(seed))
    if not rated or min(len(learnt) for learnt in fitted) < FEWEST:
        return {}
    ratings = {}
    for name, (matrix, predict) in kinds.items():
        ratings[name] = np.full(len(rows), np.nan)
        for learnt, asked in zip(fitted, rated, strict=True):
            if len(asked):
                ratings[name][asked] = predict(matrix[learnt], targets[learnt], matrix[asked])
    return ratings


def _line(known: Matrix, targets: Vector, asked: Matrix) -> Vector:
    """Least squares; the mean where the number does not differ."""
    x, mean = known[:, 0] - known[:, 0].mean(), targets.mean()
    slope = float(x @ (targets - mean) / (x @ x)) if float(x @ x) > 0.0 else 0.0
    return np.asarray(mean + slope * (asked[:, 0] - known[:, 0].mean()))


def _group_mean(known: Matrix, targets: Vector, asked: Matrix) -> Vector:
    """Of matrices that say which classes (columns) a recording has: the mean over its classes of their means."""
    counts = known.sum(axis=0)
    means = np.where(counts > 0.0, known.T @ targets / np.maximum(counts, 1.0), targets.mean())
    have = asked.sum(axis=1)
    return np.asarray(np.where(have > 0.0, asked @ means / np.maximum(have, 1.0), targets.mean()))


def _ridge(known: Matrix, targets: Vector, asked: Matrix) -> Vector:
    from hitchain.rater import ridge

    return ridge.fit(known, targets, NAMES).predict(asked)


def _trees_of(seed: int) -> Predict:
    def predict(known: Matrix, targets: Vector, asked: Matrix) -> Vector:
        from hitchain.rater import trees

        return trees.fit(known, targets, NAMES, seed=seed).predict(asked)

    return predict


def folds(groups: NDArray[np.intp], count: int = FOLDS) -> list[NDArray[np.intp]]:
    """Whole artists dealt into parts of about the same number of recordings, largest first: the places of each part."""
    sizes = np.bincount(groups)
    part = np.zeros(len(sizes), np.intp)
    held = np.zeros(min(count, len(sizes)))
    for group in np.argsort(-sizes, kind="stable"):
        part[group] = int(held.argmin())
        held[part[group]] += sizes[group]
    return [np.flatnonzero(part[groups] == number) for number in range(len(held))]
