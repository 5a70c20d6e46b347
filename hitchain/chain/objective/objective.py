"""The objective: the rating of the climbed members, weighted terms beside it, and constraints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.objective.constraint import Constraint, measured
from hitchain.chain.objective.front import Front
from hitchain.chain.objective.judge import Judge, ask
from hitchain.chain.objective.rating import Rating
from hitchain.chain.objective.term import Heard, Term, find

FRONT = "front"
"""The name of the constraint that bounds every candidate by itself."""
OUTSIDE = 10.0
"""What a violation of one unit of scale costs when candidates are compared: far more than any rating gains."""


@dataclass(frozen=True)
class Weighted:
    """A term and what one unit of its measure is worth: negative to push it down."""

    term: Term
    weight: float

    def state(self) -> dict[str, Tensor]:
        return self.term.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        self.term.restore(state)


@dataclass(frozen=True)
class Score:
    """An objective's value, per candidate.

    Attributes:
        objective: (batch,), what is climbed.
        rating: (batch,), the mean of the climbed members on the audio as it is.
        terms: {name: (batch,)}, what each term and constraint adds, already signed.
        measures: {name: (batch,)}, what each measured, in its own unit.
        merit: (batch,), by which candidates are compared: as the objective, but with a fixed price on violations, so
            that it means the same all along a climb.
        violation: (batch,), how far bounds are violated, each in the scale of its term, added up.
    """

    objective: Tensor
    rating: Tensor
    terms: dict[str, Tensor]
    measures: dict[str, Tensor]
    merit: Tensor
    violation: Tensor

    @staticmethod
    def mean(scores: Sequence[Score]) -> Score:
        """The mean of scores of the same candidates, heard in several windows."""

        def over(values: Sequence[Tensor]) -> Tensor:
            return torch.stack(list(values)).mean(dim=0)

        return Score(
            over([score.objective for score in scores]),
            over([score.rating for score in scores]),
            {key: over([score.terms[key] for score in scores]) for key in scores[0].terms},
            {key: over([score.measures[key] for score in scores]) for key in scores[0].measures},
            over([score.merit for score in scores]),
            over([score.violation for score in scores]),
        )


class Objective:
    """The rating of the climbed members, plus weighted terms, under constraints.

    Args:
        climbed: the raters that are climbed, or their `Rating`. At least two that differ are wanted: one is gamed.
        heldout: a rater that is shown and that stops the climb, but is never climbed; None to go without.
        neutral: weight of the pull toward the starting patch; a positive number.
        bounds: weight of the soft count of knobs near an end of their range; a positive number.
        terms: more terms by name, each with its weight.
        constraints: terms by name, each between bounds.
        front: a bound for each candidate by itself, for a front of rating against a term; None for none.
    """

    def __init__(
        self,
        climbed: Sequence[Judge] | Rating,
        heldout: Judge | None = None,
        neutral: float = 3.0,
        bounds: float = 0.05,
        terms: Mapping[str, Weighted] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
        front: Front | None = None,
    ) -> None:
        self.rating = climbed if isinstance(climbed, Rating) else Rating(climbed)
        self.heldout = heldout
        self.terms: dict[str, Weighted] = {
            "neutral": Weighted(find("neutral")(), -neutral),
            "bounds": Weighted(find("bounds")(), -bounds),
            **(terms or {}),
        }
        self.constraints = dict(constraints or {})
        self.front = front
        if front is not None:
            self.constraints[FRONT] = front.constraint()

    def rate(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The mean rating of the climbed members: (batch,)."""
        return self.rating.each(audio, sample_rate).mean(dim=1)

    def rate_heldout(self, audio: Tensor, sample_rate: int) -> Tensor | None:
        """The rating of the member that is never climbed: (batch,)."""
        if self.heldout is None:
            return None
        with torch.no_grad():
            return ask(self.heldout, audio.detach(), sample_rate)

    def begin(self, heard: Sequence[Heard]) -> None:
        """Hear the starting patch, in several windows, before a climb."""
        self.rating.begin([part.audio for part in heard], heard[0].sample_rate)
        for term in self._all_terms():
            term.begin(heard)

    def score(self, heard: Heard) -> Score:
        """What is heard, as a score; differentiable in the audio and the positions."""
        climbed, rating = self.rating(heard.audio, heard.sample_rate, heard.draw)
        measures = {name: measured(weighted.term, heard) for name, weighted in self.terms.items()}
        terms = {name: self.terms[name].weight * value for name, value in measures.items()}
        merit = climbed.detach() + _sum(terms, climbed).detach()
        violation = torch.zeros_like(merit)
        for name, constraint in self.constraints.items():
            measures[name] = measured(constraint.term, heard)
            terms[name] = constraint.added(measures[name])
            violation = violation + constraint.violation(measures[name].detach()) / constraint.term.scale
        merit = merit - OUTSIDE * violation
        return Score(climbed + _sum(terms, climbed), rating, terms, measures, merit, violation)

    def measure(self, heard: Heard) -> dict[str, Tensor]:
        """What every term and constraint measures, in its own unit: {name: (batch,)}."""
        return {name: measured(item.term, heard) for name, item in self._held().items()}

    @torch.no_grad()
    def learn(self, heard: Heard, score: Score) -> None:
        """Let the terms and constraints learn from what was heard in a step."""
        heard = dataclasses.replace(heard, audio=heard.audio.detach(), positions=heard.positions.detach())
        for term in self._all_terms():
            term.learn(heard)
        for name, constraint in self.constraints.items():
            constraint.learn(score.measures[name])

    def _held(self) -> dict[str, Weighted | Constraint]:
        return {**self.terms, **self.constraints}

    def _all_terms(self) -> list[Term]:
        """Every term once: one may be both weighted and bounded."""
        return list({id(item.term): item.term for item in self._held().values()}.values())

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold for the climb to go on as it would have."""
        own = {f"{name}.{key}": value for name, item in self._held().items() for key, value in item.state().items()}
        return own if self.rating.baseline is None else {**own, "baseline": self.rating.baseline}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        self.rating.baseline = state.get("baseline")
        for name, item in self._held().items():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            if own:
                item.restore(own)


def _sum(terms: Mapping[str, Tensor], like: Tensor) -> Tensor:
    return sum(terms.values(), torch.zeros_like(like))
