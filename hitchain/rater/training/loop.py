"""The training of one network: batches, epochs, early stopping, checkpoints.

Every random choice follows from the seed and the place in the training, never from what ran before, so a run that was
killed goes on from its checkpoint to the same weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.progress import Progress
from hitchain.rater import weights
from hitchain.rater.evaluation.metrics import spearman
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.training import checkpoint, distributed, history, scores
from hitchain.rater.training.crops import Batch, BatchOrder, CropBatches, Cropper, Recordings, load
from hitchain.rater.training.labels import Labels
from hitchain.rater.training.learner import Learner
from hitchain.rater.training.settings import TrainSettings
from hitchain.rater.training.validation import Validation

WEIGHTS = "rater.safetensors"


@dataclass
class Standing:
    """Where a training stands: what a checkpoint's header keeps."""

    epoch: int = 0
    batch: int = 0
    steps: int = 0
    loss: float = 0.0  # the sums from here on are of this epoch
    crops: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    line: tuple[float, ...] = (0.0,) * 5
    scale: tuple[float, float] = (1.0, 0.0)  # of the best epoch: see `scores.Line`
    lines: list[history.Line] = field(default_factory=list)
    finished: bool = False

    @property
    def best(self) -> history.Line | None:
        """The epoch with the lowest validation loss; the first of several."""
        return min(self.lines, key=lambda line: line["validation_loss"]) if self.lines else None


class Training:
    """The training of one network on a prepared set.

    Args:
        recordings: the prepared set.
        labels: of all its recordings.
        training, validation: the places of the recordings that train and validate.
        out: the folder of checkpoint, history and weights; an unfinished run there goes on.
        device: of this process.
    """

    def __init__(
        self, recordings: Recordings, labels: Labels, training: Sequence[int], validation: Sequence[int],
        settings: TrainSettings, out: Path, front_end: FrontEndSettings, device: str,
    ) -> None:  # fmt: skip
        self.settings, self.out, self.labels, self.front_end = settings, out, labels, front_end
        self.training, self.validation = np.array(training), np.array(validation)
        self.cropper = Cropper(recordings, settings.crop_seconds, settings.augmentation, front_end)
        above, top = _top_songs(labels.targets[self.training], settings)
        self.learner = Learner(settings, labels.classes, front_end, device, above)
        self.order = BatchOrder(
            len(training), settings.crops_per_song, settings.batch_size, settings.seed, top,
            fewest=max(2, distributed.processes()),
        )  # fmt: skip
        share = slice(distributed.rank(), None, distributed.processes())
        self.batches = CropBatches(self.cropper, training, self.order, share)
        self.heard = Validation(self.cropper, validation)
        self.best = {name: tensor.clone() for name, tensor in self.learner.average.state.items()}
        self.standing = Standing()
        self.identity = {
            "settings": settings.identity(), "kind": recordings.kind, "processes": distributed.processes(),
            "songs": _digest([entry.row for entry in recordings.entries], labels, self.training, self.validation),
        }  # fmt: skip

    def run(self, description: str = "training") -> history.Line:
        """Train to the end, or go on to it. Returns the history line of the best epoch."""
        self._resume()
        standing = self.standing
        if not standing.finished:
            self.saved_at = time.monotonic()
            per_epoch = len(self.order.batches(0))
            done = standing.epoch * per_epoch + standing.batch
            stream = None if distributed.rank() == 0 else io.StringIO()  # one process speaks
            with Progress(self.settings.epochs * per_epoch, description, done, stream, unit="batch") as progress:
                self._epochs(per_epoch, progress)
            self._conclude()
        if standing.best is None:
            raise UserError(f"{self.out} holds a training without an epoch; delete it.")
        return standing.best

    def _epochs(self, per_epoch: int, progress: Progress) -> None:
        standing, writes = self.standing, distributed.rank() == 0
        board = history.TensorBoard(self.out, standing.epoch) if self.settings.tensorboard and writes else None
        places = [(epoch, batch) for epoch in range(standing.epoch, self.settings.epochs) for batch in range(per_epoch)]
        stream = load(self.batches, places[standing.batch :], self.settings.workers)
        while standing.epoch < self.settings.epochs and not self._stale():
            while standing.batch < per_epoch:
                self._next(stream)
                progress.update(standing.epoch * per_epoch + standing.batch, **self._shown())
                if time.monotonic() - self.saved_at > self.settings.checkpoint_seconds:
                    self._save()
            self._finish_epoch()
            if board is not None:
                board.write(standing.lines[-1])

    def _next(self, stream: Iterator[Batch]) -> None:
        """Wait for the next batch and learn from it; the two are timed apart."""
        standing, began = self.standing, time.monotonic()
        batch = next(stream)
        heard = time.monotonic()
        number = self.order.batches(standing.epoch)[standing.batch]
        songs = self.training[number % len(self.training)]
        processes = distributed.processes()
        sizes = [len(number[rank::processes]) for rank in range(processes)]
        by_rank = np.concatenate([songs[rank::processes] for rank in range(processes)])
        targets = self.labels.targets[by_rank]
        numbers = {head: torch.from_numpy(known[by_rank]) for head, known in self.labels.numbers.items()}
        place = [self.settings.seed, 2, standing.epoch, standing.batch, distributed.rank()]
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        loss, ratings = self.learner.step(batch.crops, sizes, torch.from_numpy(targets).float(), numbers, seed)
        line = scores.Line(standing.line)
        line.add(ratings.double().numpy(), targets)
        standing.line = line.sums
        standing.loss += loss
        standing.crops += len(songs)
        standing.waited += heard - began
        standing.seconds += time.monotonic() - began
        standing.batch += 1
        standing.steps += 1

    def _shown(self) -> dict[str, float | str]:
        standing = self.standing
        shown: dict[str, float | str] = {"loss": standing.loss / standing.batch}
        if standing.lines:
            shown["validation"] = standing.lines[-1]["validation_loss"]
        shown["speed"] = f"{standing.crops / standing.seconds:.0f} crops/s"
        shown["waiting_for_data"] = f"{standing.waited / standing.seconds:.0%}"
        return shown

    def _finish_epoch(self) -> None:
        began, standing = time.monotonic(), self.standing
        outputs = self.heard.outputs(self.learner, self.learner.average.state)
        if not (math.isfinite(standing.loss) and np.isfinite(outputs["popularity"]).all()):
            raise UserError(
                f"the loss of epoch {standing.epoch + 1} is not a number: the training has diverged. Lower "
                f"rater.learning_rate ({self.settings.learning_rate:g}); {self.out} keeps the epoch before."
            )
        # A rating that was only ranked has a unit of its own.
        ranked = self.settings.loss == "pairwise"
        slope, offset = scores.Line(standing.line).slope_and_offset() if ranked else (1.0, 0.0)
        targets = self.labels.targets[self.validation]
        known = np.isfinite(targets)
        ratings, targets = slope * outputs["popularity"][known] + offset, targets[known]
        line: history.Line = {
            "epoch": standing.epoch + 1,
            "training_loss": standing.loss / max(1, standing.batch),
            "validation_loss": float(np.mean((ratings - targets) ** 2)),
            "validation_correlation": spearman(targets, outputs["popularity"][known]),
            "baseline_loss": float(np.mean(targets**2)),
        }
        for head, numbers in self.labels.numbers.items():
            line[f"{head}_accuracy"] = scores.accuracy(outputs[head], numbers[self.validation])
        earlier = standing.lines[-1]["seconds"] if standing.lines else 0.0
        line["crops_per_second"] = standing.crops / max(standing.seconds, 1e-9)
        line["data_wait"] = standing.waited / max(standing.seconds, 1e-9)
        line["seconds"] = earlier + standing.seconds + time.monotonic() - began
        standing.lines.append(line)
        if standing.best is line:
            self.best = {name: tensor.clone() for name, tensor in self.learner.average.state.items()}
            standing.scale = (slope, offset)
        standing.epoch, standing.batch = standing.epoch + 1, 0
        standing.loss, standing.crops, standing.seconds, standing.waited = 0.0, 0, 0.0, 0.0
        standing.line = (0.0,) * 5
        self._save()

    def _stale(self) -> bool:
        best = self.standing.best
        return best is not None and self.standing.epoch - int(best["epoch"]) >= self.settings.patience

    def _resume(self) -> None:
        """Go on where an earlier run of the same settings and recordings stopped."""
        found = checkpoint.load(self.out)
        distributed.wait_for_all()  # nobody writes before everybody has read
        if found is None:
            return
        tensors, header = found
        if header.get("identity") != json.loads(json.dumps(self.identity)):
            raise UserError(
                f"{self.out} holds a run with other settings or other recordings; choose another out=FOLDER."
            )
        self.standing = Standing(**header["standing"])
        self.standing.scale = (float(self.standing.scale[0]), float(self.standing.scale[1]))
        more_epochs = self.standing.epoch < self.settings.epochs and not self._stale()
        self.standing.finished = self.standing.finished and not more_epochs and (self.out / WEIGHTS).is_file()
        self.learner.restore(tensors, self.standing.steps)
        self.best = {
            name: tensor.to(self.learner.device) for name, tensor in checkpoint.named(tensors, "best.").items()
        }

    def _save(self) -> None:
        if distributed.rank() == 0:
            tensors = {**self.learner.tensors(), **{f"best.{name}": tensor for name, tensor in self.best.items()}}
            checkpoint.save(self.out, tensors, {"identity": self.identity, "standing": asdict(self.standing)})
            history.write(self.out, self.standing.lines)
        self.saved_at = time.monotonic()

    def _conclude(self) -> None:
        """Write the best epoch's weights, with the scale that turns a rating into the target's unit."""
        best, (slope, offset) = self.standing.best, self.standing.scale
        if distributed.rank() == 0 and best is not None:
            self.learner.network.load_state_dict(self.best)
            about = {
                "target": self.settings.target, "loss": self.settings.loss, "songs": len(self.training),
                "target_mean": self.labels.mean + self.labels.deviation * offset,
                "target_deviation": self.labels.deviation * slope,
                "validation_loss": best["validation_loss"], "validation_correlation": best["validation_correlation"],
            }  # fmt: skip
            weights.save(
                self.out / WEIGHTS, self.learner.network, self.settings.architecture, self.settings.options,
                self.front_end, about,
            )  # fmt: skip
        self.standing.finished = True
        self._save()
        distributed.wait_for_all()

    def rate(self, places: Sequence[int]) -> NDArray[np.float64]:
        """The best epoch's rating of recordings (their steady crops), in the unit of the standardised target."""
        if not len(places):
            return np.zeros(0)
        slope, offset = self.standing.scale
        heard = self.heard if list(places) == self.heard.indices else Validation(self.cropper, places)
        return slope * heard.outputs(self.learner, self.best)["popularity"] + offset


def _top_songs(targets: NDArray[np.float64], settings: TrainSettings) -> tuple[float | None, NDArray[np.bool_] | None]:
    """For A/B sampling: from which target on a song is in set A, and which training songs are."""
    if settings.loss == "mse" or settings.pair_sampling == "uniform":
        return None, None
    known = np.sort(targets[np.isfinite(targets)])
    above = float(known[min(len(known) - 1, math.ceil(len(known) * (1.0 - settings.top_share)))])
    if not (known < above).any():  # most are the same: the top is what is better than those
        better = known[known > known[0]]
        above = float(better[0])
    return above, targets >= above


def _digest(rows: Sequence[Any], labels: Labels, training: NDArray[Any], validation: NDArray[Any]) -> str:
    """What the recordings were: other names, targets, labels or splits are another training."""
    digest = hashlib.sha256(json.dumps([row.name or str(row.path) for row in rows]).encode())
    for values in (labels.targets, training, validation, *labels.numbers.values()):
        digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(json.dumps(dict(labels.classes)).encode())
    return digest.hexdigest()
