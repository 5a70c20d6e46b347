"""`rater=mfcc`: boosted trees on librosa's features, trained by the same command on the same splits.

Several windows of each recording are rows of their own with the recording's target: as long as the windows in which
`hitchain rate` hears, so that the trees are asked about what they learnt.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.progress import Progress
from hitchain.rater import trees, weights
from hitchain.rater.evaluation.metrics import spearman
from hitchain.rater.features import NAMES, features
from hitchain.rater.shards.layout import SAMPLE_RATE
from hitchain.rater.training import distributed
from hitchain.rater.training.crops import Recordings
from hitchain.rater.training.loop import WEIGHTS
from hitchain.rater.training.run import Task, Trained
from hitchain.rater.training.settings import TrainSettings

WINDOWS = 3
WINDOW_SECONDS = 10.0
KEPT = "features.safetensors"


def train_trees(task: Task, folder: Path, settings: TrainSettings) -> Trained:
    """Trees on the features of a set's recordings. Features already computed in `folder` are taken up again.

    Raises:
        UserError: the set holds mel frames, or the settings ask for what trees cannot do (heads, a ranking loss).
    """
    _check(task, settings)
    began = time.monotonic()
    table, windows_a_second = _features(task, folder, settings)
    training = [place for place in task.training if np.isfinite(task.labels.targets[place])]
    rows, targets = _rows(table, training, task.labels.targets)
    about = {
        "target": settings.target, "songs": len(training), "target_mean": task.labels.mean,
        "target_deviation": task.labels.deviation,
    }  # fmt: skip
    grown = trees.fit(rows, targets, NAMES, seed=settings.seed, about=about)
    ratings, test = (
        np.array([grown.predict(table[place]).mean() for place in places]) for places in (task.validation, task.test)
    )
    if distributed.rank() == 0:
        trees.save(folder / WEIGHTS, grown)
    goal = task.labels.targets[task.validation]
    best = {
        "epoch": 1, "epochs": 1, "seconds": time.monotonic() - began, "crops_per_second": windows_a_second,
        "data_wait": 0.0, "validation_loss": float(np.mean((ratings - goal) ** 2)),
        "validation_correlation": spearman(goal, ratings),
    }  # fmt: skip
    return Trained(best, ratings, test)


def _check(task: Task, settings: TrainSettings) -> None:
    if task.recordings.kind != "audio":
        raise UserError("rater=mfcc needs audio, and this prepared set holds mel frames: prepare it with kind=audio.")
    if settings.heads:
        raise UserError("rater=mfcc rates only: it has no heads. Leave rater.heads out.")
    if settings.loss != "mse":
        raise UserError(f"rater=mfcc learns by squared error only: rater.loss={settings.loss} is for networks.")


def _features(task: Task, folder: Path, settings: TrainSettings) -> tuple[dict[int, NDArray[np.float64]], float]:
    """place -> (windows, features) of every recording that is in use, and windows a second."""
    places = sorted({*task.training, *task.validation, *task.test})
    names = [task.recordings.entries[place].row.name for place in places]
    identity = hashlib.sha256(json.dumps([names, list(NAMES)]).encode()).hexdigest()
    table = _kept(folder, identity)
    began = saved = time.monotonic()
    made = 0
    with Progress(len(places), "features", len(table), unit="song") as progress:
        for place in places:
            if place in table:
                continue
            windows = _windows(task.recordings, place)
            table[place] = np.stack([features(window, SAMPLE_RATE) for window in windows])
            made += len(windows)
            progress.update(len(table))
            if time.monotonic() - saved > settings.checkpoint_seconds:
                _keep(folder, identity, table)
                saved = time.monotonic()
    if made:
        _keep(folder, identity, table)
    return table, made / max(time.monotonic() - began, 1e-9)


def _windows(recordings: Recordings, place: int) -> list[NDArray[np.float32]]:
    """Pieces evenly spread over a recording, or all of a short one."""
    whole = int(recordings.entries[place].length)
    length = min(whole, round(WINDOW_SECONDS * SAMPLE_RATE))
    starts = sorted({round((whole - length) * (k + 0.5) / WINDOWS) for k in range(WINDOWS)})
    return [recordings.crop(place, start, length) for start in starts]


def _keep(folder: Path, identity: str, table: dict[int, NDArray[np.float64]]) -> None:
    if distributed.rank() == 0:
        tensors = {str(place): torch.from_numpy(rows) for place, rows in table.items()}
        weights.save_tensors(folder / KEPT, tensors, {"identity": identity})


def _kept(folder: Path, identity: str) -> dict[int, NDArray[np.float64]]:
    if not (folder / KEPT).is_file():
        return {}
    tensors, header = weights.load_tensors(folder / KEPT)
    if header.get("identity") != identity:
        raise UserError(f"{folder} holds features of other recordings; choose another out=FOLDER.")
    return {int(place): rows.numpy() for place, rows in tensors.items()}


def _rows(
    table: dict[int, NDArray[np.float64]], places: list[int], targets: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = np.concatenate([table[place] for place in places])
    return rows, np.concatenate([np.full(len(table[place]), targets[place]) for place in places])
