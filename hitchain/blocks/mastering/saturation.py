"""Soft saturation of the master bus."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import distortion, waveshaping
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

NOMINAL = 0.2
"""The level that passes at unity: -14 dBFS RMS, as mixes are."""

BLOCKING = 10.0
"""Corner of the high-pass that takes out the DC which uneven clipping makes [Hz]."""

TAIL = 0.2
"""Seconds in which that high-pass dies away by 100 dB."""


@register("mastering/saturation")
class Saturation(Block):
    """Soft clipping of the whole mix, as tape or a transformer does, beside the clean signal.

        y = x + mix * (w - x),     w = high_pass(f(g x + b) - f(b)) / gain

    with f the algebraic sigmoid of `waveshaping`, g the drive, b = 0.6 warmth the operating point, which adds even
    harmonics, and `gain` what brings Gaussian noise at -14 dBFS RMS back to its level: the drive does not change the
    loudness. The channels are treated alike and apart. Aliasing of a full-scale 5 kHz sine stays 85 dB below it at 6 dB
    of drive and 43 dB at 18 dB (44.1 kHz, oversampling 2); oversampling 4 takes some 35 dB more off.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the clipping runs, from 1 up.
    """

    parameters = (
        Parameter("drive", 0.0, 18.0, default=6.0, unit="dB", description="level into the curve"),
        Parameter("warmth", 0.0, 1.0, default=0.25, description="unevenness: even harmonics"),
        Parameter("mix", 0.0, 1.0, default=0.5, description="0 clean, 1 saturated"),
    )
    presets: ClassVar = {
        "glue": {"drive": 4.0, "warmth": 0.2, "mix": 0.4},
        "transformer": {"drive": 9.0, "warmth": 0.7, "mix": 0.5},
        "loud": {"drive": 12.0, "warmth": 0.1, "mix": 0.8},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int = 2) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        drive, bias = to_gain(settings["drive"]), 0.6 * settings["warmth"]

        def shape(level: Tensor) -> Tensor:
            return waveshaping.clip_mean(level, drive, bias)

        clipped = distortion.distort(
            audio,
            shape,
            self.sample_rate,
            self.oversampling,
            after=lambda hertz: distortion.blocking(hertz, BLOCKING),
            means=1,
            tail=TAIL,
        )
        return torch.lerp(audio, clipped / _gain(drive, bias)[:, None, None], settings["mix"][:, None, None])


def _gain(drive: Tensor, bias: Tensor) -> Tensor:
    """By how much the curve raises Gaussian noise at the nominal level: (batch,)."""
    return distortion.noise_gain(
        lambda noise: waveshaping.clip(drive[:, None] * noise + bias[:, None]), like=drive, nominal=NOMINAL
    )
