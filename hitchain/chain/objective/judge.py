"""A judge: anything that gives each candidate's audio a number. One that fails stops a climb, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hitchain.errors import UserError

Judge = Callable[[Tensor, int], Tensor]
"""audio (batch, channels, samples), sample rate [Hz] -> rating (batch,)."""


class RaterFailed(Exception):
    """A judge raised, or gave something that is not a rating for each candidate. The message says which."""


def ask(judge: Judge, audio: Tensor, sample_rate: int) -> Tensor:
    """The judge's rating of every candidate: (batch,).

    Raises:
        RaterFailed: the judge raised, or its answer is not one number for each candidate.
        UserError: the judge itself says what its user did wrong.
    """
    try:
        rating = judge(audio, sample_rate)
    except (UserError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # a user's own module may raise anything
        raise RaterFailed(f"the rater failed: {type(error).__name__}: {error}") from error
    if not isinstance(rating, Tensor) or rating.shape != (audio.shape[0],):
        shape = tuple(rating.shape) if isinstance(rating, Tensor) else type(rating).__name__
        raise RaterFailed(f"the rater answered with {shape}; it should give a tensor of shape ({audio.shape[0]},)")
    return rating
