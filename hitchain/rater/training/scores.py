"""How ratings and targets agree: the few figures that a training reports of itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def accuracy(logits: Array, numbers: NDArray[np.int64]) -> float | None:
    """Share of the recordings whose class is the likeliest one; None where no label is known."""
    known = numbers >= 0
    return float(np.mean(logits[known].argmax(axis=1) == numbers[known])) if known.any() else None


class Line:
    """The straight line from ratings to targets with the least squared error, from running sums.

    Ratings that were only ranked have no unit; the line of the training songs gives them that of the targets.
    """

    def __init__(self, sums: tuple[float, ...] = (0.0,) * 5) -> None:
        self.sums = tuple(sums)  # count, ratings, targets, ratings squared, ratings times targets

    def add(self, ratings: Array, targets: Array) -> None:
        known = np.isfinite(targets)
        r, t = ratings[known], targets[known]
        new = (len(r), r.sum(), t.sum(), (r * r).sum(), (r * t).sum())
        self.sums = tuple(float(a + b) for a, b in zip(self.sums, new, strict=True))

    def slope_and_offset(self) -> tuple[float, float]:
        """(slope, offset); (0, mean of the targets) where the ratings are all the same or fall as targets rise."""
        count, r, t, rr, rt = self.sums
        spread = rr - r * r / max(count, 1.0)
        slope = (rt - r * t / max(count, 1.0)) / spread if spread > 1e-12 * max(rr, 1e-12) else 0.0
        slope = max(slope, 0.0)
        return slope, (t - slope * r) / max(count, 1.0)
