"""Valve saturation of the master bus."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import circuits, distortion, waveshaping
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

UPPER, LOWER = 0.8, 1.2
"""The triodes' ceilings: grid conduction sets in before cut-off does."""

COUPLING_LOW, COUPLING_HIGH = 5.0, math.inf
"""Corners between the triodes [Hz]: DC is blocked, highs all pass."""

BLOCKING, TAIL = 5.0, 0.3
"""Corner of the output's coupling [Hz], and the seconds in which both couplings die away."""

NOMINAL = 0.2
"""The level that passes at unity: -14 dBFS RMS, as mixes are."""


@register("mastering/tube_saturation")
class TubeSaturation(Block):
    """The line stage of a valve equaliser or compressor: two triodes in a row, each inverting and clipping unevenly.

        v = f(g x + b) - f(b),    w = -(f(b - coupled(v)) - f(b)),    y = x + mix (w / gain - x)

    f is the curve of `waveshaping` with the ceilings 0.8 and 1.2 (`amps/tube` has the same triodes), g the drive, and b
    the bias: with it the first triode's even harmonics outweigh its odd ones, and the second partly undoes them.
    `gain` brings Gaussian noise at -14 dBFS back to its level. `weight` lifts the bass into the triodes and takes it
    back after them: more or less of the bass is saturated, at the same balance.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the triodes run, from 1 up.
    """

    parameters = (
        Parameter("drive", -6.0, 18.0, default=3.0, unit="dB", description="level into the valves"),
        Parameter("bias", -1.0, 1.0, default=0.3, description="operating point: which even harmonics"),
        Parameter("weight", -6.0, 6.0, default=0.0, unit="dB", description="bass into the valves, taken back after"),
        Parameter("mix", 0.0, 1.0, default=0.7, description="0 clean, 1 saturated"),
    )
    probe: ClassVar[dict[str, float]] = {"drive": 8.0}
    presets: ClassVar = {
        "line stage": {"drive": 0.0, "bias": 0.3},
        "warm": {"drive": 6.0, "bias": 0.6, "weight": 3.0},
        "hot": {"drive": 12.0, "bias": 0.2, "weight": -3.0, "mix": 0.8},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or min(4, distortion.default_oversampling(sample_rate))

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        drive, bias, weight = to_gain(settings["drive"]), settings["bias"], to_gain(settings["weight"])

        def triodes(level: Tensor) -> Tensor:
            level = waveshaping.clip_mean(level, drive, bias, UPPER, LOWER)
            level = circuits.coupling(level, COUPLING_LOW, COUPLING_HIGH, self.sample_rate * self.oversampling)
            return waveshaping.clip_mean(level, -torch.ones_like(drive), bias, UPPER, LOWER)

        driven = distortion.distort(
            audio,
            triodes,
            self.sample_rate,
            self.oversampling,
            before=lambda hertz: _shelf(hertz, weight),
            after=lambda hertz: -distortion.blocking(hertz, BLOCKING) / _shelf(hertz, weight),
            means=2,
            tail=TAIL,
            memory=TAIL,
        )
        return torch.lerp(audio, driven / _gain(drive, bias)[:, None, None], settings["mix"][:, None, None])


SHELF = 200.0
"""Corner of the weight [Hz]."""


def _shelf(hertz: Tensor, gain: Tensor) -> Tensor:
    """1 above the corner, `gain` below, by one pole and one zero: (j r + sqrt g) / (j r + 1 / sqrt g)."""
    ratio, root = hertz / SHELF, gain.sqrt()[:, None, None]
    turn = ratio.expand(len(gain), 1, -1)
    return torch.complex(root.expand_as(turn), turn) / torch.complex((1.0 / root).expand_as(turn), turn)


def _gain(drive: Tensor, bias: Tensor) -> Tensor:
    """By how much both triodes raise Gaussian noise at the nominal level: (batch,)."""

    def curve(noise: Tensor) -> Tensor:
        level = waveshaping.clip(drive[:, None] * noise + bias[:, None], UPPER, LOWER)
        return waveshaping.clip(bias[:, None] - (level - level.mean(dim=-1, keepdim=True)), UPPER, LOWER)

    return distortion.noise_gain(curve, like=drive, nominal=NOMINAL)
