"""How well ratings agree with targets: pure functions of two vectors. Not defined is None, never NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
Metric = Callable[[Vector, Vector], float | None]

NEEDS_A_SCALE = ("mse", "r2")
"""Metrics that compare values; all others only compare orders."""
LOWER_IS_BETTER = ("mse",)


def metrics(k: int) -> dict[str, Metric]:
    """Every metric by its name, nDCG at `k`."""
    return {
        "mse": mse,
        "r2": r2,
        "spearman": spearman,
        "kendall": kendall,
        "pairwise_accuracy": pairwise_accuracy,
        f"ndcg@{k}": lambda targets, ratings: ndcg(targets, ratings, k),
    }


def chance(name: str, targets: ArrayLike, k: int) -> float | None:
    """What a rating that knows nothing gets: of an order, one drawn at random; of values, always the targets' mean."""
    values = _vector(targets)
    if not len(values):
        return None
    if name == "mse":
        return float(values.var())
    if name.startswith("ndcg"):
        return ndcg(values, np.zeros(len(values)), k)
    return {"r2": 0.0, "spearman": 0.0, "kendall": 0.0, "pairwise_accuracy": 0.5}[name]


def mse(targets: ArrayLike, ratings: ArrayLike) -> float | None:
    """Mean squared error; None for no values."""
    one, other = _pair(targets, ratings)
    return float(np.mean((one - other) ** 2)) if len(one) else None


def r2(targets: ArrayLike, ratings: ArrayLike) -> float | None:
    """Coefficient of determination: 1 - the error's sum of squares / the targets' about their mean. At most 1.

    None where the targets do not differ.
    """
    one, other = _pair(targets, ratings)
    if _constant(one):
        return None
    return float(1.0 - np.sum((one - other) ** 2) / np.sum((one - one.mean()) ** 2))


def spearman(targets: ArrayLike, ratings: ArrayLike) -> float | None:
    """Spearman's rho, the correlation of ranks, ties sharing their mean rank. None where either side is constant."""
    from scipy.stats import rankdata

    one, other = _pair(targets, ratings)
    if _constant(one) or _constant(other):
        return None
    a, b = (rankdata(values) - (len(one) + 1) / 2 for values in (one, other))
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def kendall(targets: ArrayLike, ratings: ArrayLike) -> float | None:
    """Kendall's tau-b, of which ties count on neither side. None where either side is constant."""
    from scipy.stats import kendalltau

    one, other = _pair(targets, ratings)
    if _constant(one) or _constant(other):
        return None
    if len(one) == 2:  # scipy's p-value, not wanted here, divides by zero
        return float(np.sign(one[1] - one[0]) * np.sign(other[1] - other[0]))
    return float(kendalltau(one, other, method="asymptotic").statistic)


def pairwise_accuracy(targets: ArrayLike, ratings: ArrayLike) -> float | None:
    """The share of pairs with different targets that the ratings put in the right order; an equal rating counts half.

    None where no two targets differ. It is (1 + d) / 2 with Somers' d, which follows from tau-b in O(n log n).
    """
    one, other = _pair(targets, ratings)
    if _constant(one):
        return None
    tau = kendall(one, other)
    if tau is None:
        return 0.5
    untied, untied_ratings = _untied_pairs(one), _untied_pairs(other)
    return float(np.clip(0.5 + 0.5 * tau * np.sqrt(untied_ratings / untied), 0.0, 1.0))


def _untied_pairs(values: Vector) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float(len(values) * (len(values) - 1) / 2 - (counts * (counts - 1) / 2).sum())


def ndcg(targets: ArrayLike, ratings: ArrayLike, k: int) -> float | None:
    """Normalised discounted cumulative gain of the k best rated (Järvelin and Kekäläinen 2002), gains the targets.

    Equal ratings share their mean gain, as if their order were drawn at random (McSherry and Najork 2008). 1 where the
    k best come first in the right order. None where a target is negative or none is above 0.
    """
    gains, scores = _pair(targets, ratings)
    if not len(gains) or gains.min() < 0.0 or gains.max() <= 0.0:
        return None
    discounts = 1.0 / np.log2(np.arange(len(gains)) + 2.0)
    discounts[k:] = 0.0
    _, group = np.unique(-scores, return_inverse=True)
    counts = np.bincount(group)
    mean_gains = np.bincount(group, weights=gains) / counts
    ends = np.cumsum(counts)
    totals = np.concatenate([[0.0], np.cumsum(discounts)])
    found = mean_gains @ (totals[ends] - totals[ends - counts])
    return float(np.clip(found / (np.sort(gains)[::-1] @ discounts), 0.0, 1.0))


def _pair(targets: ArrayLike, ratings: ArrayLike) -> tuple[Vector, Vector]:
    one, other = _vector(targets), _vector(ratings)
    if one.shape != other.shape:
        raise ValueError(f"{len(one)} targets and {len(other)} ratings are not pairs")
    return one, other


def _vector(values: ArrayLike) -> Vector:
    vector: Vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError("targets and ratings are vectors of finite numbers")
    return vector


def _constant(values: NDArray[Any]) -> bool:
    return len(values) < 2 or bool(np.all(values == values[0]))
