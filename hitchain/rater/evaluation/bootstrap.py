"""Bootstrap intervals over artists: what a measure would be with other artists drawn from the same world.

Songs of one artist are not independent (the same audience, studio and sound), so whole artists are drawn with
replacement, each with all its songs (the cluster bootstrap; Davison and Hinkley 1997, section 3.8). An interval over
single songs would be too narrow. All systems are measured on the same draws, so that differences between them are
paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.rater.evaluation.metrics import Metric, Vector

LEVEL = 0.95
FEWEST_DEFINED = 0.5
"""Share of the draws in which a measure must be defined, for an interval to be given."""


@dataclass(frozen=True)
class Estimate:
    """A measure and its interval; None where not defined (constant ratings, fewer than two artists)."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}

    def holds(self, value: float) -> bool:
        """Whether a value is inside the interval (an interval that is not there holds everything)."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def clusters(artists: Sequence[str]) -> NDArray[np.intp]:
    """A cluster number for each song: one for each artist, one of its own for each song of nobody known."""
    numbers: dict[Any, int] = {}
    keys = [artist.strip().casefold() or index for index, artist in enumerate(artists)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def draws(groups: NDArray[np.intp], count: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """`count` draws of whole clusters with replacement, as indices of songs. The same seed gives the same draws."""
    random = np.random.default_rng([seed, 0x6576616C])
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(groups))[:-1]) if len(groups) else []
    for _ in range(count):
        chosen = random.integers(0, len(members), len(members))
        yield np.concatenate([members[index] for index in chosen])


@dataclass(frozen=True)
class Measured:
    """Measures of several systems on the same songs: `values[system][metric]` and `drawn[system][metric]` (draws,)."""

    values: dict[str, dict[str, float | None]]
    drawn: dict[str, dict[str, Vector]]

    def estimate(self, system: str, metric: str) -> Estimate:
        return interval(self.values[system][metric], self.drawn[system][metric])

    def difference(self, system: str, other: str, metric: str) -> Estimate:
        """The paired difference system - other."""
        one, two = self.values[system][metric], self.values[other][metric]
        if one is None or two is None:
            return Estimate(None)
        return interval(one - two, self.drawn[system][metric] - self.drawn[other][metric])


def measure(
    targets: Vector,
    systems: Mapping[str, Vector],
    metrics: Mapping[str, Mapping[str, Metric]],
    groups: NDArray[np.intp],
    count: int,
    seed: int,
    tick: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Measure systems on all songs and on `count` draws of artists; `tick` is told how many are done.

    Args:
        targets: (songs,). systems: name -> ratings (songs,). metrics: system -> the metrics that apply to it.
        groups: (songs,) cluster numbers.
    """
    values = {
        name: {key: function(targets, ratings) for key, function in metrics[name].items()}
        for name, ratings in systems.items()
    }
    drawn = {name: {key: np.full(count, np.nan) for key in metrics[name]} for name in systems}
    if len(np.unique(groups)) >= 2:
        for number, picked in enumerate(draws(groups, count, seed)):
            for name, ratings in systems.items():
                for key, function in metrics[name].items():
                    value = function(targets[picked], ratings[picked])
                    drawn[name][key][number] = np.nan if value is None else value
            tick(number + 1)
    return Measured(values, drawn)


def interval(value: float | None, drawn: Vector) -> Estimate:
    """The percentile interval around a value. Draws in which the measure is not defined are left out."""
    defined = drawn[np.isfinite(drawn)]
    if value is None or not len(drawn) or len(defined) < max(2.0, FEWEST_DEFINED * len(drawn)):
        return Estimate(value)
    low, high = np.quantile(defined, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Estimate(value, float(low), float(high))
