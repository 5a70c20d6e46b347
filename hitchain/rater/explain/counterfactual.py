"""The rating's change under changes of the recording: each made, and rated again; none inferred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.rater.explain.edits import Edit, edits, neutral
from hitchain.rater.explain.summary import told

Rate = Callable[[Tensor], Tensor]
"""Audio (channels, samples) -> the rating of every member (members,)."""
Tick = Callable[[int, str], None]


@dataclass(frozen=True)
class Counterfactuals:
    """Rows {kind, name, change, spread, clear, members}, the largest change first, and the noise floor.

    The floor is the largest change of the mean rating under changes that nobody would hear as one.
    """

    rows: list[dict[str, Any]]
    floor: float


def counterfactuals(
    rate: Rate, audio: Tensor, sample_rate: int, tick: Tick = lambda done, name: None
) -> Counterfactuals:
    """Make every change, rate the outcome, and compare with the recording as it is.

    The change of an edit that has a control is what goes beyond that control: the phase vocoder's own sound is not the
    tempo's doing. A change is clear where it is above the noise floor and every member agrees on its sign.
    """
    before = rate(audio).double().numpy()
    changes, still = edits(audio, sample_rate), neutral()
    heard = _heard(rate, audio, sample_rate, [*still, *changes], before, tick)
    floor = max(abs(float(heard[edit.name].mean())) for edit in still)
    rows = []
    for edit in changes:
        members = heard[edit.name] - (heard[edit.control] if edit.control else 0.0)
        told_members = [float(value) for value in members]
        rows.append({"kind": edit.kind, "name": edit.name, **told(members, floor), "members": told_members})
    return Counterfactuals(sorted(rows, key=lambda row: -abs(row["change"])), floor)


@torch.no_grad()
def _heard(
    rate: Rate, audio: Tensor, sample_rate: int, changes: Sequence[Edit], before: NDArray[np.float64], tick: Tick
) -> dict[str, NDArray[np.float64]]:
    """The change of every member's rating under each edit."""
    heard = {}
    for number, edit in enumerate(changes):
        heard[edit.name] = rate(edit.change(audio, sample_rate)).double().numpy() - before
        tick(number + 1, edit.name)
    return heard
