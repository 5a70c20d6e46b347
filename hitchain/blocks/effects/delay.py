"""An echo."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.delays import Echoes, echo_response
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SHORTEST, LONGEST = 1.0, 1000.0
"""Delay times [ms]."""


def note_length(note: str, tempo: float) -> float:
    """Milliseconds of a note value: "1/4" is a quarter note, "1/8." a dotted eighth, "1/4t" a quarter-note triplet.

    Args:
        note: a fraction of a whole note, followed by "." (half as long again) or "t" (two thirds) or nothing.
        tempo: quarter notes per minute.

    Raises:
        UserError: where `note` is not of that form or `tempo` is not above 0.
    """
    plain = note.strip().lower()
    factor = {".": 1.5, "t": 2.0 / 3.0}.get(plain[-1:], 1.0)
    top, slash, bottom = plain.rstrip(".t").partition("/")
    if not (top.isdecimal() and (bottom.isdecimal() or not slash)) or 0 in (int(top), int(bottom or 1)):
        raise UserError(
            f"sync='{note}' is not a note value; it takes for example 1/4, 1/8. (dotted) or 1/4t (triplet)."
        )
    if not (math.isfinite(tempo) and tempo > 0):
        raise UserError(f"tempo={tempo} must be above 0 beats per minute.")
    return int(top) / int(bottom or 1) * factor * 240000.0 / tempo


@register("effects/delay")
class Delay(LinearBlock):
    """Feedback delay with a low-pass in the loop, fractional and differentiable in time.

        H(w) = cos(pi/2 mix) + sin(pi/2 mix) E / (1 - feedback E),  E = e^{-j w time} L(w)

    with L the first-order low-pass at `tone`: each echo is darker than the one before. Dry and echoes are mixed at
    equal power.

    Args:
        sample_rate: [Hz].
        sync: a note value ("1/8", "1/8." dotted, "1/4t" triplet). The time knob then stands at that note's length at
            `tempo` and turns 10 % either way, for the feel; otherwise it is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        Parameter("time", SHORTEST, LONGEST, default=375.0, unit="ms", scale="log", description="between echoes"),
        Parameter("feedback", 0.0, 0.8, default=0.35, description="share of an echo in the next one"),
        Parameter("tone", 500.0, 18000.0, default=5000.0, unit="Hz", scale="log", description="low-pass of each echo"),
        Parameter("mix", 0.0, 1.0, default=0.25, description="0 dry, 1 echoes only"),
    )
    presets: ClassVar = {
        "slap": {"time": 110.0, "feedback": 0.0, "tone": 6000.0, "mix": 0.2},
        "dotted": {"time": 375.0, "feedback": 0.4, "tone": 4000.0, "mix": 0.25},
        "dub": {"time": 500.0, "feedback": 0.7, "tone": 1800.0, "mix": 0.35},
    }
    probe: ClassVar[dict[str, float]] = {"time": 12.0, "mix": 0.5}

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        if sync is None:
            return
        length = note_length(sync, tempo)
        if not SHORTEST / 0.9 <= length <= LONGEST / 1.1:
            raise UserError(
                f"sync='{sync}' at {tempo:g} beats per minute is {length:.0f} ms; "
                f"the delay reaches {SHORTEST / 0.9:.0f} to {LONGEST / 1.1:.0f} ms."
            )
        time = Parameter(
            "time", 0.9 * length, 1.1 * length, length, "ms", "log", f"between echoes; {sync} is {length:.4g}"
        )
        self.parameters = (time, *self.parameters[1:])  # type: ignore[misc]
        self.probe = {"mix": 0.5}  # type: ignore[misc]

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        tone, angle = bounded_frequency(settings["tone"], self.sample_rate), settings["mix"] * (math.pi / 2.0)
        echoes = Echoes(
            samples=settings["time"].double() * (self.sample_rate / 1000.0),
            tangent=torch.tan(tone * (math.pi / self.sample_rate)),
            feedback=settings["feedback"],
            wet=torch.sin(angle),
            dry=torch.cos(angle),
        )
        return echo_response(echoes, n_fft, tone.dtype).unsqueeze(1)

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        # 90 dB of echoes, and the low-pass's own decay for each of them that still counts
        per_echo = -math.log(10.0**-4.5) / -torch.log(settings["feedback"].double().clamp(1e-6, 1.0 - 1e-6))
        seconds = settings["time"].double() / 1000.0 + 2.0 / settings["tone"].double()
        return float(((per_echo + 1.0) * seconds).max())
