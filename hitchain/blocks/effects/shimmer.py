"""A reverberation that climbs in octaves."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.grains import transposed
from hitchain.blocks.effects.plate import Plate
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register

ROUNDS = 3
"""Octaves up that are followed: what is left after them has begun below an eighth of the highest frequency."""


@register("effects/shimmer")
class Shimmer(Block):
    """A plate whose output is fed back to it an octave higher: y = sum_n R (shimmer S R)^n x, n = 0 .. 3.

    R is effects/plate and S a transposition by an octave (`dsp.grains`). The sum is the feedback loop written out, and
    ends after three octaves. Dry and wet are mixed at equal power.
    """

    parameters = (
        Parameter("decay", 0.1, 0.95, default=0.75, description="of the plate"),
        Parameter("shimmer", 0.0, 0.9, default=0.5, description="share fed back an octave higher"),
        Parameter("damping", 1000.0, 18000.0, 6000.0, "Hz", "log", "low-pass in the plate"),
        Parameter("mix", 0.0, 1.0, default=0.3, varying=True, description="0 dry, 1 shimmer only"),
    )
    presets: ClassVar = {
        "halo": {"decay": 0.7, "shimmer": 0.35, "mix": 0.25},
        "cathedral": {"decay": 0.88, "shimmer": 0.6, "damping": 4500.0, "mix": 0.4},
    }
    probe: ClassVar[dict[str, float]] = {"mix": 0.7}

    def __init__(self, sample_rate: int = 44100) -> None:
        super().__init__(sample_rate)
        self.plate = Plate(sample_rate)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        decay = settings["decay"]
        knobs = {**self.plate.defaults(len(decay), decay.dtype), "mix": torch.ones_like(decay)}
        knobs = {key: value.to(decay.device) for key, value in knobs.items()}
        knobs |= {"decay": decay, "damping": settings["damping"]}
        start = float(settings[START]) if START in settings else 0.0
        share, octave = settings["shimmer"][:, None, None], torch.full_like(decay, 2.0)
        # at a mix of 1 the plate's dry gain is cos(pi/2), 0 but for rounding
        wet = heard = self.plate(audio, knobs)
        for _ in range(ROUNDS):
            higher = transposed(heard, octave, self.sample_rate, start, aligned=False)
            heard = self.plate(share * higher, knobs)
            wet = wet + heard
        angle = over_audio(settings["mix"], audio.shape[-1]) * (math.pi / 2.0)
        output: Tensor = torch.cos(angle) * audio + torch.sin(angle) * wet
        return output

    def tail(self, settings: Settings) -> float:
        pre_delay = torch.full_like(settings["decay"], 10.0)
        return (ROUNDS + 1) * self.plate.tail({"decay": settings["decay"], "pre_delay": pre_delay})
