"""Terms of the knob positions alone: how far from the starting patch, and how near the ends of their ranges."""

from __future__ import annotations

import torch
from torch import Tensor

from hitchain.chain.objective.term import Heard, Term, term

NEAR_BOUND = 0.05
"""A knob within this share of its range from an end counts as near a bound."""


@term("neutral")
class Neutral(Term):
    """mean (u - u0)^2 over the freed knobs u and where they stood in the starting patch, u0: 0 where nothing moved."""

    audible = False

    def measure(self, heard: Heard) -> Tensor:
        return (heard.positions - heard.neutral).square().mean(dim=-1)


@term("bounds")
class Bounds(Term):
    """Soft share of knobs within `NEAR_BOUND` of an end: 0 for one well inside, rising quadratically to 1 at the end.

    A knob that began near an end is let be.
    """

    audible = False

    def measure(self, heard: Heard) -> Tensor:
        return _near_bounds(heard.positions, heard.neutral).mean(dim=-1)


def _near_bounds(positions: Tensor, neutral: Tensor) -> Tensor:
    room = torch.minimum(positions, 1.0 - positions)
    allowed = torch.minimum(torch.minimum(neutral, 1.0 - neutral), torch.full_like(neutral, NEAR_BOUND))
    return (1.0 - room / allowed.clamp_min(1e-6)).clamp_min(0.0).square()
