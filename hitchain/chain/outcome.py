"""A patch heard whole: its rating, what the objective's terms measure on it, and which bounds it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitchain.chain import patch as patches
from hitchain.chain.ascent import Ascent
from hitchain.chain.objective import Heard
from hitchain.chain.objective.front import dominated
from hitchain.chain.objective.objective import FRONT, OUTSIDE
from hitchain.chain.patch import Patch

MET = 0.25
"""A bound counts as met where it is violated by no more than so much of its term's scale."""
SAME = 0.02
"""Measures that differ by no more of their term's scale are the same where points of a front are compared."""
GUARDS = ("neutral", "bounds")
"""Terms that keep a climb honest; they are no wish of their own when the outcome is judged."""


@dataclass(frozen=True)
class Outcome:
    """What one patch came to, on the whole song.

    Attributes:
        rating, heldout: of the climbed raters and of the one that never is (None where there is none).
        measures: {name: ...} of every term and constraint, in its unit.
        violation: of all bounds but a front's, in the scales of their terms.
        worth: rating, plus what was wished for beside it, less a price on violations: what patches are compared by.
    """

    patch: Patch
    rating: float
    heldout: float | None
    measures: dict[str, float]
    violation: float
    worth: float


@torch.no_grad()
def judge_whole(ascent: Ascent, patch: Patch, master: Tensor | None = None) -> Outcome:
    """Hear a patch (batch 1) whole; `master` (1, 2, samples) is its audio where that is at hand."""
    song, objective, knobs = ascent.song, ascent.objective, ascent.knobs
    audio = song(patch) if master is None else master
    positions = knobs.positions(knobs.unbounded(patch))
    heard = Heard(audio, song.sample_rate, positions, ascent.neutral, patch, song, None, 0, knobs)
    rating = float(objective.rate(audio, song.sample_rate)[0])
    heldout = objective.rate_heldout(audio, song.sample_rate)
    found = objective.measure(heard)
    wished = sum(
        weighted.weight * float(found[name][0]) for name, weighted in objective.terms.items() if name not in GUARDS
    )
    violation = sum(
        float(constraint.violation(found[name])[0]) / constraint.term.scale
        for name, constraint in objective.constraints.items()
        if name != FRONT
    )
    return Outcome(
        patch,
        rating,
        None if heldout is None else float(heldout[0]),
        {name: float(value[0]) for name, value in found.items()},
        violation,
        rating + wished - OUTSIDE * violation,
    )


def terms_of(ascent: Ascent, before: Outcome, after: Outcome) -> dict[str, Any]:
    """`terms` and `constraints` of result.json: what each measured before and after, and whether bounds are kept."""
    objective = ascent.objective
    terms = {
        name: {
            "term": weighted.term.name,
            "unit": weighted.term.unit,
            "weight": weighted.weight,
            "before": before.measures[name],
            "after": after.measures[name],
        }
        for name, weighted in objective.terms.items()
    }
    constraints = {}
    for name, constraint in objective.constraints.items():
        if name == FRONT:
            continue
        violation = float(constraint.violation(torch.tensor([after.measures[name]], dtype=torch.float64))[0])
        constraints[name] = {
            "term": constraint.term.name,
            "unit": constraint.term.unit,
            "at_least": constraint.at_least,
            "at_most": constraint.at_most,
            "before": before.measures[name],
            "after": after.measures[name],
            "violation": violation,
            "met": violation <= MET * constraint.term.scale,
        }
    return {"terms": terms, "constraints": constraints}


def front_of(ascent: Ascent, found: Patch) -> list[Outcome]:
    """Every candidate of a front, heard whole."""
    return [judge_whole(ascent, found.item(index)) for index in range(found.batch)]


def front_rows(ascent: Ascent, outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """`front` of result.json: a row for each level."""
    front = ascent.objective.front
    if front is None:
        return []
    measures = [outcome.measures[FRONT] for outcome in outcomes]
    alike = [round(measure / (SAME * front.term.scale)) for measure in measures]
    worse = dominated([outcome.rating for outcome in outcomes], alike, front.rising)
    rows = []
    for index, (level, outcome) in enumerate(zip(front.levels.tolist(), outcomes, strict=True)):
        beyond = (level - measures[index]) * (1.0 if front.rising else -1.0)
        rows.append(
            {
                "term": front.term.name,
                "unit": front.term.unit,
                "level": level,
                "measured": measures[index],
                "rating": outcome.rating,
                "heldout": outcome.heldout,
                "met": beyond <= MET * front.term.scale and outcome.violation <= MET,
                "dominated": worse[index],
                "patch": f"front/{index}.json",
            }
        )
    return rows


def write_front(folder: Path, ascent: Ascent, outcomes: Sequence[Outcome], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the patch of every row of a front to the run folder."""
    for outcome, row in zip(outcomes, rows, strict=True):
        patches.save(folder / str(row["patch"]), outcome.patch, ascent.song.blocks(), ascent.song.name)


def chosen(outcomes: Sequence[Outcome], rows: Sequence[Mapping[str, Any]]) -> Outcome:
    """The one of a front that is rendered: the best rated of those that keep their bounds, or of all."""
    kept = [outcome for outcome, row in zip(outcomes, rows, strict=True) if row["met"]]
    return max(kept or outcomes, key=lambda outcome: outcome.worth)
