"""Targets: the number a rater is trained to tell from the sound.

- popularity: p = likes / plays * log(likes), as it stands.
- shrunk: p for collections where most likes are 0 or 1. Likes are binomial, likes ~ Bin(plays, rate), and rates come
  from a common Beta(alpha, beta) that is fitted to the collection by maximum likelihood; each rate is its posterior
  mean r = (likes + alpha) / (plays + alpha + beta), and the target r * log(1 + plays * r). A row of few plays is drawn
  to the collection's rate, one of many keeps its own, where the target comes to p. (Empirical Bayes after Robbins 1956;
  Efron and Morris, "Data analysis using Stein's estimator and its generalizations", JASA 1975; for counts Robinson,
  "Introduction to Empirical Bayes", 2017.)
- rank_within_year: where p stands among the rows of the same year, since older rows had longer to be played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError, nearest
from hitchain.rater.row import Row
from hitchain.rater.target import popularity

KINDS = ("popularity", "shrunk", "rank_within_year")
FEWEST_OF_A_GENRE = 30
"""Rows of a group under which the whole collection's prior is taken for it."""
FEWEST_OF_A_YEAR = 20
"""Rows of a year under which its neighbours are ranked with it."""
STRONGEST_PRIOR = 1e9
"""Bound of alpha + beta, in plays: rates that do not differ at all would have no finite fit."""


def targets(
    rows: Sequence[Row],
    kind: str = "popularity",
    by: str | None = None,
    normal_scores: bool = False,
    reference: Sequence[bool] | None = None,
) -> NDArray[np.float64]:
    """A target for each row, (rows,); NaN where a count is missing.

    Args:
        kind: one of `KINDS`.
        by: of shrunk: the label whose values get a prior each, for example "genre".
        normal_scores: of rank_within_year: the normal quantile of the rank instead of the rank in 0..1.
        reference: the rows that priors are fitted to and ranks are counted among, for example those that train; None
            takes all.

    Raises:
        UserError: an unknown kind, no reference row with counts, no row with the label or with a year.
    """
    if kind not in KINDS:
        raise UserError(f"unknown target {kind!r}; {nearest(str(kind), KINDS)}")
    plays = np.array([row.plays for row in rows], np.float64)
    likes = np.array([row.likes for row in rows], np.float64)
    known = ~(np.isnan(plays) | np.isnan(likes))
    counted = known & (np.ones(len(rows), bool) if reference is None else np.asarray(reference, bool))
    if not counted.any():
        raise UserError("no row has plays and likes: there is nothing to learn from.")
    values = np.full(len(rows), np.nan)
    if kind == "shrunk":
        groups = _labels(rows, by)
        for group in np.unique(groups):
            here = groups == group
            fitted = counted & here if (counted & here).sum() >= FEWEST_OF_A_GENRE else counted
            prior = fit_prior(likes[fitted], plays[fitted])
            here &= known
            values[here] = shrunk(likes[here], plays[here], prior)
        return values
    values[known] = popularity(likes[known], plays[known])
    return values if kind == "popularity" else _ranks(values, _years(rows), known, counted, normal_scores)


def _labels(rows: Sequence[Row], by: str | None) -> NDArray[np.str_]:
    if by is None:
        return np.full(len(rows), "")
    names = {name for row in rows for name in row.labels}
    if by not in names:
        raise UserError(f"no row has the label {by!r}; {nearest(by, names)}")
    return np.array([row.labels.get(by, "") for row in rows])


@dataclass(frozen=True)
class Prior:
    """Beta(alpha, beta), how the rates likes / plays of a collection are spread."""

    alpha: float
    beta: float

    @property
    def rate(self) -> float:
        """The mean rate, in 0..1."""
        return self.alpha / (self.alpha + self.beta)


def fit_prior(likes: NDArray[np.float64], plays: NDArray[np.float64]) -> Prior:
    """The prior under which the counts, (rows,) each, are likeliest: a beta-binomial fit by maximum likelihood.

    Where nothing (or everything) was liked the rate is 0 (or 1) with the weight of one play.
    """
    import scipy.optimize

    played = plays > 0.0
    pairs, weights = np.unique(np.stack([likes[played], plays[played]]), axis=1, return_counts=True)
    liked, total = float((pairs[0] * weights).sum()), float((pairs[1] * weights).sum())
    if liked == 0.0 or liked == total:
        return Prior(float(liked > 0.0), float(liked == 0.0))
    start = np.array([np.log(liked / (total - liked)), np.log(100.0)])
    bounds = [(-40.0, 40.0), (np.log(1e-6), np.log(STRONGEST_PRIOR))]
    fit = scipy.optimize.minimize(
        _negative_log_likelihood, start, args=(pairs, weights), jac=True, method="L-BFGS-B", bounds=bounds
    )
    return _prior(fit.x)


def _prior(place: NDArray[np.float64]) -> Prior:
    """The prior at (log odds of the mean rate, log of alpha + beta)."""
    strength = float(np.exp(place[1]))
    return Prior(strength / (1.0 + float(np.exp(-place[0]))), strength / (1.0 + float(np.exp(place[0]))))


def _negative_log_likelihood(
    place: NDArray[np.float64], pairs: NDArray[np.float64], weights: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """Per row, and its gradient; the binomial coefficients are left out, as they do not depend on the prior."""
    from scipy.special import betaln, digamma

    prior, (likes, plays) = _prior(place), pairs
    alpha, beta = prior.alpha, prior.beta
    value = betaln(likes + alpha, plays - likes + beta) - betaln(alpha, beta)
    common = digamma(alpha + beta) - digamma(plays + alpha + beta)
    by_alpha = float((weights * (digamma(likes + alpha) - digamma(alpha) + common)).sum())
    by_beta = float((weights * (digamma(plays - likes + beta) - digamma(beta) + common)).sum())
    by_odds = (by_alpha - by_beta) * alpha * beta / (alpha + beta)
    gradient = np.array([by_odds, by_alpha * alpha + by_beta * beta])
    rows = weights.sum()
    return -float((weights * value).sum()) / rows, -gradient / rows


def shrunk(likes: NDArray[np.float64], plays: NDArray[np.float64], prior: Prior) -> NDArray[np.float64]:
    """r * log(1 + plays * r), with r the posterior mean rate; shapes as given."""
    rate = (likes + prior.alpha) / (plays + prior.alpha + prior.beta)
    return np.asarray(rate * np.log1p(plays * rate))


def _years(rows: Sequence[Row]) -> NDArray[np.float64]:
    years = np.array([np.nan if row.year is None else row.year for row in rows], np.float64)
    if np.isnan(years).all():
        raise UserError("target=rank_within_year needs dates that begin with the year, and no row has one.")
    return years


def _ranks(
    values: NDArray[np.float64],
    years: NDArray[np.float64],
    known: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    normal_scores: bool,
) -> NDArray[np.float64]:
    """The share of the year's reference rows under a value, those equal to it counted half; in (0, 1) or its quantile.

    For a reference row it is (average rank - 1/2) / rows. A row without a year is ranked among all.
    """
    import scipy.special

    ranks = np.full(len(values), np.nan)
    for year in np.unique(years[known]):  # NaN, of rows without a year, stands last and once
        here = known & (np.isnan(years) if np.isnan(year) else years == year)
        among = np.sort(values[counted & _pool(year, years, counted)])
        below = np.searchsorted(among, values[here], "left")
        up_to = np.searchsorted(among, values[here], "right")
        ranks[here] = (below + up_to) / (2.0 * len(among))
    if not normal_scores:
        return ranks
    half_a_row = 0.5 / max(1, int(counted.sum()))
    return np.asarray(scipy.special.ndtri(np.clip(ranks, half_a_row, 1.0 - half_a_row)))


def _pool(year: float, years: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rows to rank a year among: those of as many years around it as give `FEWEST_OF_A_YEAR`, or all."""
    distances = np.abs(years - year)
    for reach in np.unique(distances[counted & ~np.isnan(distances)]):
        pool = distances <= reach
        if (pool & counted).sum() >= FEWEST_OF_A_YEAR:
            return np.asarray(pool)
    return np.ones(len(years), bool)
