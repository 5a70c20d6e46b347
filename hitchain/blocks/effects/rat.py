"""The ProCo RAT."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import distortion
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.diodes import diode_clip_mean
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

COUPLING = 1.0 / (2.0 * math.pi * 1e6 * 22e-9)
"""Corner of the input's and of the output's coupling, 22 nF into 1 megohm [Hz]."""

GROUND = ((560.0, 4.7e-6), (47.0, 2.2e-6))
"""The two branches from the inverting input to ground [ohm, F]."""

DISTORTION_POT, FEEDBACK_CAPACITOR = 150e3, 100e-12
UNITY_GAIN = 1e6
"""Where the LM308's own gain has fallen to 1 [Hz]: what leaves it little treble at full distortion."""

RAIL = 4.0
"""How far the LM308's output swings on a 9 V battery [V]."""

DIODE_RESISTOR = 1e3
FILTER_RESISTOR, FILTER_POT, FILTER_CAPACITOR = 1.5e3, 100e3, 3.3e-9
TAPER = 28.0
"""The pots are logarithmic: half way they have 16 % of their resistance."""

TAIL = 0.3
"""Seconds in which the couplings have died away."""


@register("effects/rat")
class Rat(Block):
    """The ProCo RAT by its circuit: an LM308 with much gain, two diodes to ground, a filter. Full scale is 1 V.

        u = H x,    H = N / (1 + N s / w1),      N = 1 + Zf / Zg
        (clip(u) - v) / 1 k = 2 Is sinh(v / V)
        y = level lowpass(v),      corner 1 / (2 pi (1.5 k + filter 100 k) 3.3 nF)

    Zf is the distortion pot (150 k) beside 100 pF, Zg 560 ohm with 4.7 uF beside 47 ohm with 2.2 uF, w1 the amplifier's
    unity-gain frequency (1 MHz), and clip its output at 4 V; both are antialiased as one curve (`diodes`). Left out:
    the amplifier's slew rate, the 4.7 uF in front of the diodes, and what the filter draws from them.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster amplifier and diodes run; by default what takes them to 160 kHz.
    """

    parameters = (
        Parameter("distortion", 0.0, 1.0, 0.6, description="position of the distortion pot"),
        Parameter("filter", 0.0, 1.0, 0.4, description="position of the filter pot: bright to dark"),
        Parameter("level", -36.0, 12.0, -9.0, "dB", varying=True, description="output level"),
    )
    presets: ClassVar = {
        "crunch": {"distortion": 0.3, "filter": 0.3, "level": -6.0},
        "lead": {"distortion": 0.75, "filter": 0.5},
        "fuzz": {"distortion": 1.0, "filter": 0.7},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        gain, dark = (_taper(settings[key]) for key in ("distortion", "filter"))
        corner = 1.0 / (2.0 * math.pi * FILTER_CAPACITOR * (FILTER_RESISTOR + FILTER_POT * dark))
        clipped = distortion.distort(
            audio,
            lambda volts: diode_clip_mean(volts, DIODE_RESISTOR, RAIL),
            self.sample_rate,
            self.oversampling,
            before=lambda hertz: amplifier(hertz, DISTORTION_POT * gain) * distortion.blocking(hertz, COUPLING),
            after=lambda hertz: distortion.low_pass(hertz, corner) * distortion.blocking(hertz, COUPLING),
            means=1,
            tail=TAIL,
        )
        return clipped * over_audio(to_gain(settings["level"]), audio.shape[-1])


def _taper(position: Tensor) -> Tensor:
    return (torch.exp(math.log(TAPER) * position) - 1.0) / (TAPER - 1.0)


def amplifier(hertz: Tensor, resistance: Tensor) -> Tensor:
    """The LM308 with its feedback: (batch,) ohms of the distortion pot -> complex (batch, 1, bins)."""
    w, pot = 2.0 * math.pi * hertz, resistance[:, None, None]
    ground = torch.zeros_like(w) + 0j
    for ohms, farads in GROUND:
        turn = w * farads
        ground = ground + torch.complex(turn * turn * ohms, turn) / (1.0 + (turn * ohms).square())
    turn = w * pot * FEEDBACK_CAPACITOR
    wanted = 1.0 + ground * (pot / torch.complex(torch.ones_like(turn), turn))
    return wanted / (1.0 + wanted * (1j * hertz / UNITY_GAIN))
