"""The baseline on features: it learns, it loads like any rater, and it refuses to be climbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as ReferenceRidge

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater import ensemble, mfcc, networks, ridge, trees, weights
from hitchain.rater.features import NAMES, features
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.uncertainty import Calibration

RATE = 32_000


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Features of noises and their targets: how dark the noise is."""
    random = np.random.default_rng(0)
    darkness = random.uniform(0.0, 0.95, 60)
    return np.stack([features(noise(dark, random), RATE) for dark in darkness]), darkness


def noise(darkness: float, random: np.random.Generator) -> np.ndarray:
    import scipy.signal

    white = random.standard_normal((2, RATE))
    return scipy.signal.lfilter([1.0], [1.0, -darkness], white, axis=-1)


@pytest.mark.parametrize("learner", mfcc.LEARNERS)
def test_the_baseline_learns_and_loads_like_any_rater(
    rows: tuple[np.ndarray, np.ndarray], learner: str, tmp_path: Path
) -> None:
    mfcc.save(
        tmp_path / "rater.safetensors", mfcc.fit(*rows, learner, about={"target_mean": 1.0, "target_deviation": 2.0})
    )
    loaded = rater.load(tmp_path)
    random = np.random.default_rng(1)
    audio = torch.from_numpy(np.stack([noise(dark, random) for dark in (0.1, 0.5, 0.9)])).float()
    ratings = loaded(audio, RATE)
    assert ratings.shape == (3,)
    assert float((ratings - torch.tensor([0.1, 0.5, 0.9])).abs().max()) < 0.15
    assert loaded.rate(audio, RATE).shape == (3, 1)
    assert float(loaded.to_popularity(ratings)[0]) == pytest.approx(1.0 + 2.0 * float(ratings[0]), rel=1e-5)
    assert loaded.tasks(audio, RATE) == {}


def test_no_gradient_is_given(rows: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    mfcc.save(tmp_path / "judge.safetensors", mfcc.fit(*rows))
    judge, audio = rater.load(tmp_path / "judge.safetensors"), torch.randn(1, 2, RATE, requires_grad=True)
    with pytest.raises(UserError, match=r"judge, but not be climbed.*mel_cnn"):
        judge(audio, RATE)
    with torch.no_grad():
        assert torch.isfinite(judge(audio, RATE)).all()


def test_an_ensemble_of_trees_has_an_interval(rows: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    names = [f"member-{seed}/rater.safetensors" for seed in (0, 1)]
    for seed, name in enumerate(names):
        mfcc.save(tmp_path / name, mfcc.fit(*rows, seed=seed))
    ensemble.save(tmp_path, names, Calibration(1.0, 0.01, (0.5, 1.0, 1.5, 2.0), 4))
    audio = torch.randn(2, 2, RATE)
    low, high = rater.load(tmp_path).interval(audio, RATE, 0.8)
    assert torch.all(high - low >= 2 * 2.0 * 0.1 - 1e-6)


def test_trees_and_networks_do_not_mix(rows: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    mfcc.save(tmp_path / "a.safetensors", mfcc.fit(*rows, "ridge"))
    network = networks.create("jynet", 80, width=8)
    weights.save(tmp_path / "b.safetensors", network, "jynet", {"width": 8}, FrontEndSettings(), {})
    ensemble.save(tmp_path, ["a.safetensors", "b.safetensors"])
    with pytest.raises(UserError, match="cannot be averaged"):
        rater.load(tmp_path)


def test_other_features_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    trees.save(tmp_path / "t.safetensors", trees.fit(random.random((9, 2)), random.random(9), ("a", "b")))
    with pytest.raises(UserError, match="fitted on 2 features"):
        rater.load(tmp_path / "t.safetensors")


def test_ridge_is_sklearns_ridge_on_standardised_features(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    matrix = random.uniform(-1.0, 1.0, (80, 5)) * [1, 10, 0.1, 5, 0] + [0, 100, 0, -3, 7]
    goal = matrix @ [1.0, 0.2, 3.0, 0.0, 0.0] + 0.1 * random.standard_normal(80)
    ours = ridge.fit(matrix, goal, tuple("abcde"))
    deviation = np.where(matrix.std(0) > 0, matrix.std(0), 1.0)
    model = ReferenceRidge(alpha=float(ours.about["penalty"])).fit((matrix - matrix.mean(0)) / deviation, goal)
    np.testing.assert_allclose(ours.predict(matrix), model.predict((matrix - matrix.mean(0)) / deviation), rtol=1e-8)
    ridge.save(tmp_path / "r", ours)
    np.testing.assert_array_equal(ridge.load(tmp_path / "r").predict(matrix), ours.predict(matrix))
    far = ours.predict(np.full((1, 5), 1e9))
    assert np.abs(far - ours.intercept).max() <= ridge.REACH * np.abs(ours.coefficients).sum() * (1 + 1e-12)


Break = Callable[[dict[str, torch.Tensor], dict[str, object]], object]
BREAKS: dict[str, Break] = {
    "list of words": lambda tensors, header: header.update(names="ab"),
    "finite `intercept`": lambda tensors, header: header.update(intercept=None),
    "must hold the tensors": lambda tensors, header: tensors.update(mean=torch.zeros(1)),
    "above 0": lambda tensors, header: tensors.update(deviation=tensors["deviation"] * 0),
}


@pytest.mark.parametrize("words", BREAKS)
def test_broken_ridges_are_refused(tmp_path: Path, words: str) -> None:
    random = np.random.default_rng(0)
    ridge.save(tmp_path / "r", ridge.fit(random.random((9, len(NAMES))), random.random(9), NAMES))
    tensors, header = weights.load_tensors(tmp_path / "r")
    BREAKS[words](tensors, header)
    weights.save_tensors(tmp_path / "r", tensors, header)
    with pytest.raises(UserError, match=words):
        rater.load(tmp_path / "r")
