"""A clean boost."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import bends, distortion
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

FEEDBACK_RESISTOR, FEEDBACK_CAPACITOR = 56e3, 47e-12
GROUND_CAPACITOR = 4.7e-6
"""Around the amplifier [ohm, F]. With 2.7 k and the pot's 500 k to ground, gains of 1.1 to 21.7: 0.9 to 26.7 dB."""

COUPLING = 1.0 / (2.0 * math.pi * 5e6 * 0.1e-6)
OUTPUT = 1.0 / (2.0 * math.pi * 10e3 * 15e-6)
"""Corners of the couplings of input and output [Hz]."""

SWING = 1.5
"""What the amplifier's output stays away from either end of its supply [V]."""

KNEE, TAIL = 0.1, 0.5
"""How softly the amplifier stops; the seconds in which the couplings die away."""


@register("effects/clean_boost")
class CleanBoost(Block):
    """A clean boost after the MXR Micro Amp: one amplifier, which clips only at its supply. Full scale is 1 V.

        y = level clip(N x),      N = 1 + Zf / Zg,      Zf = 56 k beside 47 pF,    Zg = 2.7 k + pot, and 4.7 uF

    The pot is 500 k, turned down as the gain goes up; `gain` names what comes of it. It clips at half the supply less
    1.5 V, antialiased (`bends`): with 9 V at 3 V, which a loud guitar at full gain reaches; with 18 V at 7.5 V.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the amplifier runs; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("gain", 1.0, 26.0, 12.0, "dB", description="of the amplifier"),
        Parameter("supply", 6.0, 18.0, 9.0, "V", description="voltage of the battery: headroom"),
        Parameter("level", -24.0, 0.0, 0.0, "dB", varying=True, description="output level"),
    )
    probe: ClassVar[dict[str, float]] = {"gain": 20.0}
    presets: ClassVar = {
        "a bit more": {"gain": 6.0},
        "solo": {"gain": 12.0},
        "into the rails": {"gain": 26.0, "supply": 6.0, "level": -12.0},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        rails = 0.5 * settings["supply"] - SWING
        rest = torch.zeros_like(rails)

        def before(hertz: Tensor) -> Tensor:
            boosted = amplifier(hertz, settings["gain"]) * distortion.blocking(hertz, COUPLING)
            return boosted / rails[:, None, None]

        clipped = distortion.distort(
            audio,
            lambda level: bends.bend_mean(level, rest, torch.full_like(rest, KNEE), bends.CLIPPER),
            self.sample_rate,
            self.oversampling,
            before=before,
            after=lambda hertz: distortion.blocking(hertz, OUTPUT),
            means=1,
            tail=TAIL,
        )
        return clipped * rails[:, None, None] * over_audio(to_gain(settings["level"]), audio.shape[-1])


def amplifier(hertz: Tensor, gain: Tensor) -> Tensor:
    """1 + Zf / Zg with the pot where the gain is `gain` [dB] in the middle of the band: complex (batch, 1, bins)."""
    resistance = (FEEDBACK_RESISTOR / (to_gain(gain) - 1.0))[:, None, None]
    w = 2.0 * math.pi * hertz
    high, low = w * (FEEDBACK_RESISTOR * FEEDBACK_CAPACITOR), w * GROUND_CAPACITOR
    feedback = FEEDBACK_RESISTOR / torch.complex(torch.ones_like(high), high)
    turn = low * resistance
    return 1.0 + feedback * torch.complex(low * turn, low.expand_as(turn)) / (1.0 + turn.square())
