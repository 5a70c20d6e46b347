"""Trees: the same predictions as scikit-learn, the same bytes for the same seed, and files that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

from hitchain.errors import UserError
from hitchain.rater import trees
from hitchain.rater.trees import Trees, TreeSettings
from hitchain.rater.weights import load_tensors, save_tensors

SETTINGS = TreeSettings(trees=30, depth=3)
COLUMNS = ("first", "second", "third", "fourth")


def data(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((rows, len(COLUMNS)))
    return matrix, np.sin(2 * matrix[:, 0]) + matrix[:, 1] * (matrix[:, 2] > 0) + 0.1 * random.standard_normal(rows)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 300), st.integers(0, 1000), st.integers(1, 6))
def test_exact_trees_predict_what_sklearn_predicts(rows: int, seed: int, depth: int) -> None:
    matrix, goal = data(rows, seed)
    chosen = TreeSettings(trees=12, depth=depth, leaf_rows=1)
    model = GradientBoostingRegressor(
        n_estimators=12, learning_rate=0.05, max_depth=depth, min_samples_leaf=1, max_features=0.3, subsample=0.7,
        random_state=seed,
    ).fit(matrix, goal)  # fmt: skip
    new = data(500, seed + 1)[0]
    np.testing.assert_array_equal(trees.fit(matrix, goal, COLUMNS, chosen, seed).predict(new), model.predict(new))


def test_histogram_trees_predict_what_sklearn_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "EXACT_ROWS", 100)
    matrix, goal = data(2000)
    model = HistGradientBoostingRegressor(
        max_iter=30, learning_rate=0.05, max_depth=3, max_leaf_nodes=None, min_samples_leaf=5, max_features=0.3,
        early_stopping=False, random_state=7,
    ).fit(matrix, goal)  # fmt: skip
    new = data(5000, 1)[0]
    ours = trees.fit(matrix, goal, COLUMNS, SETTINGS, 7)
    assert not ours.single
    np.testing.assert_array_equal(ours.predict(new), model.predict(new))


def test_thresholds_decide_as_sklearn_at_and_beside_them() -> None:
    matrix, goal = data(200)
    model = GradientBoostingRegressor(
        n_estimators=30, learning_rate=0.05, max_depth=3, min_samples_leaf=5, max_features=0.3, subsample=0.7,
        random_state=0,
    ).fit(matrix, goal)  # fmt: skip
    ours = trees.fit(matrix, goal, COLUMNS, SETTINGS)
    edges = ours.threshold[ours.feature >= 0]
    new = np.concatenate([np.tile(edge[:, None], 4) for edge in (edges, np.nextafter(edges, 9), edges * (1 + 1e-9))])
    np.testing.assert_array_equal(ours.predict(new), model.predict(new))


def test_trees_learn() -> None:
    matrix, goal = data(600)
    new, truth = data(600, 1)
    ours = trees.fit(matrix, goal, COLUMNS, TreeSettings())
    assert np.mean((ours.predict(new) - truth) ** 2) < 0.25 * truth.var()


def test_weights_count_rows() -> None:
    matrix, goal = data(300)
    heavy = np.where(matrix[:, 0] > 0, 1.0, 0.0)
    ours = trees.fit(matrix, np.where(matrix[:, 0] > 0, goal, 100.0), COLUMNS, SETTINGS, weights=heavy)
    assert np.abs(ours.predict(matrix)).max() < 10.0


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    matrix, goal = data(300)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        trees.save(tmp_path / name, trees.fit(matrix, goal, COLUMNS, SETTINGS, seed))
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third


def test_trees_travel_through_a_file(tmp_path: Path) -> None:
    matrix, goal = data(300)
    ours = trees.fit(matrix, goal, COLUMNS, SETTINGS, about={"target_mean": 0.5})
    trees.save(tmp_path / "t.safetensors", ours)
    read = trees.load(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(read.predict(matrix), ours.predict(matrix))
    assert read.names == COLUMNS
    assert read.about["target_mean"] == 0.5


Break = Callable[[dict[str, torch.Tensor], dict[str, object]], None]
BREAKS: dict[str, Break] = {
    "does not hold trees": lambda tensors, header: header.update(format="other"),
    "version 9": lambda tensors, header: header.update(version=9),
    "list of words": lambda tensors, header: header.update(names=3),
    "finite number": lambda tensors, header: header.update(baseline="0"),
    "must hold the tensors": lambda tensors, header: tensors.__delitem__("left"),
    "must be a row of": lambda tensors, header: tensors.update(value=tensors["value"].float()),
    "differ in length": lambda tensors, header: tensors.update(value=tensors["value"][1:].clone()),
    "does not come after it": lambda tensors, header: tensors.update(left=tensors["left"] * 0),
    "does not exist": lambda tensors, header: tensors.update(roots=tensors["roots"] + 100_000),
    "NaN or infinity": lambda tensors, header: tensors.update(value=tensors["value"] * float("nan")),
}


@pytest.mark.parametrize("words", sorted(BREAKS))
def test_broken_files_are_refused(tmp_path: Path, words: str) -> None:
    trees.save(tmp_path / "t", trees.fit(*data(100), COLUMNS, SETTINGS))
    tensors, header = load_tensors(tmp_path / "t")
    BREAKS[words](tensors, header)
    save_tensors(tmp_path / "t", tensors, header)
    with pytest.raises(UserError, match=words):
        trees.load(tmp_path / "t")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    trees.save(tmp_path / "t", trees.fit(*data(100), COLUMNS, SETTINGS))
    (tmp_path / "t").write_bytes((tmp_path / "t").read_bytes()[:-50])
    with pytest.raises(UserError, match="not a readable"):
        trees.load(tmp_path / "t")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"matrix": np.zeros((9, 3))}, r"\(rows, 4\)"),
        ({"matrix": np.full((9, 4), np.nan)}, "feature first of row 0 is nan"),
        ({"targets": np.zeros(8)}, "targets must be 9 finite"),
        ({"weights": -np.ones(9)}, "weights must be 0 or more"),
        ({"settings": TreeSettings(depth=0)}, "depth is 0"),
        ({"settings": TreeSettings(trees=1.5)}, "whole number"),  # type: ignore[arg-type]
        ({"matrix": np.zeros((1, 4)), "targets": np.zeros(1)}, "two rows"),
    ],
)
def test_unfit_rows_and_settings_are_refused(change: dict[str, object], words: str) -> None:
    given_rows = {"matrix": np.zeros((9, 4)), "targets": np.zeros(9), "names": COLUMNS, **change}
    with pytest.raises(UserError, match=words):
        trees.fit(**given_rows)  # type: ignore[arg-type]


def test_no_rows_have_no_predictions() -> None:
    assert isinstance(ours := trees.fit(*data(50), COLUMNS, SETTINGS), Trees)
    assert ours.predict(np.zeros((0, 4))).shape == (0,)
