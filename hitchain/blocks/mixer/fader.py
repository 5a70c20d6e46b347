"""A channel's fader and pan pot."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("mixer/fader")
class Fader(LinearBlock):
    """Level and pan: gain * sqrt(2) * (cos(a), sin(a)), a = (pan + 1) * pi / 4.

    The constant-power pan law, scaled so that a centred track keeps its level in each channel (0 dB centre, +3 dB at
    the sides). Mono becomes stereo; on a stereo track the pan balances the two channels.
    """

    parameters = (
        Parameter("level", -60.0, 12.0, default=0.0, unit="dB", description="fader"),
        Parameter("pan", -1.0, 1.0, default=0.0, description="-1 left, 0 centre, 1 right"),
    )
    presets: ClassVar = {"left": {"pan": -0.6}, "right": {"pan": 0.6}, "quiet": {"level": -12.0}}

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        gain = to_gain(settings["level"]) * math.sqrt(2.0)
        angle = (settings["pan"] + 1.0) * (math.pi / 4.0)
        sides = torch.stack([gain * torch.cos(angle), gain * torch.sin(angle)], dim=-1)
        return torch.complex(sides, torch.zeros_like(sides)).unsqueeze(-1)
