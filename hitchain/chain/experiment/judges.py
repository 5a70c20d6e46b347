"""Who judges: raters that were never climbed, of other architectures and recordings, and one that knows no faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain import rater
from hitchain.chain.experiment.plan import SOUNDS
from hitchain.errors import UserError
from hitchain.files import read_audio
from hitchain.rater.features import features
from hitchain.rater.mfcc import FeatureRater
from hitchain.rater.rater import Rater

CROP = 4.0
"""[s] of each piece of a recording of which the features are taken."""
PIECES = 6
"""Pieces of each recording at most."""
FEWEST = 30
"""Pieces that are needed to say what real music is like."""


class Panel:
    """Judges by name, asked about one audio at a time.

    Args:
        names: judge -> rater's name.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.raters = {judge: rater.load(name) for judge, name in names.items()}

    @torch.no_grad()
    def __call__(self, audio: Tensor, sample_rate: int, vector: NDArray[np.float64]) -> dict[str, float]:
        """Every judge's rating of (1, 2, samples), whose features are `vector`."""
        return {judge: self._asked(one, audio, sample_rate, vector) for judge, one in self.raters.items()}

    @staticmethod
    def _asked(one: Rater, audio: Tensor, sample_rate: int, vector: NDArray[np.float64]) -> float:
        if isinstance(one, FeatureRater):  # the features are there already
            return float(np.mean([judge.predict(vector[None]) for judge in one.judges]))
        return float(one(audio, sample_rate))


@dataclass(frozen=True)
class RealMusic:
    """Pieces of real recordings: features (pieces, features), and the recording that each piece is of."""

    vectors: NDArray[np.float64]
    recordings: NDArray[np.int64]


class Density:
    """How usual a piece is among real music: a Gaussian over its principal components.

    It has never seen a fault, a rating or anything this software made. It answers in deviations from what pieces of
    recordings that it was not fitted to get: each recording in turn is left out to find that.
    """

    COMPONENTS = 12

    def __init__(self, real: RealMusic) -> None:
        left_out = [
            _Gaussian(real.vectors[real.recordings != one], self.COMPONENTS)(real.vectors[real.recordings == one])
            for one in np.unique(real.recordings)
        ]
        usual = np.concatenate(left_out)
        self.usual, self.deviation = float(np.mean(usual)), float(np.std(usual)) + 1e-9
        self.whole = _Gaussian(real.vectors, self.COMPONENTS)

    def __call__(self, vector: NDArray[np.float64]) -> float:
        return float((self.whole(vector[None])[0] - self.usual) / self.deviation)


class _Scaling:
    """Features in deviations of real music's: without those that never differ there, outliers at `FURTHEST`."""

    FURTHEST = 8.0

    def __init__(self, vectors: NDArray[np.float64]) -> None:
        self.centre, self.spread = vectors.mean(axis=0), vectors.std(axis=0)
        self.used = self.spread > 1e-3 * (np.abs(self.centre) + 1e-3)

    def __call__(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = (vectors - self.centre)[:, self.used] / self.spread[self.used]
        return np.asarray(np.clip(scaled, -self.FURTHEST, self.FURTHEST))


class _Gaussian:
    """Minus the distance from the middle of some pieces, counted in deviations along their principal axes."""

    def __init__(self, vectors: NDArray[np.float64], components: int) -> None:
        self.scaling = _Scaling(vectors)
        scaled = self.scaling(vectors)
        self.middle = scaled.mean(axis=0)
        _, values, axes = np.linalg.svd(scaled - self.middle, full_matrices=False)
        used = max(1, min(components, len(vectors) // 4))
        self.axes = axes[:used]
        self.variance = values[:used] ** 2 / len(vectors)
        self.off = float(np.mean(self._rest(scaled))) + 1e-9

    def _rest(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the axes leave of every piece, squared."""
        away = scaled - self.middle
        return np.asarray(np.sum((away - away @ self.axes.T @ self.axes) ** 2, axis=1))

    def __call__(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = self.scaling(vectors)
        along = (scaled - self.middle) @ self.axes.T
        return np.asarray(-np.sqrt(np.sum(along**2 / self.variance, axis=1) + self._rest(scaled) / self.off))


def real_music(folder: str | Path | None, sample_rate: int) -> RealMusic | None:
    """Features of real music in a folder's `real/`; None where there is no such folder.

    Raises:
        UserError: it holds too little.
    """
    home = None if folder is None else Path(folder) / "real"
    if home is None or not home.is_dir():
        return None
    paths = [path for path in sorted(home.glob("*")) if path.suffix.lower() in SOUNDS]
    pieces = [(number, vector) for number, path in enumerate(paths) for vector in _of(path, sample_rate)]
    if len(pieces) < FEWEST or len({number for number, _ in pieces}) < 3:
        raise UserError(
            f"{home} holds {len(pieces)} pieces of {CROP:g} s; {FEWEST} of three recordings or more are needed to say "
            "what music is like."
        )
    return RealMusic(np.stack([vector for _, vector in pieces]), np.array([number for number, _ in pieces]))


def _of(path: Path, sample_rate: int) -> list[NDArray[np.float64]]:
    audio, _ = read_audio(path, sample_rate)
    samples = round(CROP * sample_rate)
    count = min(PIECES, audio.shape[-1] // samples)
    starts = np.linspace(0, max(0, audio.shape[-1] - samples), count, dtype=int).tolist()
    pieces = [audio[:, start : start + samples].numpy() for start in starts]
    return [features(piece, sample_rate) for piece in pieces if float(np.sqrt((piece**2).mean())) > 0.01]


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Between two sets of features, in deviations of the second, per feature (after Kilgour et al., 2019).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), covariances shrunk, since there are fewer pieces than would be wanted.
    """
    import scipy.linalg
    from sklearn.covariance import LedoitWolf

    scaling = _Scaling(second)
    one, other = scaling(first), scaling(second)
    c1, c2 = (np.asarray(LedoitWolf().fit(part).covariance_) for part in (one, other))
    root = scipy.linalg.sqrtm(c1 @ c2)
    distance = np.sum((one.mean(axis=0) - other.mean(axis=0)) ** 2) + np.trace(c1 + c2 - 2.0 * np.real(root))
    return float(max(distance, 0.0) / one.shape[1])


def check_panel(climbed: Sequence[str], judges: Mapping[str, Any]) -> None:
    """Raises `UserError` where a judge is itself climbed: its word would be worth nothing."""
    for judge, name in judges.items():
        if name in climbed:
            raise UserError(f"judges.{judge}={name} is climbed too; a judge must never be climbed.")
