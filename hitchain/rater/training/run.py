"""A training run on a prepared set: one network, several, or trees; and what stands in result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.files import write_json
from hitchain.rater.evaluation.metrics import spearman
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.training import distributed
from hitchain.rater.training.crops import Recordings
from hitchain.rater.training.ensemble import conclude
from hitchain.rater.training.history import Line
from hitchain.rater.training.labels import Labels, labels_of
from hitchain.rater.training.loop import WEIGHTS, Training
from hitchain.rater.training.settings import TREES, TrainSettings

RESULT = "result.json"


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        best: the history line of the best epoch, with `epochs` and the `seconds` of all.
        ratings, test: of the validation and the test recordings, in the unit of the standardised target.
        scale: slope and offset that bring what the weights say to that unit.
    """

    best: Line
    ratings: NDArray[np.float64]
    test: NDArray[np.float64]
    scale: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class Task:
    """What is to be learnt: a prepared set with its labels, and which recordings train, validate and test."""

    recordings: Recordings
    labels: Labels
    training: list[int]
    validation: list[int]
    test: list[int]
    front_end: FrontEndSettings

    @classmethod
    def of(cls, recordings: Recordings, settings: TrainSettings) -> Task:
        """The task of a set.

        Raises:
            UserError: a split is empty, or a label column cannot be used.
        """
        rows = [entry.row for entry in recordings.entries]
        splits = np.array([entry.split for entry in recordings.entries], dtype=str)
        _check_splits(splits)
        labels = labels_of(rows, splits == "training", settings.target, settings.heads)
        usable = np.isfinite(labels.targets)
        validation = np.flatnonzero((splits == "validation") & usable).tolist()
        if not validation:
            raise UserError(f"no validation recording has a {settings.target}: there is nothing to measure by.")
        test = np.flatnonzero((splits == "test") & usable).tolist()
        for numbers in labels.numbers.values():
            usable = usable | (numbers >= 0)  # without counts, a song may still teach its labels
        training = np.flatnonzero((splits == "training") & usable).tolist()
        front_end = getattr(recordings, "front_end", None)
        settings_of_frames = FrontEndSettings(**front_end) if front_end else FrontEndSettings()
        return cls(recordings, labels, training, validation, test, settings_of_frames)


def _check_splits(splits: NDArray[np.str_]) -> None:
    counts = {name: int((splits == name).sum()) for name in ("training", "validation")}
    if counts["training"] < 2 or counts["validation"] < 1:
        raise UserError(
            f"this set has {counts['training']} training and {counts['validation']} validation recordings; at least 2 "
            f"and 1 are needed. Validation uses artists that training never hears: at least 4 recordings by 2 artists "
            f"are needed in all, and larger shares for the splits where there are few."
        )


def train(
    recordings: Recordings, out: str | Path, settings: TrainSettings, about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Train a rater on a prepared set.

    Args:
        out: the run's folder: checkpoint, history, result.json, weights. Where it holds an unfinished run of the same
            settings, that run goes on.
        about: more for result.json, such as the rows that were skipped.

    Returns:
        What result.json holds: `validation_loss` (mean squared error of the standardised target on artists never
        trained on), `baseline_loss` (of always answering the mean), `validation_correlation` (Spearman), `songs`,
        `artists`, `best_epoch`, `epochs`, `seconds`, `weights`, `crops_per_second`, `data_wait` (the share of the time
        spent waiting for crops), `members`, and what `ensemble.conclude` says of the interval.

    Raises:
        UserError: too little can be used, or `out` holds another run.
    """
    folder = Path(out)
    with distributed.joined(settings.device) as device:
        task = Task.of(recordings, settings)
        result = _result(task, folder, settings, device)
        rows = [recordings.entries[index].row for index in (*task.training, *task.validation)]
        result = {
            "command": "train", "seed": settings.seed, "songs": len(rows),
            "artists": len({row.artist.strip().casefold() or row.name for row in rows}), **result, **(about or {}),
        }  # fmt: skip
        if distributed.rank() == 0:
            write_json(folder / RESULT, result)
    return result


def _result(task: Task, folder: Path, settings: TrainSettings, device: str) -> dict[str, Any]:
    """Train one network, or as many as an ensemble has members, each in a folder of its own."""
    count = settings.members
    trained, files = [], []
    for number in range(count):
        member = replace(settings, members=1, seed=settings.seed + number)
        place, name = (f"member-{number}/", f"member {number} of {count}") if count > 1 else ("", "training")
        trained.append(train_one(task, folder / place, member, device, name))
        files.append(place + WEIGHTS)
    result = _figures(trained, task, folder if count > 1 else folder / WEIGHTS)
    if count > 1:
        result["member_validation_loss"] = [one.best["validation_loss"] for one in trained]
    return {**result, "members": count, **conclude(task, folder, files, trained, settings)}


def train_one(
    task: Task, folder: Path, settings: TrainSettings, device: str = "cpu", description: str = "training"
) -> Trained:
    """Train one network, or trees, in a folder of its own; an unfinished training there goes on."""
    if settings.architecture == TREES:
        from hitchain.rater.training.mfcc import train_trees

        return train_trees(task, folder, settings)
    training = Training(
        task.recordings, task.labels, task.training, task.validation, settings, folder, task.front_end, device
    )
    best = training.run(description)
    best = {**best, "epochs": training.standing.epoch, "seconds": training.standing.lines[-1]["seconds"]}
    return Trained(best, training.rate(task.validation), training.rate(task.test), training.standing.scale)


def _figures(trained: Sequence[Trained], task: Task, weights: Path) -> dict[str, Any]:
    """The figures of one rater, or of the mean of several."""
    ratings = np.mean([one.ratings for one in trained], axis=0)
    targets = task.labels.targets[task.validation]
    result: dict[str, Any] = {
        "validation_loss": float(np.mean((ratings - targets) ** 2)),
        "baseline_loss": float(np.mean(targets**2)),
        "validation_correlation": spearman(targets, ratings),
        "best_epoch": max(int(one.best["epoch"]) for one in trained),
        "epochs": max(int(one.best["epochs"]) for one in trained),
        "seconds": sum(float(one.best["seconds"]) for one in trained),
        "crops_per_second": float(np.mean([one.best["crops_per_second"] for one in trained])),
        "data_wait": float(np.mean([one.best["data_wait"] for one in trained])),
        "weights": str(weights),
    }
    for head in task.labels.classes:
        result[f"{head}_accuracy"] = trained[0].best[f"{head}_accuracy"]
    return result
