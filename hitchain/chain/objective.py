"""The objective: what the ascent climbs. The mean rating of the climbed members, and terms that hold it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Judge = Callable[[Tensor, int], Tensor]
"""audio (batch, channels, samples), sample rate [Hz] -> rating (batch,)."""

NEAR_BOUND = 0.05
"""A knob within this share of its range from an end counts as near a bound."""


@dataclass(frozen=True)
class Score:
    """An objective's value, per candidate.

    Attributes:
        objective: (batch,), what is climbed.
        rating: (batch,), the mean of the climbed members.
        terms: {name: (batch,)}, the weighted terms, already signed: they add up with the rating to the objective.
    """

    objective: Tensor
    rating: Tensor
    terms: dict[str, Tensor]


class Objective:
    """rating - neutral * mean (u - u0)^2 - bounds * share of knobs near an end of their range.

    Args:
        climbed: the raters whose mean is climbed. At least two that differ are wanted: one alone is gamed.
        heldout: a rater that is shown and that stops the climb, but is never climbed; None to go without.
        neutral: weight of the pull toward the neutral patch u0 (knob positions).
        bounds: weight of the soft count of knobs within `NEAR_BOUND` of an end.
    """

    def __init__(
        self, climbed: Sequence[Judge], heldout: Judge | None = None, neutral: float = 3.0, bounds: float = 0.05
    ) -> None:
        if not climbed:
            raise ValueError("an objective needs at least one rater to climb")
        self.climbed = list(climbed)
        self.heldout = heldout
        self.neutral = neutral
        self.bounds = bounds

    def rate(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The mean rating of the climbed members: (batch,)."""
        return torch.stack([judge(audio, sample_rate) for judge in self.climbed]).mean(dim=0)

    def rate_heldout(self, audio: Tensor, sample_rate: int) -> Tensor | None:
        """The rating of the member that is never climbed: (batch,)."""
        if self.heldout is None:
            return None
        with torch.no_grad():
            return self.heldout(audio.detach(), sample_rate)

    def score(self, rating: Tensor, positions: Tensor, neutral: Tensor) -> Score:
        """Ratings (batch,) and knob positions (batch, size), neutral (1, size), as a score."""
        terms = {
            "neutral": -self.neutral * (positions - neutral).square().mean(dim=-1),
            "bounds": -self.bounds * _near_bounds(positions, neutral).mean(dim=-1),
        }
        return Score(rating + sum(terms.values(), torch.zeros_like(rating)), rating, terms)


def _near_bounds(positions: Tensor, neutral: Tensor) -> Tensor:
    """0 for a knob well inside its range, rising quadratically to 1 at an end; a knob that began there is let be."""
    room = torch.minimum(positions, 1.0 - positions)
    allowed = torch.minimum(torch.minimum(neutral, 1.0 - neutral), torch.full_like(neutral, NEAR_BOUND))
    return (1.0 - room / allowed.clamp_min(1e-6)).clamp_min(0.0).square()
