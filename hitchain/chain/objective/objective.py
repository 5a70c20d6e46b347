"""The objective: the rating of the climbed members and weighted terms beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.objective.judge import Judge, ask
from hitchain.chain.objective.term import Heard, Term, find


@dataclass(frozen=True)
class Weighted:
    """A term and what one unit of its measure is worth: negative to push it down."""

    term: Term
    weight: float


@dataclass(frozen=True)
class Score:
    """An objective's value, per candidate.

    Attributes:
        objective: (batch,), what is climbed.
        rating: (batch,), the mean of the climbed members.
        terms: {name: (batch,)}, what each adds, already signed: they add up with the rating to the objective.
        measures: {name: (batch,)}, what each term measured, in its own unit.
    """

    objective: Tensor
    rating: Tensor
    terms: dict[str, Tensor]
    measures: dict[str, Tensor]

    @staticmethod
    def mean(scores: Sequence[Score]) -> Score:
        """The mean of scores of the same candidates, heard in several windows."""
        return Score(
            torch.stack([score.objective for score in scores]).mean(dim=0),
            torch.stack([score.rating for score in scores]).mean(dim=0),
            {key: torch.stack([score.terms[key] for score in scores]).mean(dim=0) for key in scores[0].terms},
            {key: torch.stack([score.measures[key] for score in scores]).mean(dim=0) for key in scores[0].measures},
        )


class Objective:
    """The mean rating of the climbed members plus weighted terms.

    Args:
        climbed: the raters whose mean is climbed. At least two that differ are wanted: one alone is gamed.
        heldout: a rater that is shown and that stops the climb, but is never climbed; None to go without.
        neutral: weight of the pull toward the starting patch; a positive number.
        bounds: weight of the soft count of knobs near an end of their range; a positive number.
        terms: more terms by name, each with its weight.
    """

    def __init__(
        self,
        climbed: Sequence[Judge],
        heldout: Judge | None = None,
        neutral: float = 3.0,
        bounds: float = 0.05,
        terms: Mapping[str, Weighted] | None = None,
    ) -> None:
        if not climbed:
            raise ValueError("an objective needs at least one rater to climb")
        self.climbed = list(climbed)
        self.heldout = heldout
        self.terms = {
            "neutral": Weighted(find("neutral")(), -neutral),
            "bounds": Weighted(find("bounds")(), -bounds),
            **(terms or {}),
        }

    def rate(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The mean rating of the climbed members: (batch,)."""
        return torch.stack([ask(judge, audio, sample_rate) for judge in self.climbed]).mean(dim=0)

    def rate_heldout(self, audio: Tensor, sample_rate: int) -> Tensor | None:
        """The rating of the member that is never climbed: (batch,)."""
        if self.heldout is None:
            return None
        with torch.no_grad():
            return ask(self.heldout, audio.detach(), sample_rate)

    def score(self, heard: Heard) -> Score:
        """What is heard, as a score; differentiable in the audio and the positions."""
        rating = self.rate(heard.audio, heard.sample_rate)
        measures = {name: weighted.term.measure(heard) for name, weighted in self.terms.items()}
        terms = {name: self.terms[name].weight * value for name, value in measures.items()}
        return Score(rating + sum(terms.values(), torch.zeros_like(rating)), rating, terms, measures)

    @torch.no_grad()
    def learn(self, heard: Heard, score: Score) -> None:
        """Let the terms learn from what was heard in a step."""
        for weighted in self.terms.values():
            weighted.term.learn(heard)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold for the climb to go on as it would have."""
        return {
            f"{name}.{key}": value
            for name, weighted in self.terms.items()
            for key, value in weighted.term.state().items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        for name, weighted in self.terms.items():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            if own:
                weighted.term.restore(own)
