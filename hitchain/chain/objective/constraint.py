"""Constraints: a term kept between bounds by an augmented Lagrangian, not by a weight that someone must guess."""

from __future__ import annotations

import torch
from torch import Tensor

from hitchain.chain.objective.term import Heard, Term

GROWTH = 1.5
"""By how much the penalty grows where a violation has not fallen to `ENOUGH` of what it was."""
ENOUGH = 0.95
STIFFEST = 100.0
DEAREST = 10.0
"""The multiplier's end [rating per unit of scale]; and a violation moves it as if it were 1 at most. A bound that is
far off when a climb begins would else wind it up, and swing far past."""
EVERY = 4
"""Steps between two updates of the multipliers: the mean over them is less noisy than one window."""


class Constraint:
    """at_least <= measure <= at_most.

    With g the violation of a bound in the term's `scale`, signed, what is added to the objective is

        -(max(0, m + p g)^2 - m^2) / (2 p)

    (Powell-Hestenes-Rockafellar; Nocedal and Wright, chapter 17). Every few steps the multiplier m becomes
    max(0, m + p g), and the penalty p grows where g did not shrink: so a bound is met even where it costs rating.

    Args:
        term: what is measured.
        at_least, at_most: in the term's unit; None for no bound. A tensor (batch,) bounds every candidate by itself.
        penalty: p to begin with.
    """

    def __init__(
        self,
        term: Term,
        at_least: float | Tensor | None = None,
        at_most: float | Tensor | None = None,
        penalty: float = 1.0,
    ) -> None:
        if at_least is None and at_most is None:
            raise ValueError("a constraint needs a bound")
        self.term, self.at_least, self.at_most = term, at_least, at_most
        self.multiplier = torch.zeros(2, 1)  # of the lower and of the upper bound, for every candidate
        self.penalty = torch.full((2, 1), float(penalty))
        self.sum = torch.zeros(2, 1)
        self.before = torch.full((2, 1), torch.inf)
        self.count = 0

    def excess(self, measure: Tensor) -> Tensor:
        """How far each bound is violated, in the term's scale; negative inside: (2, batch)."""
        nothing = torch.full_like(measure, -torch.inf)
        low = nothing if self.at_least is None else torch.as_tensor(self.at_least).to(measure) - measure
        high = nothing if self.at_most is None else measure - torch.as_tensor(self.at_most).to(measure)
        return torch.stack([low, high]) / self.term.scale

    def violation(self, measure: Tensor) -> Tensor:
        """The larger violation in the term's unit, 0 inside the bounds: (batch,)."""
        return self.excess(measure).clamp_min(0.0).max(dim=0).values * self.term.scale

    def added(self, measure: Tensor) -> Tensor:
        """What the constraint adds to the objective: (batch,), never over 0 for a bound that is not met."""
        multiplier, penalty = (self._fit(value, measure) for value in (self.multiplier, self.penalty))
        pushed = (multiplier + penalty * self.excess(measure)).clamp_min(0.0)
        return -((pushed.square() - multiplier.square()) / (2.0 * penalty)).sum(dim=0)

    @torch.no_grad()
    def learn(self, measure: Tensor) -> None:
        """Hear how a step went; every `EVERY` steps the multipliers move."""
        excess = self.excess(measure.detach()).clamp_min(-1e6)
        self.sum = self._fit(self.sum, measure) + excess
        self.count += 1
        if self.count % EVERY:
            return
        mean = self.sum / EVERY
        self.multiplier, self.penalty = (self._fit(value, measure) for value in (self.multiplier, self.penalty))
        self.multiplier = (self.multiplier + self.penalty * mean.clamp(-1.0, 1.0)).clamp(0.0, DEAREST)
        violated, before = mean.clamp_min(0.0), self._fit(self.before, measure)
        stuck = (violated > 0.02) & (violated > ENOUGH * before)
        self.penalty = torch.where(stuck, (self.penalty * GROWTH).clamp_max(STIFFEST), self.penalty)
        self.before, self.sum = violated, torch.zeros_like(mean)

    @staticmethod
    def _fit(value: Tensor, measure: Tensor) -> Tensor:
        """A state (2, candidates) for as many candidates as there are now; where their number changed, their mean."""
        if value.shape[1] != measure.shape[0]:
            value = value.mean(dim=1, keepdim=True).expand(-1, measure.shape[0])
        return value.to(measure)

    _KEPT = ("multiplier", "penalty", "sum", "before")

    def state(self) -> dict[str, Tensor]:
        """All that changes, as tensors."""
        own = {key: getattr(self, key) for key in self._KEPT}
        return {**own, "count": torch.tensor(self.count), **self.term.state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from `state`."""
        for key in self._KEPT:
            setattr(self, key, state[key])
        self.count = int(state["count"])
        self.term.restore({key: value for key, value in state.items() if key not in (*self._KEPT, "count")})


def measured(term: Term, heard: Heard) -> Tensor:
    """A term's measure, checked to be one number for each candidate."""
    measure = term.measure(heard)
    if measure.shape != (heard.audio.shape[0],):
        raise ValueError(f"term {term.name} gave {tuple(measure.shape)} for {heard.audio.shape[0]} candidates")
    return measure
