"""Bias by group: how a rater errs on each genre (or whatever label), since popularity data is skewed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from hitchain.rater.balance import MOST_CLASSES, classes_of
from hitchain.rater.evaluation.bootstrap import draws, interval
from hitchain.rater.evaluation.metrics import Vector, spearman

if TYPE_CHECKING:
    from hitchain.rater.evaluation.command import Evaluation

NO_CLASS = "(none)"


def by_group(evaluation: Evaluation, name: str) -> list[dict[str, Any]]:
    """A row for each class of the group, the largest first; [] where no recording has the label.

    A recording with several tags counts in each.

    `mean_target` and `mean_rating` are in the target's unit, `bias` is mean(rating - target) with its interval over
    artists, `error` the root of its mean square. For a rater without a scale, ratings and targets are standardised
    over all recordings first: then a bias of 0.5 is half a standard deviation too high.
    """
    settings = evaluation.settings
    classes = [classes_of(evaluation.recordings.rows[place], settings.group) for place in evaluation.places]
    counts = Counter(value for row in classes for value in row)
    if not counts:
        return []
    ratings, targets = evaluation.systems[name], evaluation.targets
    if name not in evaluation.scaled:
        ratings, targets = _standardised(ratings), _standardised(targets)
    names = sorted(counts, key=lambda label: (-counts[label], label))[:MOST_CLASSES]
    inside = {label: np.array([label in row for row in classes]) for label in names}
    if not all(classes):
        inside[NO_CLASS] = np.array([not row for row in classes])
    drawn = {label: np.full(settings.resamples, np.nan) for label in inside}
    if len(np.unique(evaluation.clusters)) >= 2:
        for number, picked in enumerate(draws(evaluation.clusters, settings.resamples, settings.seed)):
            for label in inside:
                here = picked[inside[label][picked]]
                if len(here):
                    drawn[label][number] = float((ratings[here] - targets[here]).mean())
    rows = []
    for label, here in inside.items():
        errors = ratings[here] - targets[here]
        bias = interval(float(errors.mean()), drawn[label])
        artists = len(np.unique(evaluation.clusters[here]))
        rows.append(
            {
                "group": label,
                "songs": int(here.sum()),
                "artists": artists,
                "mean_target": float(targets[here].mean()),
                "mean_rating": float(ratings[here].mean()),
                "bias": bias.as_dict() if artists >= 2 else {"value": bias.value, "low": None, "high": None},
                "error": float(np.sqrt((errors**2).mean())),
                "spearman": spearman(targets[here], ratings[here]),
            }
        )
    return rows


def _standardised(values: Vector) -> Vector:
    deviation = float(values.std())
    return np.asarray((values - values.mean()) / (deviation if deviation > 0.0 else 1.0))
