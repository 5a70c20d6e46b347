"""Rates by note value: what a block that moves in time with the song shares with the others."""

from __future__ import annotations

import dataclasses

from hitchain.blocks.effects.delay import note_length
from hitchain.blocks.parameter import Parameter
from hitchain.errors import UserError

FEEL = 1.1
"""A rate by note value may still be turned by 10 % either way."""


def synced_rate(rate: Parameter, sync: str | None, tempo: float) -> Parameter:
    """The rate knob of a block: as declared, or, with a note value, standing at one cycle in that note.

    Args:
        rate: the knob [Hz], on a log scale.
        sync: a note value ("1/8", "1/8." dotted, "1/4t" triplet), or None for a free rate.
        tempo: quarter notes per minute.

    Raises:
        UserError: where `sync` is no note value, or too fast or slow for the knob.
    """
    if sync is None:
        return rate
    hertz = 1000.0 / note_length(sync, tempo)
    if not rate.low <= hertz <= rate.high:
        raise UserError(
            f"sync='{sync}' at {tempo:g} beats per minute is {hertz:.3g} Hz; {rate.name} takes {rate.range}."
        )
    low, high = max(hertz / FEEL, rate.low), min(hertz * FEEL, rate.high)
    return dataclasses.replace(
        rate, low=low, high=high, default=hertz, description=f"{rate.description}; {sync} is {hertz:.4g}"
    )
