"""Gradient-boosted regression trees: fitted by scikit-learn, kept as plain arrays, predicted in NumPy.

A file of trees is safetensors with a JSON header, so nothing in it can run code, and it is read without scikit-learn,
whatever version fitted it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hitchain.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = "hitchain-trees"
VERSION = 1
EXACT_ROWS = 10_000
"""Up to so many rows splits are searched exactly; with more, among 255 quantiles (scikit-learn's histogram trees)."""
ROWS_AT_ONCE = 4_096
DTYPES = {
    "feature": np.int32, "threshold": np.float64, "left": np.int32, "right": np.int32, "value": np.float64,
    "roots": np.int32,
}  # fmt: skip


@dataclass(frozen=True)
class TreeSettings:
    """How trees are grown. Small steps, shallow trees and random subsets: made for hundreds of recordings.

    trees, learning_rate: number of trees, and the share of each that counts. depth: questions on the way to a leaf.
    leaf_rows: rows a leaf must hold. feature_share: features looked at for a split. row_share: rows each tree sees
    (all of them in histogram trees).
    """

    trees: int = 400
    learning_rate: float = 0.05
    depth: int = 4
    leaf_rows: int = 5
    feature_share: float = 0.3
    row_share: float = 0.7


@dataclass(frozen=True)
class Trees:
    """A sum of regression trees: baseline + the value of the leaf that a row reaches in each tree.

    Attributes:
        names: of the features, in the order of a row's entries.
        baseline: what no tree would say.
        feature: (nodes,) the feature a node asks about; -1 in a leaf.
        threshold: (nodes,) left where the feature is at most that.
        left, right: (nodes,) the nodes that follow, always later ones of the same tree.
        value: (nodes,) what a leaf adds, the learning rate included.
        roots: (trees,) each tree's first node.
        single: whether features are rounded to float32 before they are compared, as scikit-learn's exact trees do.
        about: JSON values kept in the file, for a popularity rater with `target_mean` and `target_deviation`.
    """

    names: tuple[str, ...]
    baseline: float
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    roots: NDArray[np.int32]
    single: bool
    about: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, matrix: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(rows, features) -> (rows,), the same numbers as scikit-learn's `predict`.

        Raises:
            UserError: the matrix has another number of features, or holds NaN or infinity.
        """
        rows = _checked(matrix, self.names)
        parts = [self._predict(rows[start : start + ROWS_AT_ONCE]) for start in range(0, len(rows), ROWS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        asked = rows.astype(np.float32).astype(np.float64) if self.single else rows
        node = np.tile(self.roots, (len(rows), 1))
        here = np.arange(len(rows))[:, None]
        while (inner := self.feature[node] >= 0).any():
            goes_left = asked[here, np.maximum(self.feature[node], 0)] <= self.threshold[node]
            node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
        # A running sum adds tree after tree, as scikit-learn does; `sum` would add in pairs and round differently.
        steps = np.concatenate([np.full((len(rows), 1), self.baseline), self.value[node]], axis=1)
        result: NDArray[np.float64] = np.cumsum(steps, axis=1)[:, -1]
        return result


def fit(
    matrix: NDArray[np.floating[Any]],
    targets: NDArray[np.floating[Any]],
    names: Sequence[str],
    settings: TreeSettings | None = None,
    seed: int = 0,
    weights: NDArray[np.floating[Any]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Trees:
    """Boosted trees under squared error (Friedman 2001, 2002). The same rows and seed give the same trees.

    Args:
        matrix: (rows, features), finite.
        targets: (rows,), finite.
        names: of the features.
        weights: (rows,) how much each row counts, >= 0; None for all the same.
        about: JSON values to keep beside the trees.

    Raises:
        UserError: shapes do not fit, a value is not finite, a setting is out of range, or there are too few rows.
    """
    settings = settings or TreeSettings()
    _check_settings(settings)
    rows = _checked(matrix, names)
    goal = np.asarray(targets, dtype=np.float64)
    importance = None if weights is None else np.asarray(weights, dtype=np.float64)
    for what, column in (("targets", goal), ("weights", importance)):
        if column is not None and (column.shape != (len(rows),) or not np.isfinite(column).all()):
            raise UserError(f"{what} must be {len(rows)} finite numbers, one a row; their shape is {column.shape}.")
    if importance is not None and ((importance < 0.0).any() or importance.sum() <= 0.0):
        raise UserError("weights must be 0 or more, and not all 0.")
    if len(rows) < 2:
        raise UserError(f"boosted trees need two rows or more to learn from, not {len(rows)}.")
    grow = _exact if len(rows) <= EXACT_ROWS else _histogram
    return grow(rows, goal, importance, tuple(names), settings, seed, {"settings": asdict(settings), **(about or {})})


def _exact(
    rows: NDArray[np.float64],
    goal: NDArray[np.float64],
    importance: NDArray[np.float64] | None,
    names: tuple[str, ...],
    settings: TreeSettings,
    seed: int,
    about: Mapping[str, Any],
) -> Trees:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=settings.trees, learning_rate=settings.learning_rate, max_depth=settings.depth,
        min_samples_leaf=settings.leaf_rows, max_features=settings.feature_share, subsample=settings.row_share,
        random_state=seed,
    ).fit(rows, goal, sample_weight=importance)  # fmt: skip
    grown = [estimator.tree_ for estimator in model.estimators_[:, 0]]
    tables = [
        {
            "feature": np.where(tree.children_left < 0, -1, tree.feature), "threshold": tree.threshold,
            "left": tree.children_left, "right": tree.children_right,
            "value": settings.learning_rate * tree.value[:, 0, 0],
        }
        for tree in grown
    ]  # fmt: skip
    return Trees(names, float(model.init_.constant_.ravel()[0]), **_joined(tables), single=True, about=about)


def _histogram(
    rows: NDArray[np.float64],
    goal: NDArray[np.float64],
    importance: NDArray[np.float64] | None,
    names: tuple[str, ...],
    settings: TreeSettings,
    seed: int,
    about: Mapping[str, Any],
) -> Trees:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=settings.trees, learning_rate=settings.learning_rate, max_depth=settings.depth, max_leaf_nodes=None,
        min_samples_leaf=settings.leaf_rows, max_features=settings.feature_share, early_stopping=False,
        random_state=seed,
    ).fit(rows, goal, sample_weight=importance)  # fmt: skip
    grown = [predictors[0].nodes for predictors in model._predictors]  # it has no public form
    tables = [
        {
            "feature": np.where(nodes["is_leaf"], -1, nodes["feature_idx"].astype(np.int32)),
            "threshold": nodes["num_threshold"], "left": nodes["left"], "right": nodes["right"],
            "value": nodes["value"],
        }
        for nodes in grown
    ]  # fmt: skip
    return Trees(names, float(np.ravel(model._baseline_prediction)[0]), **_joined(tables), single=False, about=about)


def _joined(tables: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, Any]:
    """The node tables of all trees behind each other, with children counted from the first node of all."""
    sizes = [len(table["feature"]) for table in tables]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    joined: dict[str, Any] = {"roots": roots}
    for name in ("feature", "threshold", "left", "right", "value"):
        parts = []
        for table, root in zip(tables, roots, strict=True):
            leaf = table["feature"] < 0
            column = np.asarray(table[name])
            if name in ("left", "right"):
                column = np.where(leaf, -1, column.astype(np.int64) + root)
            elif name == "threshold":
                column = np.where(leaf, 0.0, column)
            elif name == "value":
                column = np.where(leaf, column, 0.0)
            parts.append(column.astype(DTYPES[name]))
        joined[name] = np.concatenate(parts)
    return joined


def save(path: str | Path, trees: Trees) -> None:
    """Write trees to a safetensors file, whole or not at all."""
    import torch

    from hitchain.rater.weights import save_tensors

    header = {
        "format": FORMAT, "version": VERSION, "names": list(trees.names), "baseline": trees.baseline,
        "single": trees.single, "about": dict(trees.about),
    }  # fmt: skip
    save_tensors(path, {name: torch.from_numpy(np.array(getattr(trees, name))) for name in DTYPES}, header)


def load(path: str | Path) -> Trees:
    """The trees in a file.

    Raises:
        UserError: the file is missing, truncated, holds no trees, or its trees do not hang together.
    """
    from hitchain.rater.weights import load_tensors

    tensors, header = load_tensors(path)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} does not hold trees (its header says {header.get('format')!r}, not {FORMAT!r}).")
    if header.get("version") != VERSION:
        raise UserError(f"{path} has tree format version {header.get('version')!r}; this hitchain reads {VERSION}.")
    names, about, baseline = header.get("names"), header.get("about"), header.get("baseline")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(about, dict):
        raise UserError(f"{path}: `names` in its header must be a list of words and `about` an object.")
    if isinstance(baseline, bool) or not isinstance(baseline, int | float) or not np.isfinite(baseline):
        raise UserError(f"{path}: `baseline` in its header must be a finite number.")
    if tensors.keys() != DTYPES.keys():
        raise UserError(f"{path} must hold the tensors {', '.join(DTYPES)}; it holds {', '.join(sorted(tensors))}.")
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if array.dtype != DTYPES[name] or array.ndim != 1:
            raise UserError(f"{path}: tensor {name} must be a row of {np.dtype(DTYPES[name])}, not {array.dtype}.")
    _check_nodes(arrays, len(names), path)
    return Trees(tuple(names), float(baseline), **arrays, single=bool(header.get("single")), about=about)


def _check_nodes(arrays: Mapping[str, NDArray[Any]], features: int, path: str | Path) -> None:
    """Refuse nodes that point nowhere or back: a walk through them would leave the arrays or never end."""
    feature, roots = arrays["feature"], arrays["roots"]
    count = len(feature)
    if any(len(arrays[name]) != count for name in DTYPES if name != "roots"):
        raise UserError(f"{path}: its node tables differ in length.")
    numbers = np.arange(count)
    inner = feature >= 0
    for name in ("left", "right"):
        child = arrays[name]
        if (inner & ((child <= numbers) | (child >= count))).any():
            raise UserError(f"{path}: a node's {name} child does not come after it: the trees do not hang together.")
    if (feature >= features).any() or (roots < 0).any() or (roots >= count).any() or len(roots) == 0:
        raise UserError(f"{path}: a node asks about a feature, or a tree begins at a node, that does not exist.")
    if not (np.isfinite(arrays["threshold"]).all() and np.isfinite(arrays["value"]).all()):
        raise UserError(f"{path}: its thresholds or values hold NaN or infinity.")


def _checked(matrix: NDArray[np.floating[Any]], names: Sequence[str]) -> NDArray[np.float64]:
    rows = np.asarray(matrix, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise UserError(f"these trees take (rows, {len(names)}) features, not an array of shape {rows.shape}.")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise UserError(f"feature {names[column]} of row {row} is {rows[row, column]}; features are finite numbers.")
    return rows


_RANGES: dict[str, tuple[float, float]] = {
    "trees": (1, 10_000),
    "learning_rate": (1e-4, 1.0),
    "depth": (1, 16),
    "leaf_rows": (1, 1_000_000),
    "feature_share": (0.01, 1.0),
    "row_share": (0.1, 1.0),
}


def _check_settings(settings: TreeSettings) -> None:
    whole = ("trees", "depth", "leaf_rows")
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        kinds = (int,) if name in whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            what = "a whole number" if name in whole else "a number"
            raise UserError(f"trees: {name} is {value!r}; it must be {what} from {low:g} to {high:g}.")
