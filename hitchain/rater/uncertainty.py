"""How sure a rater is: an interval that holds the true value as often as it says, fitted on validation recordings.

Two steps. The members of a deep ensemble (Lakshminarayanan, Pritzel and Blundell 2017) differ most where they know
least, so the predictive variance of a recording is

    variance = temperature^2 * (variance of the members + residual variance)

with both constants fitted by the likelihood of the validation targets under a normal law. That gives the intervals
their relative widths: wider where the members differ, if that helped on validation. It does not make them cover, since
errors are not normal. So the half width is a quantile of the validation errors themselves, each divided by its own
deviation (normalised split conformal prediction; Papadopoulos et al. 2002, Lei et al. 2018), whatever their law. The
constants that an error is divided by are fitted without it (two folds: cross-conformal, Vovk 2015), so nothing is
tuned on the errors whose quantile is taken.

What it promises: of new recordings like the validation ones, the stated share is covered. Not that each kind of
recording is (a rare genre may be covered less), nor anything about climbed audio, which is unlike any recording.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hitchain.errors import UserError

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray

Numbers = TypeVar("Numbers", "NDArray[np.float64]", "torch.Tensor")

FEWEST_SONGS = 4
MOST_SCORES = 1000
LARGEST_TEMPERATURE = 100.0


@dataclass(frozen=True)
class Calibration:
    """What turns a mean and a spread over members into an interval.

    Attributes:
        temperature, residual_variance: of the predictive variance, see above; the variance in squared rating units.
        scores: ascending |error| / deviation of the validation recordings, at most `MOST_SCORES` of them.
        songs: how many recordings it was fitted on.
    """

    temperature: float
    residual_variance: float
    scores: tuple[float, ...]
    songs: int

    def deviation(self, spread: Numbers) -> Numbers:
        """The predictive standard deviation where the members' standard deviation is `spread`, any shape."""
        variance: Numbers = self.temperature**2 * (spread**2 + self.residual_variance)
        return variance**0.5

    def factor(self, level: float) -> float:
        """How many deviations the interval reaches either way to hold a share `level` of new recordings.

        The ceil((n + 1) level)-th smallest of n scores. Where there are too few for that rank (fewer than 9 for 90 %),
        the largest of them or Student's quantile, whichever is wider: then coverage rests on the normal law.
        """
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
            raise UserError(f"the level of an interval is {level!r}; it must be a share between 0 and 1, like 0.9.")
        count = len(self.scores)
        rank = math.ceil((count + 1) * level - 1e-9)
        if rank <= count:
            return self.scores[rank - 1]
        import scipy.stats

        return max(self.scores[-1], float(scipy.stats.t.ppf(0.5 + level / 2.0, count - 1)))

    def interval(self, mean: Numbers, spread: Numbers, level: float = 0.9) -> tuple[Numbers, Numbers]:
        """The lower and upper end of the interval around ratings, in rating units; arrays or tensors of any shape."""
        reach = self.factor(level) * self.deviation(spread)
        return mean - reach, mean + reach

    def as_dict(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature, "residual_variance": self.residual_variance,
            "scores": list(self.scores), "songs": self.songs,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: Any) -> Calibration:
        """The calibration in a JSON object. Raises `UserError` where one of its numbers is missing or impossible."""
        if not isinstance(value, Mapping) or value.keys() != {"temperature", "residual_variance", "scores", "songs"}:
            raise UserError("a calibration has `temperature`, `residual_variance`, `scores` and `songs`.")
        scores, songs = value["scores"], value["songs"]
        if not isinstance(scores, list) or not FEWEST_SONGS <= len(scores) <= MOST_SCORES:
            raise UserError(f"`scores` of a calibration must be a list of {FEWEST_SONGS} to {MOST_SCORES} numbers.")
        numbers = [value["temperature"], value["residual_variance"], *scores, songs]
        if not all(isinstance(x, int | float) and not isinstance(x, bool) and 0 <= x < math.inf for x in numbers):
            raise UserError("the numbers of a calibration must be finite and not negative.")
        if scores != sorted(scores):
            raise UserError("the `scores` of a calibration must ascend.")
        return cls(
            float(value["temperature"]), float(value["residual_variance"]), tuple(map(float, scores)), int(songs)
        )


def fit(ratings: ArrayLike, targets: ArrayLike, groups: Sequence[Hashable] | None = None) -> Calibration:
    """The calibration that fits validation recordings, none of which the members were trained on.

    Args:
        ratings: (songs, members), in the unit of the targets.
        targets: (songs,), the true values.
        groups: (songs,), for example the artist: recordings of one group are kept in one fold. None: each by itself.

    Raises:
        UserError: shapes do not fit, values are not finite, or there are fewer than `FEWEST_SONGS` recordings.
    """
    table, truth = np.asarray(ratings, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 1 or truth.shape != table.shape[:1]:
        raise UserError(f"ratings (songs, members) and targets (songs,) do not fit: {table.shape} and {truth.shape}.")
    if len(truth) < FEWEST_SONGS:
        raise UserError(f"an interval needs {FEWEST_SONGS} validation recordings or more, not {len(truth)}.")
    if not (np.isfinite(table).all() and np.isfinite(truth).all()):
        raise UserError("ratings and targets must be finite to calibrate an interval.")
    error, spread = truth - table.mean(axis=1), member_spread(table)
    fold = _folds(len(truth), groups)
    scores = np.empty(len(truth))
    for part in (0, 1):
        fitted = Calibration(*_most_likely(error[fold != part], spread[fold != part]), scores=(), songs=0)
        scores[fold == part] = np.abs(error[fold == part]) / fitted.deviation(spread[fold == part])
    temperature, residual = _most_likely(error, spread)
    return Calibration(temperature, residual, _thinned(np.sort(scores)), len(truth))


def member_spread(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard deviation over members (..., members) -> (...), 0 for a single one."""
    result: NDArray[np.float64] = (
        ratings.std(axis=-1, ddof=1) if ratings.shape[-1] > 1 else np.zeros(ratings.shape[:-1])
    )
    return result


def _folds(count: int, groups: Sequence[Hashable] | None) -> NDArray[np.int64]:
    """0 or 1 for each recording: whole groups, the largest first onto the smaller fold."""
    names = list(range(count)) if groups is None else list(groups)
    if len(names) != count:
        raise UserError(f"{len(names)} groups for {count} recordings.")
    members: dict[Hashable, list[int]] = {}
    for number, name in enumerate(names):
        members.setdefault(name, []).append(number)
    fold = np.zeros(count, dtype=np.int64)
    if len(members) == 1:  # one group alone: its recordings are split after all
        return np.arange(count) % 2
    sizes = [0, 0]
    for numbers in sorted(members.values(), key=lambda numbers: (-len(numbers), numbers[0])):
        part = int(sizes[1] < sizes[0])
        fold[numbers] = part
        sizes[part] += len(numbers)
    return fold


def _most_likely(error: NDArray[np.float64], spread: NDArray[np.float64]) -> tuple[float, float]:
    """(temperature, residual variance) of the largest normal likelihood of the errors.

    The variance is a * spread^2 + b with a = temperature^2 and b = a * residual variance. Where the spread says
    nothing (one member, or no better than a constant), the temperature is 1 and all is residual.
    """
    import scipy.optimize

    total = float(np.mean(error**2))
    scale = max(total, 1e-12)
    constant = (1.0, scale)
    inner = spread**2
    if float(inner.max(initial=0.0)) < 1e-9 * scale:
        return constant

    def loss(logs: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        residual = math.exp(logs[1])
        variance = math.exp(2.0 * logs[0]) * (inner + residual)
        excess = 1.0 - error**2 / variance
        slope = np.array([2.0 * np.mean(excess), np.mean(excess * residual / (inner + residual))])
        return float(np.mean(np.log(variance) + error**2 / variance)), slope

    limit = math.log(LARGEST_TEMPERATURE)
    floor, ceiling = math.log(1e-4 * scale), math.log(1e4 * (scale + float(inner.max())))
    starts = [(0.0, math.log(scale)), (0.0, floor), (0.5 * math.log(scale / max(float(inner.mean()), 1e-300)), floor)]
    best, best_loss = constant, math.log(scale) + 1.0
    bounds = [(-limit, limit), (floor, ceiling)]
    for start in starts:
        inside = [min(max(value, low), high) for value, (low, high) in zip(start, bounds, strict=True)]
        found = scipy.optimize.minimize(loss, inside, jac=True, method="L-BFGS-B", bounds=bounds)
        if found.fun < best_loss - 1e-9:
            best, best_loss = (math.exp(float(found.x[0])), math.exp(float(found.x[1]))), float(found.fun)
    return best


def _thinned(scores: NDArray[np.float64]) -> tuple[float, ...]:
    """At most `MOST_SCORES` of ascending scores, evenly over their ranks and rounded up: wider, never narrower."""
    if len(scores) > MOST_SCORES:
        ranks = np.ceil(np.arange(1, MOST_SCORES + 1) * len(scores) / MOST_SCORES).astype(int) - 1
        scores = scores[ranks]
    return tuple(float(score) for score in scores)


@dataclass(frozen=True)
class Coverage:
    """Which share of recordings an interval held, with a 95 % interval of that share (Clopper and Pearson 1934)."""

    share: float
    low: float
    high: float
    songs: int


def coverage(low: ArrayLike, high: ArrayLike, targets: ArrayLike) -> Coverage:
    """How often the true value lay inside: (songs,) lower ends, upper ends and targets."""
    import scipy.stats

    below, above, truth = (np.asarray(values, dtype=np.float64) for values in (low, high, targets))
    if not below.shape == above.shape == truth.shape or truth.ndim != 1 or len(truth) == 0:
        raise UserError(f"intervals and targets do not fit: {below.shape}, {above.shape} and {truth.shape}.")
    inside = int(np.sum((truth >= below) & (truth <= above)))
    exact = scipy.stats.binomtest(inside, len(truth)).proportion_ci(0.95)
    return Coverage(inside / len(truth), float(exact.low), float(exact.high), len(truth))
