"""The judge that is no network: boosted trees on librosa features of degraded crops, never climbed.

They learn from the recordings of the held-out member, of which neither climbed member has heard any. Having no
gradient, they cannot be climbed by accident, and what pleases a network only does not please them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.rater import trees
from hitchain.rater.appeal.corpus import RATE
from hitchain.rater.appeal.examples import Examples
from hitchain.rater.appeal.rounds import Rate
from hitchain.rater.features import NAMES, features
from hitchain.rater.trees import Trees, TreeSettings

SETTINGS = TreeSettings(trees=300, learning_rate=0.07, depth=5, leaf_rows=8)
WORST_WEIGHT = 0.3
"""How much a worst case counts beside a crop of a recording: they are many and easily told."""


def fit_trees(examples: Examples, seed: int = 0) -> Trees:
    """Trees that estimate the target of examples whose `frames` are features."""
    weights = np.where(examples.groups < 0, WORST_WEIGHT, 1.0)
    return trees.fit(examples.frames, examples.targets, NAMES, SETTINGS, seed, weights)


def rated_by_trees(judge: Trees) -> Rate:
    """Trees as a function of audio (batch, 2, samples) at the corpus rate; it has no gradient."""

    def rate(audio: Tensor) -> Tensor:
        rows: NDArray[np.float64] = np.stack([features(item.numpy(), RATE) for item in audio.detach()])
        return torch.from_numpy(judge.predict(rows)).float()

    return rate
