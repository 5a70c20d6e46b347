"""What a run's folder says of its rater: its members, and how sure it is, set right on validation.

The interval is fitted on validation recordings (`hitchain.rater.uncertainty`). How often it really holds is counted on
the test recordings, which nothing was chosen by. A set without those leaves only validation to count on: there each
half of the artists is judged by an interval fitted on the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hitchain.rater import ensemble
from hitchain.rater.evaluation.bootstrap import clusters
from hitchain.rater.training import distributed
from hitchain.rater.uncertainty import FEWEST_SONGS, Calibration, Coverage, coverage, fit, member_spread

if TYPE_CHECKING:
    from hitchain.rater.training.run import Task, Trained
    from hitchain.rater.training.settings import TrainSettings

LEVEL = 0.9
Array = NDArray[np.float64]


def conclude(
    task: Task, folder: Path, files: Sequence[str], trained: Sequence[Trained], settings: TrainSettings
) -> dict[str, Any]:
    """Write the folder's rater.json.

    Args:
        files: the members' weights files, relative to the folder.

    Returns:
        For result.json: `interval` (half its width, of the middle recording, in deviations of the target), `level`
        (the share of recordings it should hold), `coverage` (the share that it held), `coverage_low` and
        `coverage_high` (95 % interval of that share), `coverage_songs` and `coverage_on`. {} where validation has too
        few recordings for an interval.
    """
    ratings = np.stack([one.ratings for one in trained], axis=1)
    targets = task.labels.targets[task.validation]
    artists = clusters([task.recordings.entries[place].row.artist for place in task.validation])
    calibration = fit(ratings, targets, artists.tolist()) if len(targets) >= FEWEST_SONGS else None
    if distributed.rank() == 0:
        labels = task.labels
        about = {"target": settings.target, "target_mean": labels.mean, "target_deviation": labels.deviation}
        ensemble.save(folder, files, calibration, [one.scale for one in trained], about)
    if calibration is None:
        return {}
    lower, upper = calibration.interval(ratings.mean(axis=1), member_spread(ratings), LEVEL)
    counted, where = _coverage(task, calibration, trained, ratings, targets, artists)
    if counted is None:
        return {}
    return {
        "interval": float(np.median(upper - lower) / 2.0), "level": LEVEL, "coverage": counted.share,
        "coverage_low": counted.low, "coverage_high": counted.high, "coverage_songs": counted.songs,
        "coverage_on": where,
    }  # fmt: skip


def _coverage(
    task: Task,
    calibration: Calibration,
    trained: Sequence[Trained],
    ratings: Array,
    targets: Array,
    artists: NDArray[np.intp],
) -> tuple[Coverage | None, str]:  # fmt: skip
    """How often the interval holds, and on which recordings that was counted."""
    if len(task.test) >= FEWEST_SONGS:
        heard = np.stack([one.test for one in trained], axis=1)
        lower, upper = calibration.interval(heard.mean(axis=1), member_spread(heard), LEVEL)
        return coverage(lower, upper, task.labels.targets[task.test]), "test"
    halves = artists % 2 == 0
    if min(halves.sum(), (~halves).sum()) < FEWEST_SONGS:
        return None, "validation"
    lower, upper = np.empty(len(targets)), np.empty(len(targets))
    for half in (halves, ~halves):
        fitted = fit(ratings[~half], targets[~half], artists[~half].tolist())
        lower[half], upper[half] = fitted.interval(ratings[half].mean(axis=1), member_spread(ratings[half]), LEVEL)
    return coverage(lower, upper, targets), "validation"
