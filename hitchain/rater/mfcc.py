"""`mfcc`: the honest baseline. librosa's features, then boosted trees or ridge regression; not differentiable.

A network is worth its cost where it beats this one on the same recordings. It rates like any rater, but cannot be
climbed: that makes it a judge, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.errors import UserError
from hitchain.rater import ridge, trees, weights
from hitchain.rater.features import NAMES, features
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.rater import Rater
from hitchain.rater.ridge import Ridge
from hitchain.rater.trees import Trees

FORMATS = (trees.FORMAT, ridge.FORMAT)
LEARNERS = ("trees", "ridge")


class FeatureRater(Rater):
    """A rater whose members are trees or ridge regressions on `features`; see `Rater`.

    Raises:
        UserError: (when rating) a gradient is asked for: features have none.
    """

    def __init__(self, judges: Sequence[Trees | Ridge], names: Sequence[str]) -> None:
        super().__init__([], FrontEndSettings(), names, [judge.about for judge in judges])
        self.judges = list(judges)

    def _members(self, audio: Tensor, sample_rate: int) -> Tensor:
        if audio.requires_grad and torch.is_grad_enabled():
            from hitchain.rater.networks import ARCHITECTURES

            raise UserError(
                f"rater {', '.join(self.names)} hears librosa features, which have no gradient: it can judge, but not "
                "be climbed. "
                f'Climb "appeal" or a rater trained with one of: {", ".join(ARCHITECTURES)}.'
            )
        heard = audio.detach().cpu()
        rows: NDArray[np.float64] = np.stack([features(item.numpy(), sample_rate) for item in heard])
        ratings = np.stack([judge.predict(rows) for judge in self.judges], axis=1)
        return torch.from_numpy(ratings).to(device=audio.device, dtype=audio.dtype)

    def tasks(self, audio: Tensor, sample_rate: int) -> dict[str, dict[str, Tensor]]:
        """{}: it rates only."""
        return {}


def fit(
    rows: NDArray[np.floating[Any]],
    targets: NDArray[np.floating[Any]],
    learner: str = "trees",
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> Trees | Ridge:
    """The baseline fitted on (rows, features) of `features` and targets (rows,), as "trees" or "ridge"."""
    if learner == "trees":
        return trees.fit(rows, targets, NAMES, seed=seed, about=about)
    if learner == "ridge":
        return ridge.fit(rows, targets, NAMES, about=about)
    raise UserError(f"unknown learner {learner!r}; it can be trees or ridge.")


def save(path: str | Path, judge: Trees | Ridge) -> None:
    """Write a fitted baseline to a safetensors file that `hitchain.rater.load` reads."""
    if isinstance(judge, Trees):
        trees.save(path, judge)
    else:
        ridge.save(path, judge)


def load(paths: Sequence[str | Path], names: Sequence[str]) -> FeatureRater:
    """A rater of files of trees or ridges.

    Raises:
        UserError: a file cannot be read, or was fitted on other features than this hitchain computes.
    """
    judges = [trees.load(path) if weights.format_of(path) == trees.FORMAT else ridge.load(path) for path in paths]
    for path, judge in zip(paths, judges, strict=True):
        if judge.names != NAMES:
            raise UserError(
                f"{path} was fitted on {len(judge.names)} features that are not the {len(NAMES)} of this hitchain; fit "
                "it again."
            )
    rater = FeatureRater(judges, names)
    rater.eval()
    return rater
