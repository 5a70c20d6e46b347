"""Metrics against scipy, scikit-learn and counting by hand; bootstrap intervals against a known distribution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitchain.rater.evaluation import bootstrap, metrics

Vector = NDArray[np.float64]
values = st.integers(min_value=0, max_value=6).map(float)  # few values: many ties


@st.composite
def pairs(draw: st.DrawFn, fewest: int = 2) -> tuple[Vector, Vector]:
    size = draw(st.integers(fewest, 25))
    one, other = (draw(st.lists(values, min_size=size, max_size=size)) for _ in range(2))
    return np.array(one), np.array(other)


def random_pair(seed: int, ties: bool) -> tuple[Vector, Vector]:
    random = np.random.default_rng(seed)
    one = random.exponential(size=60)
    other = one + random.standard_normal(60)
    return (np.round(one), np.round(other)) if ties else (one, other)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_against_scipy_and_scikit_learn(seed: int, ties: bool) -> None:
    targets, ratings = random_pair(seed, ties)
    assert metrics.mse(targets, ratings) == pytest.approx(sklearn.metrics.mean_squared_error(targets, ratings))
    assert metrics.r2(targets, ratings) == pytest.approx(sklearn.metrics.r2_score(targets, ratings))
    assert metrics.spearman(targets, ratings) == pytest.approx(scipy.stats.spearmanr(targets, ratings).statistic)
    assert metrics.kendall(targets, ratings) == pytest.approx(scipy.stats.kendalltau(targets, ratings).statistic)
    d = scipy.stats.somersd(targets, ratings).statistic
    assert metrics.pairwise_accuracy(targets, ratings) == pytest.approx((1 + d) / 2)
    for k in (1, 5, 60, 100):
        expected = sklearn.metrics.ndcg_score(targets[None], ratings[None], k=k)
        assert metrics.ndcg(targets, ratings, k) == pytest.approx(expected)


@given(pairs())
def test_ties_are_counted_as_told(pair: tuple[Vector, Vector]) -> None:
    targets, ratings = pair
    signs = [
        (np.sign(targets[i] - targets[j]), np.sign(ratings[i] - ratings[j]))
        for i, j in itertools.combinations(range(len(targets)), 2)
    ]
    told = [(a, b) for a, b in signs if a != 0]
    right = sum(1.0 if a == b else 0.5 if b == 0 else 0.0 for a, b in told)
    found = metrics.pairwise_accuracy(targets, ratings)
    assert found is None if not told else found == pytest.approx(right / len(told))
    untied = [sum(pair[side] != 0 for pair in signs) for side in (0, 1)]
    found = metrics.kendall(targets, ratings)
    if 0 in untied:
        assert found is None
    else:
        assert found == pytest.approx(sum(a * b for a, b in signs) / np.sqrt(untied[0] * untied[1]))


@given(pairs(), st.integers(1, 30))
def test_nothing_is_nan_and_everything_in_range(pair: tuple[Vector, Vector], k: int) -> None:
    targets, ratings = pair
    ranges = {"r2": (-np.inf, 1.0), "spearman": (-1.0, 1.0), "kendall": (-1.0, 1.0), "mse": (0.0, np.inf)}
    for name, function in metrics.metrics(k).items():
        found, random = function(targets, ratings), metrics.chance(name, targets, k)
        low, high = ranges.get(name, (0.0, 1.0))
        assert found is None or low <= found <= high
        assert random is None or np.isfinite(random)


@given(pairs(fewest=3))
def test_an_order_is_all_that_rank_metrics_see(pair: tuple[Vector, Vector]) -> None:
    targets, ratings = pair
    stretched = np.expm1(ratings) * 3.0 + 1.0
    for name, function in metrics.metrics(3).items():
        if name not in metrics.NEEDS_A_SCALE:
            assert function(targets, stretched) == pytest.approx(function(targets, ratings))
    rho, turned = metrics.spearman(targets, ratings), metrics.spearman(targets, -ratings)
    assert (rho is None and turned is None) or rho == pytest.approx(-turned)  # type: ignore[operator]


def test_what_is_not_defined_is_none() -> None:
    flat, rising = np.zeros(5), np.arange(5.0)
    for name in ("r2", "spearman", "kendall", "pairwise_accuracy", "ndcg@3"):
        assert metrics.metrics(3)[name](flat, rising) is None
    assert metrics.spearman(rising, flat) is None
    assert metrics.kendall(rising, flat) is None
    assert metrics.pairwise_accuracy(rising, flat) == 0.5
    assert metrics.ndcg(rising - 1.0, rising, 3) is None
    assert metrics.mse([], []) is None
    with pytest.raises(ValueError, match="not pairs"):
        metrics.mse(rising, rising[:3])
    with pytest.raises(ValueError, match="finite"):
        metrics.spearman(rising, [0.0, 1.0, np.nan, 2.0, 3.0])


def test_chance_of_ndcg_is_the_mean_over_all_orders() -> None:
    targets = np.array([0.0, 1.0, 4.0, 2.0, 0.5])
    orders = [metrics.ndcg(targets, np.array(order, float), 2) for order in itertools.permutations(range(5))]
    assert metrics.chance("ndcg@2", targets, 2) == pytest.approx(np.mean(np.array(orders, float)))


def test_whole_artists_are_drawn() -> None:
    groups = bootstrap.clusters(["Ann", "Ben", " ann", "", "", "BEN"])
    assert groups.tolist() == [0, 1, 0, 2, 3, 1]
    for picked in bootstrap.draws(groups, 50, seed=1):
        counts = np.bincount(picked, minlength=6)
        assert counts[0] == counts[2]
        assert counts[1] == counts[5]
        assert counts[[0, 1, 3, 4]].sum() == 4
    again = [picked.tolist() for picked in bootstrap.draws(groups, 50, seed=1)]
    assert again == [picked.tolist() for picked in bootstrap.draws(groups, 50, seed=1)]
    assert again != [picked.tolist() for picked in bootstrap.draws(groups, 50, seed=2)]


def mean_metric(targets: Vector, ratings: Vector) -> float:
    return float(ratings.mean())


def test_an_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    """With songs independent, the percentile interval of a mean is mean +- 1.96 standard errors."""
    random = np.random.default_rng(0)
    ratings = random.standard_normal(400)
    measured = bootstrap.measure(
        ratings, {"a": ratings}, {"a": {"mean": mean_metric}}, np.arange(400, dtype=np.intp), 2000, 0
    )
    found = measured.estimate("a", "mean")
    error = 1.96 * ratings.std() / np.sqrt(400)
    assert found.low == pytest.approx(ratings.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(ratings.mean() + error, abs=0.1 * error)


def test_songs_of_one_artist_do_not_make_it_narrower() -> None:
    """Every song ten times over adds nothing: by artist the interval stays, by song it shrinks to a third."""
    random = np.random.default_rng(0)
    ratings = np.repeat(random.standard_normal(40), 10)
    widths = []
    for groups in (np.repeat(np.arange(40), 10), np.arange(400)):
        measured = bootstrap.measure(ratings, {"a": ratings}, {"a": {"mean": mean_metric}}, groups, 1000, 0)
        found = measured.estimate("a", "mean")
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(10), rel=0.15)


def test_differences_are_paired() -> None:
    random = np.random.default_rng(0)
    one = random.standard_normal(50)
    names = {name: {"mean": mean_metric} for name in ("a", "b")}
    measured = bootstrap.measure(one, {"a": one, "b": one + 0.5}, names, np.arange(50, dtype=np.intp), 200, 0)
    found = measured.difference("b", "a", "mean")
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert not found.holds(0.0)


def test_one_artist_has_no_interval() -> None:
    ratings = np.arange(5.0)
    measured = bootstrap.measure(
        ratings, {"a": ratings}, {"a": {"mean": mean_metric}}, np.zeros(5, dtype=np.intp), 100, 0
    )
    assert measured.estimate("a", "mean") == bootstrap.Estimate(2.0)
    assert measured.estimate("a", "mean").holds(7.0)
