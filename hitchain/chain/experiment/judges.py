"""Who judges: raters that were never climbed, of other architectures and recordings, and one that knows no faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from hitchain.rater.features import NAMES, features

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
        real: features of real music (pieces, features); adds the judge "real music", which is the log-density of a
            Gaussian fitted to them, in units of its standard deviation over those pieces. None to go without.
    """

    def __init__(self, names: Mapping[str, str], real: NDArray[np.float64] | None) -> None:
        self.raters = {judge: rater.load(name) for judge, name in names.items()}
        self.density = None if real is None else Density(real)

    @property
    def names(self) -> list[str]:
        return [*self.raters, *(["real music"] if self.density is not None else [])]

    @torch.no_grad()
    def __call__(self, audio: Tensor, sample_rate: int, vector: NDArray[np.float64]) -> dict[str, float]:
        """Every judge's rating of (1, 2, samples), whose features are `vector`."""
        said = {judge: float(one(audio, sample_rate)) for judge, one in self.raters.items()}
        if self.density is not None:
            said["real music"] = self.density(vector)
        return said


class Density:
    """How usual a piece is among real music: a Gaussian with a shrunk covariance (Ledoit and Wolf, 2004).

    It has never seen a fault, a rating or anything this software made.
    """

    def __init__(self, real: NDArray[np.float64]) -> None:
        from sklearn.covariance import LedoitWolf

        self.centre, self.spread = real.mean(axis=0), real.std(axis=0) + 1e-9
        fitted = LedoitWolf().fit((real - self.centre) / self.spread)
        self.precision = np.asarray(fitted.precision_)
        own = self._distance(real)
        self.usual, self.deviation = float(np.mean(-own)), float(np.std(own)) + 1e-9

    def _distance(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        away = (np.atleast_2d(vectors) - self.centre) / self.spread
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", away, self.precision, away)))

    def __call__(self, vector: NDArray[np.float64]) -> float:
        return float((-self._distance(vector)[0] - self.usual) / self.deviation)


def real_features(folder: str | Path | None, sample_rate: int) -> NDArray[np.float64] | None:
    """Features of real music in a folder's `real/`: (pieces, features); None where there is no such folder.

    Raises:
        UserError: it holds too little.
    """
    home = None if folder is None else Path(folder) / "real"
    if home is None or not home.is_dir():
        return None
    vectors = [
        vector for path in sorted(home.glob("*")) if path.suffix.lower() in SOUNDS for vector in _of(path, sample_rate)
    ]
    if len(vectors) < FEWEST:
        raise UserError(
            f"{home} holds {len(vectors)} pieces of {CROP:g} s; {FEWEST} are needed to say what music is like."
        )
    return np.stack(vectors)


def _of(path: Path, sample_rate: int) -> list[NDArray[np.float64]]:
    audio, _ = read_audio(path, sample_rate)
    samples = round(CROP * sample_rate)
    count = min(PIECES, audio.shape[-1] // samples)
    starts = np.linspace(0, max(0, audio.shape[-1] - samples), count, dtype=int).tolist()
    pieces = [audio[:, start : start + samples].numpy() for start in starts]
    return [features(piece, sample_rate) for piece in pieces if float(np.sqrt((piece**2).mean())) > 0.01]


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Between two sets of features, each dimension in the second's standard deviations (Kilgour et al., 2019).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), covariances shrunk, since there are fewer pieces than would be wanted.
    """
    import scipy.linalg
    from sklearn.covariance import LedoitWolf

    centre, spread = second.mean(axis=0), second.std(axis=0) + 1e-9
    one, other = (first - centre) / spread, (second - centre) / spread
    c1, c2 = (np.asarray(LedoitWolf().fit(part).covariance_) for part in (one, other))
    root = scipy.linalg.sqrtm(c1 @ c2)
    distance = np.sum((one.mean(axis=0) - other.mean(axis=0)) ** 2) + np.trace(c1 + c2 - 2.0 * np.real(root))
    return float(max(distance, 0.0) / len(NAMES))


def check_panel(climbed: Sequence[str], judges: Mapping[str, Any]) -> None:
    """Raises `UserError` where a judge is itself climbed: its word would be worth nothing."""
    for judge, name in judges.items():
        if name in climbed:
            raise UserError(f"judges.{judge}={name} is climbed too; a judge must never be climbed.")
