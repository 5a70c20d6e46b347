"""Which moments and bands raise or lower a rating: integrated gradients on the log-mel frames.

Integrated gradients (Sundararajan, Taly and Yan, ICML 2017): with x the song's frames and b a baseline,

    a_i = (x_i - b_i) * integral over t from 0 to 1 of d rating(b + t (x - b)) / d x_i

is what place i adds; all a_i sum to rating(x) - rating(b) (completeness, which is checked here and reported). The
integral is taken by Gauss-Legendre quadrature with as many points as completeness asks for.

The baseline decides the question. "mean", every frame the song's own mean spectrum, asks which moments and bands make
the song differ from a still version of itself: it has the song's own colour and level, so it is a far smaller step out
of what the rater knows than silence is. A colour that never changes gets no credit by it; for that there are the
changes of `counterfactual.py`, and the baseline "silence", which asks what makes the rating differ from that of
nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hitchain.rater.rater import Rater, window_edges

BASELINES = ("mean", "silence")
TOLERANCE = 0.001
"""A window's sum may miss its rating difference by this share of it (or of `SMALLEST`, if that is larger)."""
SMALLEST = 0.005
FEWEST_POINTS, MOST_POINTS = 8, 512
AT_ONCE = 2000
"""Frames of all points of the path that are held with their gradients at a time."""

Tick = Callable[[int], None]


@dataclass(frozen=True)
class Attribution:
    """What each place of a song adds to its rating.

    Attributes:
        values: (members, 2, bands, frames), for mid and side, in units of the rating.
        levels: (2, bands, frames), the log-mel frames, 0 (empty) to about 1.
        times: (frames,), the centre of each frame [s].
        rating, reference: (members,), of the song and of the baseline.
        points: of the quadrature, the most that a window needed.
    """

    values: NDArray[np.float32]
    levels: NDArray[np.float32]
    times: NDArray[np.float64]
    rating: NDArray[np.float64]
    reference: NDArray[np.float64]
    points: int

    @property
    def difference(self) -> float:
        """The rating of the song less that of the baseline."""
        return float((self.rating - self.reference).mean())

    @property
    def attributed(self) -> float:
        """The sum of all that is attributed: the same, but for the quadrature."""
        return float(self.values.sum(axis=(1, 2, 3), dtype=np.float64).mean())

    @property
    def completeness_error(self) -> float:
        """|attributed - difference| as a share of the difference (of `SMALLEST`, if that is larger).

        Where windows add and take as much, the difference is small and the share says little about the parts.
        """
        return abs(self.attributed - self.difference) / max(abs(self.difference), SMALLEST)


def attribute(
    rater: Rater, audio: Tensor, sample_rate: int, baseline: str, window_seconds: float, tick: Tick = lambda done: None
) -> Attribution:
    """Attributions of a song of any length, window by window as `Rater.rate` hears it.

    Args:
        audio: (channels, samples). baseline: one of `BASELINES`. tick: is told how many windows are done.
    """
    edges = window_edges(audio.shape[-1], sample_rate, window_seconds)
    windows = list(itertools.pairwise(edges))
    with torch.no_grad():
        frames = [rater.front_end(audio[None, :, a:b], sample_rate)[0] for a, b in windows]
    still = _baseline(baseline, frames)
    scales = rater.scales.cpu().double().numpy()
    slopes, offsets = scales[:, 0], scales[:, 1]
    values, ratings, references, most = [], [], [], 0
    for number, ((start, end), heard) in enumerate(zip(windows, frames, strict=True)):
        share = (end - start) / audio.shape[-1]
        found = [integrated_gradients(network, heard, still.expand_as(heard)) for network in rater.networks]
        values.append(torch.stack([slope * one.values for slope, one in zip(slopes, found, strict=True)]) * share)
        ratings.append((slopes * [one.rating for one in found] + offsets) * share)
        references.append((slopes * [one.reference for one in found] + offsets) * share)
        most = max(most, *(one.points for one in found))
        tick(number + 1)
    hop = rater.front_end.settings.hop_seconds
    times = [
        start / sample_rate + hop * np.arange(heard.shape[-1])
        for (start, _), heard in zip(windows, frames, strict=True)
    ]
    return Attribution(
        values=torch.cat(values, dim=-1).cpu().numpy(),
        levels=torch.cat(frames, dim=-1).cpu().numpy(),
        times=np.concatenate(times),
        rating=np.sum(ratings, axis=0),
        reference=np.sum(references, axis=0),
        points=most,
    )


def _baseline(kind: str, frames: list[Tensor]) -> Tensor:
    """(2, bands, 1): the mean over all frames of the song, or empty bands."""
    if kind == "silence":
        return torch.zeros_like(frames[0][..., :1])
    return torch.cat(frames, dim=-1).mean(dim=-1, keepdim=True)


@dataclass(frozen=True)
class Path:
    """One network's integrated gradients over one window: `values` (2, bands, frames) sum to rating - reference."""

    values: Tensor
    rating: float
    reference: float
    points: int


def integrated_gradients(network: nn.Module, frames: Tensor, baseline: Tensor) -> Path:
    """Integrated gradients of one network, with points doubled until they sum to the difference within `TOLERANCE`.

    Shape:
        - frames, baseline: (2, bands, frames)
    """
    with torch.no_grad():
        rating, reference = (float(network(one[None])) for one in (frames, baseline))
    wanted = TOLERANCE * max(abs(rating - reference), SMALLEST)
    points = FEWEST_POINTS
    while True:
        values = (frames - baseline) * _mean_gradient(network, frames, baseline, points)
        if abs(float(values.double().sum()) - (rating - reference)) <= wanted or points >= MOST_POINTS:
            return Path(values, rating, reference, points)
        points *= 2


def _mean_gradient(network: nn.Module, frames: Tensor, baseline: Tensor, points: int) -> Tensor:
    """The gradient of the rating, averaged along the straight line from the baseline to the frames."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    total = torch.zeros_like(frames)
    step = max(1, AT_ONCE // frames.shape[-1])
    for first in range(0, points, step):
        place = frames.new_tensor((nodes[first : first + step] + 1.0) / 2.0)[:, None, None, None]
        weight = frames.new_tensor(weights[first : first + step] / 2.0)[:, None, None, None]
        line = (baseline + place * (frames - baseline)).requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(network(line).sum(), line)
        total += (weight * gradient).sum(0)
    return total
