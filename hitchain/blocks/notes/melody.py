"""A performance whose every note may take a neighbouring pitch of the key, or rest."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.notes.performance import Performance, candidates, decided, transposed
from hitchain.blocks.notes.scales import AUTO, KEYS, check_key, key_of, neighbours
from hitchain.blocks.parameter import Choice, Settings
from hitchain.blocks.registry import register

STEPS = (-2, -1, 0, 1, 2)
_STEP = Choice(
    "step",
    (*(str(step) for step in STEPS), "rest"),
    default="0",
    description="steps of the scale by which a note is moved, or that it rests",
    per_note=True,
)


@register("notes/melody")
class Melody(Performance):
    """A performance, as `notes/performance`, whose every note may take a neighbouring pitch of the key, or rest.

    While a choice is blended, a note is played at each of its candidate pitches, as loud as its weight; once decided,
    at one. Frequency itself is not climbed: from one note to the next it leads through what sounds out of tune.

    Args:
        drums: whether the notes are General MIDI drum notes, which have no neighbours.
        subdivision: what swings: 8 for eighths, 16 for sixteenths.
        key: "C major" to "B minor", or "auto": told from how long each pitch class sounds in the notes as written.
    """

    parameters = (*Performance.parameters, _STEP)
    presets: ClassVar = {name: dict(values) for name, values in Performance.presets.items()}

    def __init__(self, sample_rate: int = 44100, drums: bool = False, subdivision: int = 8, key: str = AUTO) -> None:
        super().__init__(sample_rate, drums, subdivision)
        self.key = check_key(key, "notes/melody: key")
        if drums:
            self.parameters = tuple(p for p in self.parameters if p is not _STEP)  # type: ignore[misc]

    def forward(self, notes: Notes, settings: Settings) -> Notes:  # type: ignore[override]
        performed = self.performed(notes, settings)
        if self.drums:
            return performed
        key = key_of(notes) if self.key == AUTO else torch.full((notes.batch,), KEYS.index(self.key))
        weights = settings["step"] if settings["step"].ndim == 3 else settings["step"][:, None, :]
        stepped = _stepped(performed, neighbours(performed, key, STEPS), weights)
        return transposed(stepped, settings["transpose"])


def _stepped(notes: Notes, distance: Tensor, weights: Tensor) -> Notes:
    """Notes by `distance` (batch, notes, steps); weights (batch, notes or 1, steps and a rest)."""
    played = weights[..., :-1]
    if decided(weights):
        moved = (distance * played).sum(dim=-1)
        return notes.with_(pitch=notes.pitch + moved, mask=notes.mask * played.sum(dim=-1))
    return candidates(notes, notes.pitch[:, :, None] + distance, played.expand(distance.shape))
