"""What `hitchain train` can be told about a rater and its training: conf/rater/*.yaml hold the same keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hitchain.devices import usable_device
from hitchain.errors import UserError, nearest
from hitchain.rater import networks
from hitchain.rater.training.augment import AugmentSettings

TREES = "mfcc"
"""The architecture that is no network: boosted trees on librosa's features."""
LOSSES = ("mse", "pairwise", "both")
PAIR_SAMPLINGS = ("uniform", "ab")
PRECISIONS = ("auto", "float32", "bfloat16")
TARGETS = ("popularity", "shrunk", "rank_within_year")
LABEL_TARGET = "label:"
"""`target=label:COLUMN` learns a column of numbers instead of the counts."""


@dataclass(frozen=True)
class TrainSettings:
    """See docs/train.md; the augmentations are explained in `hitchain.rater.training.augment`."""

    architecture: str = "mel_cnn"
    options: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1
    target: str = "popularity"
    heads: tuple[str, ...] = ()
    head_weight: float = 0.3
    loss: str = "mse"
    pair_weight: float = 1.0
    pair_sampling: str = "uniform"
    pair_margin: float = 0.5
    top_share: float = 0.2
    epochs: int = 60
    patience: int = 12
    batch_size: int = 16
    crops_per_song: int = 2
    crop_seconds: float = 4.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema: float = 0.0
    gain_db: float = 6.0
    pitch_semitones: float = 1.0
    stretch: float = 0.08
    crop: float = 1.0
    eq_db: float = 0.0
    noise: float = 0.0
    codec: float = 0.0
    precision: str = "auto"
    workers: int = 0
    checkpoint_seconds: float = 20.0
    tensorboard: bool = False
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check_number(name, getattr(self, name), low, high, whole=isinstance(getattr(TrainSettings, name), int))
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(f"{name} is {getattr(self, name)!r}; {nearest(str(getattr(self, name)), known)}")
        if not isinstance(self.tensorboard, bool):
            raise UserError(f"tensorboard is {self.tensorboard!r}; it must be true or false.")
        if not isinstance(self.options, Mapping):
            raise UserError(f"options is {self.options!r}; it must be keys with values, like options.dropout=0.2.")
        if isinstance(self.heads, str) or not all(isinstance(head, str) and head for head in self.heads):
            raise UserError(f"heads is {self.heads!r}; it must be a list of label columns, like heads=[genre,amp].")
        if "popularity" in self.heads or len(set(self.heads)) != len(self.heads):
            raise UserError(f"heads={list(self.heads)} must name each label column once, and not popularity itself.")
        self._check_target()
        self._check_architecture()
        usable_device(self.device)

    def _check_target(self) -> None:
        known = self.target in TARGETS or (str(self.target).startswith(LABEL_TARGET) and self.target != LABEL_TARGET)
        if not known:
            raise UserError(f"target is {self.target!r}; {nearest(str(self.target), [*TARGETS, 'label:COLUMN'])}")

    def _check_architecture(self) -> None:
        known = [*networks.ARCHITECTURES, TREES]
        if self.architecture not in known:
            raise UserError(
                f"unknown rater architecture {self.architecture!r}; {nearest(str(self.architecture), known)}"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Settings from a configuration. Raises `UserError` for an unknown key."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"unknown training setting {name!r}; {nearest(str(name), known)}")
        given = {str(name): value for name, value in values.items()}
        if isinstance(given.get("heads"), list):
            given["heads"] = tuple(given["heads"])
        if given.get("options") is None:
            given.pop("options", None)
        return cls(**given)

    @property
    def augmentation(self) -> AugmentSettings:
        return AugmentSettings(**{entry.name: getattr(self, entry.name) for entry in fields(AugmentSettings)})

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same one: `epochs` may grow, and where and how it runs may change."""
        values = asdict(self)
        for name in ("epochs", "checkpoint_seconds", "device", "workers", "tensorboard"):
            del values[name]
        return {**values, "heads": list(self.heads), "options": dict(self.options)}


def _check_number(name: str, value: Any, low: float, high: float, whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{name} is {value!r}; it must be {kind} from {low:g} to {high:g}.")


_CHOICES = {"loss": LOSSES, "pair_sampling": PAIR_SAMPLINGS, "precision": PRECISIONS}
_RANGES: dict[str, tuple[float, float]] = {
    "members": (1, 100),
    "head_weight": (0.0, 100.0),
    "pair_weight": (0.0, 100.0),
    "pair_margin": (0.0, 10.0),
    "top_share": (0.01, 0.99),
    "epochs": (1, 100_000),
    "patience": (1, 100_000),
    "batch_size": (2, 4096),
    "crops_per_song": (1, 1000),
    "crop_seconds": (1.0, 60.0),
    "learning_rate": (1e-7, 1.0),
    "weight_decay": (0.0, 1.0),
    "gradient_clip": (1e-3, 1e6),
    "ema": (0.0, 0.99999),
    "gain_db": (0.0, 40.0),
    "pitch_semitones": (0.0, 12.0),
    "stretch": (0.0, 0.5),
    "crop": (0.0, 1.0),
    "eq_db": (0.0, 24.0),
    "noise": (0.0, 1.0),
    "codec": (0.0, 1.0),
    "workers": (0, 256),
    "checkpoint_seconds": (0.0, 1e6),
    "seed": (0, 2**31 - 1),
}
