"""A front: what rating can be had at each level of another term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hitchain.chain.objective.constraint import Constraint
from hitchain.chain.objective.term import Term


@dataclass(frozen=True)
class Front:
    """Every candidate climbs under a bound of its own on one term (the epsilon-constraint method; Haimes, Lasdon and
    Wismer 1971): the best of each are a front of rating against that term.

    Attributes:
        term: what is bounded.
        levels: (batch,), a bound for each candidate, in the term's unit. Where they rise, more of the term is wanted,
            and each is the least that is allowed; where they fall, less, and each is the most.
    """

    term: Term
    levels: Tensor

    @property
    def rising(self) -> bool:
        """Whether more of the term is wanted."""
        return float(self.levels[-1]) >= float(self.levels[0])

    def constraint(self) -> Constraint:
        """The bounds, one for each candidate."""
        if self.rising:
            return Constraint(self.term, at_least=self.levels)
        return Constraint(self.term, at_most=self.levels)


def dominated(ratings: Sequence[float], measures: Sequence[float], rising: bool) -> list[bool]:
    """Which of several are no better than another in both: rated no higher, with no more (or less) of the term, and
    worse in one of them."""
    points = [(rating, measure if rising else -measure) for rating, measure in zip(ratings, measures, strict=True)]
    return [any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in points) for own in points]
