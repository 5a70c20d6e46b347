"""Training a popularity rater from a manifest.

Mean squared error of standardised popularity, (p - mean) / deviation over the training songs; the epoch with the best
validation loss on held-out artists is kept. Every random choice follows from the seed and the place in the training,
never from what ran before, so a run that was killed goes on from its checkpoint to the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hitchain.devices import usable_device
from hitchain.errors import UserError, nearest
from hitchain.files import read_json, write_json, write_text
from hitchain.progress import Progress
from hitchain.rater import networks, weights
from hitchain.rater.augment import AugmentSettings
from hitchain.rater.dataset import TRAINING_RATE, Song, inspect, steady_crops, training_crop
from hitchain.rater.frontend import FrontEnd, FrontEndSettings
from hitchain.rater.row import Skipped
from hitchain.rater.sources.manifest import read_manifest
from hitchain.rater.splits import split_by_artist

CHECKPOINT = "checkpoint.safetensors"
RESULT = "result.json"
WEIGHTS = "rater.safetensors"
VALIDATION_CROPS = 3


@dataclass(frozen=True)
class TrainSettings:
    """What `hitchain train` can be told; conf/rater/popularity.yaml holds the same keys with the same values."""

    architecture: str = "mel_cnn"
    epochs: int = 60
    batch_size: int = 16
    crops_per_song: int = 2
    crop_seconds: float = 4.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    patience: int = 12
    validation_fraction: float = 0.15
    gain_db: float = 6.0
    pitch_semitones: float = 1.0
    stretch: float = 0.08
    checkpoint_seconds: float = 20.0
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            whole = isinstance(getattr(TrainSettings, name), int)
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else (int, float))
                or not low <= value <= high
            ):
                kind = "a whole number" if whole else "a number"
                raise UserError(f"{name} is {value!r}; it must be {kind} from {low:g} to {high:g}.")
        if self.architecture not in networks.ARCHITECTURES:
            hint = nearest(str(self.architecture), networks.ARCHITECTURES)
            raise UserError(f"unknown rater architecture {self.architecture!r}; {hint}")
        usable_device(self.device)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Settings from a configuration. Raises `UserError` for an unknown key."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"unknown training setting {name!r}; {nearest(str(name), known)}")
        return cls(**{str(name): value for name, value in values.items()})

    @property
    def augmentation(self) -> AugmentSettings:
        return AugmentSettings(self.gain_db, self.pitch_semitones, self.stretch)


_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (2, 4096),
    "crops_per_song": (1, 1000),
    "crop_seconds": (1.0, 60.0),
    "learning_rate": (1e-7, 1.0),
    "weight_decay": (0.0, 1.0),
    "patience": (1, 100_000),
    "validation_fraction": (0.01, 0.9),
    "gain_db": (0.0, 40.0),
    "pitch_semitones": (0.0, 12.0),
    "stretch": (0.0, 0.5),
    "checkpoint_seconds": (0.0, 1e6),
    "seed": (0, 2**31 - 1),
}


def train(manifest: str | Path, out: str | Path, settings: TrainSettings | None = None) -> dict[str, Any]:
    """Train a rater on a manifest.

    Args:
        manifest: see `hitchain.rater.read_manifest`.
        out: the run's folder: checkpoint, history.jsonl, result.json, rater.safetensors. Where it holds an unfinished
            run of the same settings, that run goes on.

    Returns:
        What result.json holds: `validation_loss` (mean squared error of standardised p on artists never trained on),
        `baseline_loss` (of always answering the mean), `validation_correlation` (Spearman), `songs`, `artists`,
        `skipped` (line, path, reason), `best_epoch`, `epochs`, `seconds`, `weights`.

    Raises:
        UserError: the manifest is wrong, too little of it can be used, or `out` holds another run.
    """
    settings = settings or TrainSettings()
    return _Training(Path(manifest), Path(out), settings).run()


class _Training:
    """One run: its songs, its network, and where it stands."""

    def __init__(self, manifest: Path, out: Path, settings: TrainSettings) -> None:
        self.settings, self.out, self.manifest = settings, out, manifest
        rows, skipped = read_manifest(manifest)
        songs, undecodable = inspect(rows)
        self.skipped: list[Skipped] = sorted([*skipped, *undecodable], key=lambda row: row.line)
        self.training, self.validation = _split(songs, settings, self.skipped, manifest)
        values = np.array([song.row.popularity for song in self.training])
        self.mean, self.deviation = float(values.mean()), float(values.std())
        if self.deviation < 1e-12:
            raise UserError(f"all usable training songs of {manifest} have the same popularity: nothing can be learnt.")
        torch.manual_seed(settings.seed)
        self.front_end = FrontEnd()
        self.network = networks.create(settings.architecture, self.front_end.settings.mel_bands)
        self.device = usable_device(settings.device)
        self.network.to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.history: list[dict[str, Any]] = []
        self.epoch, self.batch, self.loss_sum, self.seconds = 0, 0, 0.0, 0.0

    def run(self) -> dict[str, Any]:
        finished = self._resume()
        if finished is not None:
            return finished
        self.saved_at = time.monotonic()
        heard = self._hear_validation()
        total = self.settings.epochs * len(self._batches())
        with Progress(total, "training", self._done(), unit="batch") as progress:
            while self.epoch < self.settings.epochs and not self._stale():
                self._train_epoch(progress)
                self._finish_epoch(heard)
        return self._conclude()

    def _batches(self) -> list[np.ndarray]:
        """This epoch's batches of crop numbers, in an order that follows from the seed and the epoch."""
        settings = self.settings
        order = np.random.default_rng([settings.seed, self.epoch]).permutation(
            len(self.training) * settings.crops_per_song
        )
        batches = [order[k : k + settings.batch_size] for k in range(0, len(order), settings.batch_size)]
        # Batch normalisation needs two crops.
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < 2 else batches

    def _done(self) -> int:
        return self.epoch * len(self._batches()) + self.batch

    def _resume(self) -> dict[str, Any] | None:
        """Go on where an earlier run of the same settings stopped; the result where it had finished."""
        identity = self._identity()
        path = self.out / CHECKPOINT
        if not path.exists():
            return None
        tensors, header = weights.load_tensors(path)
        if header.get("identity") != identity:
            raise UserError(
                f"{self.out} holds a run with other settings or another manifest; choose another out=FOLDER."
            )
        if header.get("finished") and (self.out / RESULT).exists():
            result: dict[str, Any] = read_json(self.out / RESULT, "training result")
            return result
        self.epoch, self.batch = int(header["epoch"]), int(header["batch"])
        self.loss_sum, self.seconds = float(header["loss_sum"]), float(header["seconds"])
        self.history = list(header["history"])
        self.network.load_state_dict(_named(tensors, "network."))
        self.best = _named(tensors, "best.")
        _restore_optimiser(self.optimiser, _named(tensors, "optimiser."))
        return None

    def _identity(self) -> dict[str, Any]:
        """What makes two runs the same one. `epochs` may grow; the checkpoint interval and the device may change."""
        values = asdict(self.settings)
        del values["epochs"], values["checkpoint_seconds"], values["device"]
        songs = [(str(song.row.path), song.row.plays, song.row.likes) for song in (*self.training, *self.validation)]
        return {"settings": values, "songs": hashlib.sha256(json.dumps(songs).encode()).hexdigest()}

    def _train_epoch(self, progress: Progress) -> None:
        started = time.monotonic()
        validation = {"validation": self.history[-1]["validation_loss"]} if self.history else {}
        for batch in self._batches()[self.batch :]:
            loss = self._step(batch)
            self.loss_sum += loss
            self.batch += 1
            progress.update(self._done(), loss=loss, **validation)
            if time.monotonic() - self.saved_at > self.settings.checkpoint_seconds:
                self.seconds += time.monotonic() - started
                started = time.monotonic()
                self._save()
        self.seconds += time.monotonic() - started

    def _step(self, batch: np.ndarray) -> float:
        settings = self.settings
        torch.manual_seed(int(np.random.SeedSequence([settings.seed, 2, self.epoch, self.batch]).generate_state(1)[0]))
        crops, targets = [], []
        for index in batch:
            song = self.training[int(index) % len(self.training)]
            random = np.random.default_rng([settings.seed, 1, self.epoch, int(index)])
            crops.append(training_crop(song, settings.crop_seconds, settings.augmentation, random))
            targets.append((song.row.popularity - self.mean) / self.deviation)
        self.network.train()
        ratings = self.network(self.front_end(torch.stack(crops).to(self.device), TRAINING_RATE))
        loss = nn.functional.mse_loss(ratings, torch.tensor(targets, dtype=torch.float32, device=self.device))
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return loss.item()

    @torch.no_grad()
    def _hear_validation(self) -> list[Tensor]:
        """The validation songs' frames, made once: (crops, 2, mel_bands, frames) each."""
        seconds = self.settings.crop_seconds
        return [
            self.front_end(torch.stack(steady_crops(song, seconds, VALIDATION_CROPS)).to(self.device), TRAINING_RATE)
            for song in self.validation
        ]

    @torch.no_grad()
    def _finish_epoch(self, heard: list[Tensor]) -> None:
        self.network.eval()
        ratings = np.array([float(self.network(frames).mean()) for frames in heard])
        targets = np.array([(song.row.popularity - self.mean) / self.deviation for song in self.validation])
        self.history.append(
            {
                "epoch": self.epoch + 1,
                "training_loss": self.loss_sum / max(1, self.batch),
                "validation_loss": float(np.mean((ratings - targets) ** 2)),
                "validation_correlation": _rank_correlation(ratings, targets),
                "baseline_loss": float(np.mean(targets**2)),
                "seconds": self.seconds,
            }
        )
        if self._best_epoch() == self.epoch + 1:
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.epoch, self.batch, self.loss_sum = self.epoch + 1, 0, 0.0
        self._save()

    def _best_epoch(self) -> int:
        return int(min(self.history, key=lambda line: line["validation_loss"])["epoch"]) if self.history else 0

    def _stale(self) -> bool:
        return bool(self.history) and self.epoch - self._best_epoch() >= self.settings.patience

    def _save(self, finished: bool = False) -> None:
        tensors = {
            **{f"network.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"best.{name}": tensor for name, tensor in self.best.items()},
            **{f"optimiser.{name}": tensor for name, tensor in _optimiser_tensors(self.optimiser).items()},
        }
        header = {
            "identity": self._identity(), "epoch": self.epoch, "batch": self.batch, "loss_sum": self.loss_sum,
            "seconds": self.seconds, "history": self.history, "finished": finished,
        }  # fmt: skip
        weights.save_tensors(self.out / CHECKPOINT, {name: t.contiguous() for name, t in tensors.items()}, header)
        write_text(self.out / "history.jsonl", "".join(json.dumps(line) + "\n" for line in self.history))
        self.saved_at = time.monotonic()

    def _conclude(self) -> dict[str, Any]:
        settings, best = self.settings, self.history[self._best_epoch() - 1]
        self.network.load_state_dict(self.best)
        about = {
            "target": "popularity", "target_mean": self.mean, "target_deviation": self.deviation,
            "songs": len(self.training), "validation_loss": best["validation_loss"],
        }  # fmt: skip
        target = self.out / WEIGHTS
        weights.save(target, self.network, settings.architecture, {}, FrontEndSettings(), about)
        result = {
            "command": "train", "seed": settings.seed, "seconds": self.seconds,
            "manifest": str(self.manifest), "songs": len(self.training) + len(self.validation),
            "artists": len({song.row.artist for song in (*self.training, *self.validation)}),
            "skipped": [asdict(row) for row in self.skipped],
            "epochs": self.epoch, "best_epoch": best["epoch"], "validation_loss": best["validation_loss"],
            "baseline_loss": best["baseline_loss"], "validation_correlation": best["validation_correlation"],
            "weights": str(target),
        }  # fmt: skip
        write_json(self.out / RESULT, result)
        self._save(finished=True)
        return result


def _split(
    songs: list[Song], settings: TrainSettings, skipped: list[Skipped], manifest: Path
) -> tuple[list[Song], list[Song]]:
    """Training and validation songs with no artist in both."""
    by_line = {song.row.line: song for song in songs}
    fractions = {"training": 1.0 - settings.validation_fraction, "validation": settings.validation_fraction}
    if len({song.row.artist.strip().casefold() for song in songs}) < 2 or len(songs) < 4:
        why = "; ".join(f"line {row.line}: {row.reason}" for row in skipped[:5])
        raise UserError(
            f"{manifest} has {len(songs)} usable songs; at least 4 by 2 artists are needed, since validation uses "
            f"artists that training never hears. Skipped {len(skipped)}{': ' + why if why else ''}."
        )
    # In a small manifest the hash may put every artist on one side; the next seeds are tried in a fixed order.
    for attempt in range(1000):
        parts = split_by_artist([song.row for song in songs], fractions, settings.seed + attempt * 1_000_003)
        if len(parts["training"]) >= 2 and parts["validation"]:
            break
    else:
        raise UserError(
            f"{manifest}: its artists cannot be split with validation_fraction={settings.validation_fraction}."
        )
    return [by_line[row.line] for row in parts["training"]], [by_line[row.line] for row in parts["validation"]]


def _rank_correlation(ratings: np.ndarray, targets: np.ndarray) -> float | None:
    """Spearman's rho; None where it is not defined (fewer than three songs, or all the same)."""
    import scipy.stats

    if len(ratings) < 3 or np.ptp(ratings) == 0.0 or np.ptp(targets) == 0.0:
        return None
    value = float(scipy.stats.spearmanr(ratings, targets).statistic)
    return value if math.isfinite(value) else None


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, entry in state.items() for name, value in entry.items()
    }


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    full = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": full["param_groups"]})
