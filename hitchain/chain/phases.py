"""Phases of a climb: which knobs are free when. Stages can be unlocked in turn, or climbed one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.knobs import Knobs
from hitchain.errors import UserError, nearest

GROUPS: Mapping[str, tuple[str, ...]] = {
    "mastering": ("mastering",),
    "mix": ("fader", "sends"),
    "effects": ("effects", "amp", "cab", "mic"),
    "instrument": ("instrument",),
    "notes": ("notes",),
}
"""The stages that a climb may unlock in turn, from the end of the line to its beginning, and what belongs to each."""


@dataclass(frozen=True)
class Phase:
    """A stretch of a climb.

    Attributes:
        name: of what is climbed in it.
        columns: (size,), which of the freed knobs' columns may move.
        steps: how long it lasts.
        decided: whether choices stand at their strongest option in it, rather than being blended.
    """

    name: str
    columns: Tensor
    steps: int
    decided: bool = False


def group_of(path: str) -> str:
    """The group that the block at a path belongs to."""
    parts = path.split(".")
    return next((name for name, stages in GROUPS.items() if set(stages) & set(parts[:2])), "effects")


def columns_of(knobs: Knobs, groups: Sequence[str]) -> Tensor:
    """Which columns of z belong to the groups: (size,), bool."""
    columns = torch.zeros(knobs.size, dtype=torch.bool)
    for knob in knobs.knobs:
        if group_of(knob.path) in groups:
            columns[knob.first : knob.first + knob.size] = True
    return columns


def phases(
    knobs: Knobs, steps: int, unlock: Sequence[str] = (), sweeps: int = 0, decide_at: float = 1.0
) -> list[Phase]:
    """The phases of a climb.

    Args:
        steps: of the whole climb, shared out evenly.
        unlock: groups in the order in which they are unlocked; each stays free from then on. Empty: all at once.
        sweeps: where over 0, only one group is free at a time, and they take turns so many times (coordinate ascent).
        decide_at: share of the steps after which choices are decided, and all other knobs climb on in a last phase.

    Raises:
        UserError: `unlock` names an unknown group, or none of the freed knobs belongs to any.
    """
    for name in unlock:
        if name not in GROUPS:
            raise UserError(f"optimizer.unlock: there is no stage '{name}'; {nearest(str(name), GROUPS)}")
    undecided = round(decide_at * steps)
    blended = _blended(knobs, undecided, unlock, sweeps)
    rest = torch.stack([phase.columns for phase in blended]).any(dim=0) & ~knobs.choices()
    if undecided == steps or not knobs.chooses or not bool(rest.any()):
        return blended if undecided == steps else _blended(knobs, steps, unlock, sweeps)
    return [*(phase for phase in blended if phase.steps), Phase("decided", rest, steps - undecided, decided=True)]


def _blended(knobs: Knobs, steps: int, unlock: Sequence[str], sweeps: int) -> list[Phase]:
    """The phases before choices are decided."""
    everything = torch.ones(knobs.size, dtype=torch.bool)
    if not unlock and sweeps == 0:
        return [Phase("all", everything, steps)]
    own = {name: columns_of(knobs, [name]) for name in (unlock or GROUPS)}
    own = {name: columns for name, columns in own.items() if bool(columns.any())}
    if not own:
        raise UserError(f"optimizer.unlock={list(unlock)}: none of the freed knobs belongs to these stages.")
    if sweeps:
        turns = list(own.items()) * sweeps
        parts = _shares(steps, len(turns))
        return [Phase(name, columns, part) for (name, columns), part in zip(turns, parts, strict=True)]
    reached = torch.zeros(knobs.size, dtype=torch.bool)
    result = []
    for (name, columns), part in zip(own.items(), _shares(steps, len(own)), strict=True):
        reached = reached | columns
        result.append(Phase(name, reached, part))
    return result


def _shares(steps: int, count: int) -> list[int]:
    """`steps` in `count` parts that differ by one at most."""
    return [steps * (index + 1) // count - steps * index // count for index in range(count)]
