"""Intervals: coverage under several laws of error, the formula, and an ensemble's folder."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater import ensemble, networks, uncertainty, weights
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.uncertainty import Calibration

LAWS = {
    "normal": lambda random, n: random.standard_normal(n),
    "laplace": lambda random, n: random.laplace(size=n),
    "student": lambda random, n: random.standard_t(3, size=n),
    "skewed": lambda random, n: random.exponential(size=n) - 1.0,
    "uniform": lambda random, n: random.uniform(-1.0, 1.0, n),
}


def draw(law: str, songs: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ratings of three members, who differ more where they err more, and targets with noise of a law."""
    truth, doubt = random.standard_normal(songs), np.exp(random.normal(-1.0, 0.7, songs))
    ratings = truth[:, None] + doubt[:, None] * random.standard_normal((songs, 3))
    return ratings, truth + 0.4 * LAWS[law](random, songs) + 0.5 * doubt * random.standard_normal(songs)


@pytest.mark.parametrize("law", LAWS)
def test_intervals_cover_what_they_say_whatever_the_law_of_the_errors(law: str) -> None:
    """Coverage of a conformal interval from n scores is Beta(k, n + 1 - k) with k = ceil((n + 1) level)."""
    random = np.random.default_rng(1)
    calibration = uncertainty.fit(*draw(law, 400, random))
    ratings, targets = draw(law, 4000, random)
    for level in (0.5, 0.9):
        ends = calibration.interval(ratings.mean(1), uncertainty.member_spread(ratings), level)
        rank = math.ceil(401 * level)
        low, high = scipy.stats.beta(rank, 401 - rank).ppf([0.001, 0.999])
        measured = uncertainty.coverage(*ends, targets)
        assert measured.high > low
        assert measured.low < high
        assert measured.low < measured.share < measured.high


def test_intervals_are_wider_where_the_members_differ() -> None:
    calibration = uncertainty.fit(*draw("normal", 400, np.random.default_rng(0)))
    narrow, wide = calibration.deviation(np.array([0.1, 1.0]))
    assert wide > 1.5 * narrow


def test_the_likelihood_finds_temperature_and_residual() -> None:
    random = np.random.default_rng(3)
    spread = np.exp(random.normal(0.0, 1.0, 20_000))
    error = 1.7 * np.sqrt(spread**2 + 0.25) * random.standard_normal(20_000)
    temperature, residual = uncertainty._most_likely(error, spread)
    assert temperature == pytest.approx(1.7, rel=0.03)
    assert residual == pytest.approx(0.25, rel=0.15)


def test_one_member_has_its_residuals_alone() -> None:
    random = np.random.default_rng(0)
    targets = random.standard_normal(400)
    ratings = targets[:, None] + 0.3 * random.standard_normal((400, 1))
    calibration = uncertainty.fit(ratings, targets)
    assert calibration.temperature == 1.0
    assert calibration.residual_variance == pytest.approx(0.09, rel=0.2)
    low, high = calibration.interval(np.zeros(1), np.zeros(1), 0.9)
    assert float((high - low)[0]) == pytest.approx(2 * 1.645 * 0.3, rel=0.15)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 60), st.integers(1, 4), st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_intervals_are_nested_and_follow_the_unit(songs: int, members: int, seed: int, unit: float) -> None:
    random = np.random.default_rng(seed)
    targets = random.standard_normal(songs)
    ratings = targets[:, None] + random.standard_normal((songs, members))
    calibration, scaled = uncertainty.fit(ratings, targets), uncertainty.fit(ratings * unit, targets * unit)
    mean, spread = ratings.mean(1), uncertainty.member_spread(ratings)
    ends = [calibration.interval(mean, spread, level) for level in (0.5, 0.8, 0.9, 0.99)]
    for (inner_low, inner_high), (low, high) in itertools.pairwise(ends):
        assert np.all(low <= inner_low)
        assert np.all(inner_low <= inner_high)
        assert np.all(inner_high <= high)
    np.testing.assert_allclose(
        np.median(scaled.deviation(spread * unit)), unit * np.median(calibration.deviation(spread)), rtol=0.05
    )
    assert Calibration.from_dict(json.loads(json.dumps(calibration.as_dict()))) == calibration


def test_whole_groups_share_a_fold() -> None:
    groups = ["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d"]
    folds = uncertainty._folds(11, groups)
    assert all(
        len({int(fold) for fold, group in zip(folds, groups, strict=True) if group == name}) == 1 for name in "abcd"
    )
    assert abs(int(folds.sum()) * 2 - 11) <= 1


def test_many_scores_are_thinned_without_narrowing() -> None:
    random = np.random.default_rng(0)
    calibration = uncertainty.fit(random.standard_normal((5003, 1)), np.zeros(5003))
    assert len(calibration.scores) == uncertainty.MOST_SCORES
    assert calibration.songs == 5003
    assert calibration.factor(0.9) == pytest.approx(1.645, rel=0.05)


def test_few_songs_fall_back_on_students_law() -> None:
    calibration = Calibration(1.0, 1.0, (0.1, 0.2, 0.3, 0.4), 4)
    assert calibration.factor(0.8) == 0.4
    assert calibration.factor(0.9) == pytest.approx(scipy.stats.t.ppf(0.95, 3))


@pytest.mark.parametrize("level", [0.0, 1.0, -1, 90, True, "0.9"])
def test_impossible_levels_are_refused(level: object) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        Calibration(1.0, 1.0, (0.1, 0.2, 0.3, 0.4), 4).factor(level)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ratings", "targets", "words"),
    [
        (np.zeros((3, 2)), np.zeros(3), "4 validation recordings"),
        (np.zeros((5, 2)), np.zeros(4), "do not fit"),
        (np.full((5, 2), np.nan), np.zeros(5), "finite"),
    ],
)
def test_unfit_validation_is_refused(ratings: np.ndarray, targets: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        uncertainty.fit(ratings, targets)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An ensemble of three small networks with a label head, and its calibration."""
    names = []
    for number, architecture in enumerate(("mel_cnn", "jynet", "mel_tcn")):
        torch.manual_seed(number)
        heads = {"genre": ["folk", "jazz"]} if number < 2 else None
        network = networks.create(architecture, 80, heads, width=8)
        about = {"target_mean": 0.4, "target_deviation": 2.0}
        names.append(f"member-{number}/rater.safetensors")
        weights.save(tmp_path / names[-1], network, architecture, {"width": 8}, FrontEndSettings(), about)
    calibration = uncertainty.fit(*draw("normal", 40, np.random.default_rng(0)))
    ensemble.save(tmp_path, names, calibration, [(1.0, 0.0), (2.0, 0.5), (1.0, -0.5)], {"target_deviation": 3.0})
    return tmp_path


def test_an_ensembles_folder_is_a_rater_with_an_interval(folder: Path, music: torch.Tensor) -> None:
    loaded = rater.load(folder)
    assert loaded.names == ["member-0", "member-1", "member-2"]
    singles = [rater.load(folder / f"member-{number}")(music, 44_100) for number in range(3)]
    wanted = torch.stack([singles[0], 2 * singles[1] + 0.5, singles[2] - 0.5], dim=1)
    torch.testing.assert_close(loaded.each(music, 44_100), wanted, atol=1e-5, rtol=1e-5)
    low, high = loaded.interval(music, 44_100, 0.8)
    assert loaded.calibration is not None
    mean, spread = wanted.mean(1).numpy().astype(float), wanted.std(1).numpy().astype(float)
    expected = loaded.calibration.interval(mean, spread, 0.8)
    np.testing.assert_allclose([float(low), float(high)], np.ravel(expected), rtol=1e-4)
    rating = torch.tensor([1.0])
    assert float(loaded.to_popularity(rating)) == pytest.approx(0.4 + 3.0)


def test_label_heads_give_probabilities_by_class(folder: Path, music: torch.Tensor) -> None:
    loaded = rater.load(folder)
    said = loaded.tasks(music, 44_100)
    assert said.keys() == {"genre"}
    assert list(said["genre"]) == ["folk", "jazz"]
    assert float(sum(said["genre"].values())) == pytest.approx(1.0)
    singles = [rater.load(folder / f"member-{number}").tasks(music, 44_100)["genre"]["jazz"] for number in (0, 1)]
    torch.testing.assert_close(said["genre"]["jazz"], torch.stack(singles).mean(0))
    assert rater.load(folder / "member-2").tasks(music, 44_100) == {}


def test_a_rater_without_calibration_gives_no_interval(music: torch.Tensor) -> None:
    with pytest.raises(UserError, match="not calibrated"):
        rater.load("appeal").interval(music, 44_100)


CHANGES: dict[str, dict[str, object]] = {
    "`format` must be": {"format": "other"},
    "format version is 2": {"version": 2},
    "1 to 100 different": {"members": []},
    "own folder": {"members": ["../elsewhere/rater.safetensors", "b", "c"]},
    "in the rater's own folder": {"members": ["/etc/passwd", "b", "c"]},
    "slope and an offset": {"scales": [[1.0, 0.0]]},
    "must ascend": {"calibration": {"temperature": 1, "residual_variance": 1, "scores": [4, 3, 2, 1], "songs": 4}},
    "not negative": {"calibration": {"temperature": -1, "residual_variance": 1, "scores": [1, 2, 3, 4], "songs": 4}},
    "weights file not found": {"members": ["member-0/rater.safetensors", "member-1/rater.safetensors", "gone"]},
}


@pytest.mark.parametrize("words", CHANGES)
def test_broken_listings_are_refused(folder: Path, words: str) -> None:
    content = json.loads((folder / "rater.json").read_text())
    (folder / "rater.json").write_text(json.dumps({**content, **CHANGES[words]}))
    with pytest.raises(UserError, match=words):
        rater.load(folder)


def test_a_listing_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / "rater.json").write_text('{"format": ')
    with pytest.raises(UserError, match="not valid JSON"):
        rater.load(folder)
