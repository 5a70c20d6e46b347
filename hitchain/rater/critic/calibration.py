"""From logits to log-odds that can be believed: Platt scaling, and how far off it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_SLOPE = 0.05
ITERATIONS = 100


@dataclass(frozen=True)
class Platt:
    """log-odds = slope * logit + offset, slope > 0."""

    slope: float = 1.0
    offset: float = 0.0


def fit(real: ArrayLike, output: ArrayLike, recordings: int | None = None) -> Platt:
    """The slope and offset under which held-out logits are the log-odds of being real, were both kinds as frequent.

    Maximum likelihood with Platt's targets, (n + 1) / (n + 2) for n real and 1 / (m + 2) for m output logits (Platt
    1999), so that kinds which n and m logits tell apart without error are not taken to be told apart always; by Newton
    steps with halving (Lin, Lin and Weng 2007). Each kind has half of the weight, however many logits it has. Without
    logits of both kinds nothing is scaled.

    Args:
        real, output: logits of recordings and of output that the network did not learn from.
        recordings: how many the real logits come from; as many as there are logits where None. Excerpts of one
            recording are much alike, so it is recordings that count as n.
    """
    ones, zeros = (np.asarray(logits, dtype=np.float64).ravel() for logits in (real, output))
    if not ones.size or not zeros.size:
        return Platt()
    logits = np.concatenate([ones, zeros])
    count = ones.size if recordings is None else recordings
    targets = np.repeat([(count + 1) / (count + 2), 1 / (zeros.size + 2)], [ones.size, zeros.size])
    weights = np.repeat([0.5 / ones.size, 0.5 / zeros.size], [ones.size, zeros.size])
    slope, offset = _newton(logits, targets, weights, fixed_slope=None)
    if slope < LEAST_SLOPE:  # on what it did not learn from, the network is no better than a guess
        slope, offset = _newton(logits, targets, weights, fixed_slope=LEAST_SLOPE)
    return Platt(slope, offset)


def _newton(
    logits: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64], fixed_slope: float | None
) -> tuple[float, float]:
    values = np.array([0.0 if fixed_slope is None else fixed_slope, 0.0])
    free = np.array([fixed_slope is None, True])
    design = np.stack([logits, np.ones_like(logits)], axis=1)

    def loss(at: NDArray[np.float64]) -> float:
        score = design @ at
        return float(weights @ (np.logaddexp(0.0, score) - targets * score))

    for _ in range(ITERATIONS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ values, -500, 500)))
        gradient = design.T @ (weights * (chance - targets))
        if np.abs(gradient[free]).max() < 1e-10:
            break
        curvature = (design.T * (weights * chance * (1.0 - chance))) @ design + 1e-10 * np.eye(2)
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        now, size = loss(values), 1.0
        while loss(values - size * step) > now and size > 1e-8:
            size /= 2.0
        values = values - size * step
    return float(values[0]), float(values[1])


def expected_calibration_error(log_odds: ArrayLike, real: ArrayLike, bins: int = 10) -> float:
    """Mean distance between the stated and the observed share of real ones (Guo et al. 2017).

    Each kind has half of the weight.

    Args:
        log_odds: of being real.
        real: which of them are.
        bins: equally wide bins of the stated probability.

    Returns:
        0 (perfect) to 1; NaN where one kind is missing.
    """
    truth = np.asarray(real, dtype=bool).ravel()
    stated = np.array([1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, v)))) for v in np.ravel(np.asarray(log_odds))])
    if truth.all() or not truth.any():
        return math.nan
    weights = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    places = np.minimum((stated * bins).astype(int), bins - 1)
    gaps = np.bincount(places, weights * (stated - truth), bins)
    return float(np.abs(gaps).sum())
