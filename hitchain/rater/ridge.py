"""Ridge regression on features: the plainest rater there is, kept as plain arrays like the trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hitchain.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "hitchain-ridge"
VERSION = 1
PENALTIES = tuple(10.0 ** (power / 2) for power in range(-4, 13))
REACH = 4.0
"""Deviations beyond which a feature counts no further: a line knows nothing of recordings unlike all it has seen."""


@dataclass(frozen=True)
class Ridge:
    """intercept + coefficients . clip((row - mean) / deviation, -REACH, REACH).

    Attributes:
        names: of the features. mean, deviation, coefficients: (features,) each.
        about: JSON values kept in the file, with the `penalty` that was chosen.
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercept: float
    about: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, matrix: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(rows, features) -> (rows,)."""
        rows = np.asarray(matrix, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.names) or not np.isfinite(rows).all():
            raise UserError(f"this ridge takes finite (rows, {len(self.names)}) features, not {rows.shape}.")
        standard = np.clip((rows - self.mean) / self.deviation, -REACH, REACH)
        result: NDArray[np.float64] = self.intercept + standard @ self.coefficients
        return result


def fit(
    matrix: NDArray[np.floating[Any]],
    targets: NDArray[np.floating[Any]],
    names: Sequence[str],
    about: Mapping[str, Any] | None = None,
) -> Ridge:
    """Ridge regression on standardised features; of `PENALTIES` the one with the least leave-one-out error.

    Raises:
        UserError: shapes do not fit, a value is not finite, or there are fewer than three rows.
    """
    from sklearn.linear_model import RidgeCV

    rows, goal = np.asarray(matrix, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(names) or goal.shape != rows.shape[:1] or len(goal) < 3:
        raise UserError(f"ridge regression takes three rows or more of {len(names)} features, not {rows.shape}.")
    if not (np.isfinite(rows).all() and np.isfinite(goal).all()):
        raise UserError("features and targets must be finite.")
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    deviation = np.where(deviation > 1e-9 * (1.0 + np.abs(mean)), deviation, 1.0)
    standard = np.clip((rows - mean) / deviation, -REACH, REACH)
    model = RidgeCV(alphas=PENALTIES).fit(standard, goal)
    kept = {"penalty": float(model.alpha_), **(about or {})}
    return Ridge(tuple(names), mean, deviation, np.asarray(model.coef_), float(model.intercept_), kept)


def save(path: str | Path, ridge: Ridge) -> None:
    """Write a ridge to a safetensors file, whole or not at all."""
    import torch

    from hitchain.rater.weights import save_tensors

    header = {
        "format": FORMAT, "version": VERSION, "names": list(ridge.names), "intercept": ridge.intercept,
        "about": dict(ridge.about),
    }  # fmt: skip
    arrays = {name: getattr(ridge, name) for name in ("mean", "deviation", "coefficients")}
    save_tensors(path, {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, header)


def load(path: str | Path) -> Ridge:
    """The ridge in a file. Raises `UserError` where it is missing, truncated, or holds something else."""
    from hitchain.rater.weights import load_tensors

    tensors, header = load_tensors(path)
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise UserError(f"{path} does not hold a ridge of version {VERSION} ({header.get('format')!r} in its header).")
    names, about, intercept = header.get("names"), header.get("about"), header.get("intercept")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: `names` in its header must be a list of words.")
    if not isinstance(about, dict) or not isinstance(intercept, float) or not np.isfinite(intercept):
        raise UserError(f"{path}: its header must hold a finite `intercept` and `about`.")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    wanted = {"mean", "deviation", "coefficients"}
    if arrays.keys() != wanted or any(a.shape != (len(names),) or a.dtype != np.float64 for a in arrays.values()):
        raise UserError(f"{path} must hold the tensors {', '.join(sorted(wanted))}, {len(names)} float64 numbers each.")
    if not all(np.isfinite(array).all() for array in arrays.values()) or not (arrays["deviation"] > 0.0).all():
        raise UserError(f"{path}: its numbers must be finite and its deviations above 0.")
    return Ridge(tuple(names), **arrays, intercept=intercept, about=about)
