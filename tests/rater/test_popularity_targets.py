"""Targets: against scipy's beta-binomial distribution, and cases worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater.row import Row
from hitchain.rater.targets import FEWEST_OF_A_GENRE, FEWEST_OF_A_YEAR, Prior, fit_prior, shrunk, targets


def row(likes: float, plays: float, date: str = "", genre: str = "") -> Row:
    return Row(Path("a.wav"), plays, likes, date=date, labels={"genre": genre} if genre else {})


def draw(prior: Prior, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    plays = np.round(10 ** random.uniform(1, 4, count))
    likes = random.binomial(plays.astype(int), random.beta(prior.alpha, prior.beta, count))
    return likes.astype(float), plays


@pytest.mark.parametrize("prior", [Prior(0.8, 300.0), Prior(2.0, 20.0), Prior(5.0, 1.0)])
def test_the_prior_is_the_likeliest_by_scipy(prior: Prior) -> None:
    likes, plays = draw(prior, 400, 0)

    def loss(place: np.ndarray) -> float:
        return -float(scipy.stats.betabinom.logpmf(likes, plays, *np.exp(place)).sum())

    reference = scipy.optimize.minimize(
        loss, np.log([prior.alpha, prior.beta]), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-7}
    )
    found = fit_prior(likes, plays)
    assert loss(np.log([found.alpha, found.beta])) <= reference.fun + 1e-4
    np.testing.assert_allclose([found.alpha, found.beta], np.exp(reference.x), rtol=1e-2)
    assert found.rate == pytest.approx(prior.alpha / (prior.alpha + prior.beta), rel=0.2)


def test_shrunk_rates_are_nearer_to_the_true_ones_than_raw_ones() -> None:
    random, prior = np.random.default_rng(1), Prior(1.0, 200.0)
    plays, rates = np.full(2000, 50.0), random.beta(prior.alpha, prior.beta, 2000)
    likes = random.binomial(50, rates).astype(float)
    found = fit_prior(likes, plays)
    posterior = (likes + found.alpha) / (plays + found.alpha + found.beta)
    assert np.mean((posterior - rates) ** 2) < 0.5 * np.mean((likes / plays - rates) ** 2)


def test_shrunk_by_hand() -> None:
    rate = (3 + 1) / (100 + 1 + 99)
    assert shrunk(np.array([3.0]), np.array([100.0]), Prior(1.0, 99.0))[0] == pytest.approx(
        rate * math.log(1 + 100 * rate), rel=1e-12
    )
    assert shrunk(np.array([0.0]), np.array([0.0]), Prior(1.0, 99.0))[0] == 0.0  # not played yet


def test_shrunk_tells_rows_of_0_and_1_likes_apart_and_comes_to_p_for_many() -> None:
    likes, plays = draw(Prior(0.8, 300.0), 300, 2)
    rows = [row(*pair) for pair in zip(likes, plays, strict=True)]
    rows += [row(0, 10), row(0, 10_000), row(1, 500), row(10_000_000, 1_000_000_000)]
    values = targets(rows, "shrunk")
    assert values[-2] > values[-4] > 0.0
    assert values[-3] < values[-2]
    assert values[-1] == pytest.approx(rater.popularity(10_000_000, 1_000_000_000), rel=1e-3)


def test_a_genre_has_its_own_prior_where_it_has_the_rows_for_one() -> None:
    high, low = draw(Prior(20.0, 80.0), 60, 3), draw(Prior(1.0, 99.0), 60, 4)
    rows = [row(*pair, genre="high") for pair in zip(*high, strict=True)]
    rows += [row(*pair, genre="low") for pair in zip(*low, strict=True)]
    few = [row(1, 10, genre="few")] * (FEWEST_OF_A_GENRE - 1)
    values = targets([*rows, *few], "shrunk", by="genre")
    np.testing.assert_allclose(values[:60], shrunk(*high, fit_prior(*high)))
    np.testing.assert_allclose(values[60:120], shrunk(*low, fit_prior(*low)))
    everything = [np.concatenate([*pair, np.full(len(few), count)]) for *pair, count in
                  ((high[0], low[0], 1.0), (high[1], low[1], 10.0))]  # fmt: skip
    np.testing.assert_allclose(values[120], shrunk(np.array([1.0]), np.array([10.0]), fit_prior(*everything))[0])
    with pytest.raises(UserError, match="did you mean 'genre'"):
        targets(rows, "shrunk", by="gener")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=30))
def test_shrunk_is_finite_and_rises_with_likes(pairs: list[tuple[int, int]]) -> None:
    likes = np.array([min(pair) for pair in pairs], float)
    plays = np.array([max(pair) for pair in pairs], float)
    prior = fit_prior(likes, plays)
    values = shrunk(likes, plays, prior)
    assert np.isfinite(values).all()
    assert (values >= 0.0).all()
    more = shrunk(np.minimum(likes + 1, plays), plays, prior)
    assert (more >= values).all()


def test_a_collection_without_likes_is_all_zero() -> None:
    assert targets([row(0, 10), row(0, 0)], "shrunk").tolist() == [0.0, 0.0]


def test_ranks_by_hand_with_ties_averaged() -> None:
    likes = [2, 9, 1, 0, *range(10, 10 + FEWEST_OF_A_YEAR - 4)]
    values = targets([row(n, 1000, "2009-01-05") for n in likes], "rank_within_year")
    reference = (scipy.stats.rankdata([rater.popularity(n, 1000) for n in likes]) - 0.5) / len(likes)
    np.testing.assert_allclose(values, reference, rtol=1e-12)
    assert values[2] == values[3] == 1.0 / FEWEST_OF_A_YEAR  # p is 0 for 0 likes and for 1
    normal = targets([row(n, 1000, "2009-01-05") for n in likes], "rank_within_year", normal_scores=True)
    np.testing.assert_allclose(normal, scipy.stats.norm.ppf(reference), rtol=1e-9)


def test_years_are_ranked_apart_and_small_ones_with_their_neighbours() -> None:
    old = [row(n, 10_000, "2005") for n in range(2, 2 + FEWEST_OF_A_YEAR)]
    new = [row(n, 100, "2015-03") for n in range(2, 2 + FEWEST_OF_A_YEAR)]
    alone = [row(50, 1000, "2007"), row(50, 1000, "")]
    values = targets([*old, *new, *alone], "rank_within_year")
    np.testing.assert_allclose(values[:FEWEST_OF_A_YEAR], values[FEWEST_OF_A_YEAR : 2 * FEWEST_OF_A_YEAR])
    among = [one.popularity for one in old] + [alone[0].popularity]  # 2007 with 2005, not with 2015
    assert values[-2] == pytest.approx((sum(p < among[-1] for p in among) + 0.5) / len(among))
    everyone = [one.popularity for one in (*old, *new, *alone)]
    equal = sum(p == alone[1].popularity for p in everyone)
    assert values[-1] == pytest.approx((sum(p < alone[1].popularity for p in everyone) + equal / 2) / len(everyone))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(2000, 2006)), min_size=1, max_size=60))
def test_ranks_keep_the_order_within_a_year(pairs: list[tuple[int, int]]) -> None:
    rows = [row(likes, 100, str(year)) for likes, year in pairs]
    values = targets(rows, "rank_within_year")
    assert ((values > 0.0) & (values < 1.0)).all()
    for (a, year_a), value_a in zip(pairs, values, strict=True):
        for (b, year_b), value_b in zip(pairs, values, strict=True):
            if year_a == year_b and rater.popularity(a, 100) < rater.popularity(b, 100):
                assert value_a < value_b


def test_held_out_rows_have_no_say_in_priors_and_ranks() -> None:
    rows = [row(n, 1000, "2009") for n in range(40)]
    reference = [True] * 30 + [False] * 10
    changed = [*rows[:30], *(row(15, 1000, "2009") for _ in range(10))]
    for kind in ("shrunk", "rank_within_year"):
        np.testing.assert_array_equal(
            targets(rows, kind, reference=reference)[:30], targets(changed, kind, reference=reference)[:30]
        )
        assert not np.array_equal(targets(rows, kind)[:30], targets(changed, kind)[:30])
    assert targets(rows, "rank_within_year", reference=reference)[-1] == 1.0
    assert np.isfinite(targets(rows, "rank_within_year", normal_scores=True, reference=reference)).all()


def test_rows_without_counts_have_no_target() -> None:
    for kind in ("popularity", "shrunk", "rank_within_year"):
        values = targets([row(5, 10, "2009"), row(math.nan, 10, "2009")], kind)
        assert np.isfinite(values[0])
        assert math.isnan(values[1])


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([row(5, 10)], "shrunken", "did you mean 'shrunk'"),
        ([row(math.nan, math.nan)], "popularity", "no row has plays"),
        ([row(5, 10)], "rank_within_year", "no row has one"),
    ],
)
def test_wrong_kinds_and_rows_are_told(rows: list[Row], kind: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        targets(rows, kind)
