"""How much a judge that was not climbed agrees after a climb.

A rater is climbed from given starts, and judges that share neither recordings nor architecture with it rate the audio
of every step. Transfer is the judges' gain over the climbed gain, at the same climbed gain for every rater, in units of
each rater's own spread: 1 where a judge hears all of the improvement, 0 where it hears none, less where it gets worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.rater.appeal.rounds import Climb, Rate

Path = NDArray[np.float64]
"""Ratings (points, starts) along a climb, in units of the rater's spread."""
Heard = NDArray[np.float16]
"""The audio (points, starts, 2, samples) along a climb."""
BOOTSTRAPS = 2000
BATCH = 8


def follow(climb: Climb, audio: Tensor, climbed: Rate, every: int, seed: int = 0) -> Heard:
    """The audio at every so many steps of a climb, the start and the last step included.

    Args:
        audio: the starts, (starts, 2, samples).
        every: steps between two looks.
    """
    batches = []
    for first in range(0, len(audio), BATCH):
        steps = [heard.detach().half() for heard in climb(climbed, audio[first : first + BATCH], seed + first)]
        looks = steps[::every] + (steps[-1:] if (len(steps) - 1) % every else [])
        batches.append(torch.stack(looks))
    heard: Heard = torch.cat(batches, dim=1).numpy()
    return heard


@torch.no_grad()
def judged(rate: Rate, heard: Heard) -> Path:
    """A rater's ratings of the audio along a climb."""
    return np.stack([rate(torch.from_numpy(audio.astype(np.float32))).double().numpy() for audio in heard])


def at_gain(climbed: Path, judged: Path, gain: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The climbed and the judged gain of each start where the climbed gain first reaches `gain`; else at its end.

    Between two looks both ratings are taken to move in a straight line.
    """
    rise, judge_rise = climbed - climbed[0], judged - judged[0]
    reached, agreed = rise[-1].copy(), judge_rise[-1].copy()
    for start in range(rise.shape[1]):
        above = np.flatnonzero(rise[:, start] >= gain)
        if len(above) == 0:
            continue
        after = int(above[0])
        share = 1.0 if after == 0 else (gain - rise[after - 1, start]) / (rise[after, start] - rise[after - 1, start])
        before = max(after - 1, 0)
        reached[start] = gain
        agreed[start] = judge_rise[before, start] + share * (judge_rise[after, start] - judge_rise[before, start])
    return reached, agreed


def transfer(
    reached: NDArray[np.float64], agreed: NDArray[np.float64], bootstraps: int = BOOTSTRAPS, seed: int = 0
) -> tuple[float, float, float]:
    """The judges' mean gain over the climbed mean gain, with its 95 % bootstrap interval over starts."""
    drawn = np.random.default_rng(seed).integers(0, len(reached), (bootstraps, len(reached)))
    ratios = agreed[drawn].sum(1) / np.maximum(reached[drawn].sum(1), 1e-9)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(agreed.sum() / max(reached.sum(), 1e-9)), float(low), float(high)


def pooled(
    paths: Sequence[Mapping[str, Path]], judge: str, gain: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`at_gain` of several climbs, one after another."""
    pairs = [at_gain(path["climbed"], path[judge], gain) for path in paths]
    return np.concatenate([reached for reached, _ in pairs]), np.concatenate([agreed for _, agreed in pairs])
