"""What all rating networks share: a trunk of their own, pooling over time, a rating, and a head for each label."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hitchain.rater.networks.pooling import POOLINGS

INPUTS = 2  # mid and side
POPULARITY = "popularity"


@dataclass(frozen=True)
class HeadSettings:
    """What follows the trunk.

    dropout: before the last layer. pooling: over time, one of `POOLINGS`. labels: label column -> its class names.
    """

    dropout: float = 0.3
    pooling: str = "attention"
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Head(nn.Module):
    """Pooling over time, then two dense layers for the rating and one for each label.

    Shape:
        - input: (batch, features, steps in time)
        - output: (batch,)
    """

    def __init__(self, features: int, settings: HeadSettings) -> None:
        super().__init__()
        self.pool = POOLINGS[settings.pooling](features)
        pooled = self.pool.outputs
        self.layers = nn.Sequential(nn.Linear(pooled, 64), nn.SiLU(), nn.Dropout(settings.dropout), nn.Linear(64, 1))
        self.label_names = tuple(settings.labels)
        self.labels = nn.ModuleList(nn.Linear(pooled, len(classes)) for classes in settings.labels.values())
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, frames: Tensor) -> Tensor:
        rating: Tensor = self.layers(self.pool(frames)).squeeze(-1)
        return rating

    def tasks(self, frames: Tensor) -> dict[str, Tensor]:
        """{"popularity": (batch,), label column: (batch, classes) logits}."""
        pooled = self.pool(frames)
        dropped = self.dropout(pooled)
        logits = {name: head(dropped) for name, head in zip(self.label_names, self.labels, strict=True)}
        return {POPULARITY: self.layers(pooled).squeeze(-1), **logits}


class RatingNetwork(nn.Module, ABC):
    """Log-mel frames -> a rating, and logits for the classes of each label column.

    Shape:
        - frames: (batch, 2, mel_bands, frames), frames of the front end, a second or more
        - output: (batch,)
    """

    def __init__(self, settings: HeadSettings) -> None:
        super().__init__()
        self.heads = {name: tuple(classes) for name, classes in settings.labels.items()}
        """Label column -> class names, in the order of the logits."""

    head: Head

    @abstractmethod
    def trunk(self, frames: Tensor) -> Tensor:
        """(batch, 2, mel_bands, frames) -> (batch, features, steps in time)."""

    def forward(self, frames: Tensor) -> Tensor:
        rating: Tensor = self.head(self.trunk(frames))
        return rating

    def tasks(self, frames: Tensor) -> dict[str, Tensor]:
        """{"popularity": (batch,), label column: (batch, classes) logits}."""
        return self.head.tasks(self.trunk(frames))

    def summary(self, frames: Tensor) -> Tensor:
        """The recording as the heads see it: (batch, features pooled over time)."""
        pooled: Tensor = self.head.pool(self.trunk(frames))
        return pooled


def convolution(inputs: int, outputs: int, stride: int | tuple[int, int] = 1, size: int = 3) -> nn.Sequential:
    """A square two-dimensional convolution, batch normalisation and SiLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )


def channels_last(frames: Tensor) -> Tensor:
    """The same frames laid out so that two-dimensional convolutions on a CPU take half the time."""
    return frames.contiguous(memory_format=torch.channels_last)
