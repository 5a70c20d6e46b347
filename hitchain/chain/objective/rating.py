"""The rating of an ensemble: its mean, a lower confidence bound, or its worst member, also on altered copies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hitchain.chain.objective.judge import Judge, RaterFailed, ask
from hitchain.chain.objective.robustness import Robustness
from hitchain.errors import UserError, nearest

STATISTICS = ("mean", "lower", "worst")


class Rating:
    """What the climbed members say together.

    Members are compared by how far each rates above what it gave the starting patch, since their scales differ: one
    that is always stricter would else be the worst for ever.

        mean: the mean of the members
        lower: mean - confidence * standard deviation of those gains
        worst: the least of those gains

    Args:
        members: raters; one that is an ensemble itself counts as its members.
        statistic: one of `STATISTICS`.
        confidence: of "lower".
        robustness: altered copies that are rated beside the audio itself, their mean counting; None for none.

    Raises:
        UserError: the statistic is unknown, or the confidence negative.
    """

    def __init__(
        self,
        members: Sequence[Judge],
        statistic: str = "mean",
        confidence: float = 1.0,
        robustness: Robustness | None = None,
    ) -> None:
        if not members:
            raise ValueError("a rating needs at least one rater")
        if statistic not in STATISTICS:
            raise UserError(f"objective.ensemble={statistic!r}; {nearest(str(statistic), STATISTICS)}")
        if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0.0 <= confidence <= 100.0:
            raise UserError(f"objective.confidence={confidence!r} should be a number from 0 to 100.")
        self.members = list(members)
        self.statistic = statistic
        self.confidence = float(confidence)
        self.robustness = robustness
        self.baseline: Tensor | None = None

    def each(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Every member's rating: (batch, members)."""
        return torch.cat([_each(judge, audio, sample_rate) for judge in self.members], dim=1)

    def begin(self, audio: Sequence[Tensor], sample_rate: int) -> None:
        """Take the ratings of the starting patch, heard in several windows, as what gains are counted from."""
        with torch.no_grad():
            self.baseline = torch.stack([self.each(part, sample_rate)[:1] for part in audio]).mean(dim=0)

    def together(self, each: Tensor) -> Tensor:
        """Members' ratings (batch, members) as one: (batch,)."""
        if self.statistic == "mean" or each.shape[1] == 1:
            return each.mean(dim=1)
        baseline = torch.zeros_like(each[:1]) if self.baseline is None else self.baseline.to(each)
        gains = each - baseline
        if self.statistic == "worst":
            return baseline.mean() + gains.min(dim=1).values
        # The variance is kept off 0, where its root has no slope.
        spread = (gains.var(dim=1, correction=0) + 1e-8).sqrt()
        return baseline.mean() + gains.mean(dim=1) - self.confidence * spread

    def __call__(self, audio: Tensor, sample_rate: int, draw: int = 0) -> tuple[Tensor, Tensor]:
        """What is climbed, (batch,), and the plain mean of the members on the audio as it is, (batch,).

        Args:
            draw: from which the alterations of the copies are drawn.
        """
        each = self.each(audio, sample_rate)
        climbed = [self.together(each)]
        if self.robustness is not None:
            copies = self.robustness.copies_of(audio, sample_rate, draw)
            climbed += [self.together(self.each(copy, sample_rate)) for copy in copies]
        return torch.stack(climbed).mean(dim=0), each.mean(dim=1)


def _each(judge: Judge, audio: Tensor, sample_rate: int) -> Tensor:
    """(batch, members) of one judge, which may be an ensemble."""
    each = getattr(judge, "each", None)
    if each is None:
        return ask(judge, audio, sample_rate)[:, None]
    try:
        return torch.as_tensor(each(audio, sample_rate))
    except (UserError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # a user's own module may raise anything
        raise RaterFailed(f"the rater failed: {type(error).__name__}: {error}") from error
