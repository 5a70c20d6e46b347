"""A send to a bus."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("mixer/send")
class Send(LinearBlock):
    """How much of a track, after its fader, goes to a bus: y = 10^(level / 20) x."""

    parameters = (Parameter("level", -60.0, 12.0, default=-12.0, unit="dB", description="of the send"),)
    presets: ClassVar = {"a touch": {"level": -20.0}, "half": {"level": -6.0}, "all of it": {"level": 0.0}}

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        gain = to_gain(settings["level"])
        return torch.complex(gain, torch.zeros_like(gain))[:, None, None]
