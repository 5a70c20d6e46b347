"""A choice among instruments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Settings
from hitchain.blocks.registry import register
from hitchain.blocks.selecting import SELECTED, Selector


@register("instruments/selector")
class InstrumentSelector(Selector, Instrument):
    """One of several instruments, or none: y = sum of weight_i level_i instrument_i(notes).

    Args:
        sample_rate: [Hz].
        blocks: {name: an instrument with its knobs and options}; the first is selected unless told otherwise.
        tempo: [beats per minute], for the blocks inside.
    """

    example: ClassVar = {"blocks": {"tone": {"block": "instruments/additive"}, "bars": {"block": "instruments/modal"}}}

    def __init__(self, sample_rate: int = 44100, blocks: Mapping[str, Any] | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.hold_options(blocks, {"tempo": tempo}, "silence", play=True)

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        samples = round(notes.length * self.sample_rate)
        silence = settings[SELECTED].new_zeros(notes.batch, 1, samples)
        return self.blend(notes, settings, none=silence)
