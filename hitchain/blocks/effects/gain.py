"""A level control."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/gain")
class Gain(Block):
    """Level: y = 10^(level / 20) x. The level may move through time."""

    parameters = (Parameter("level", -60.0, 24.0, default=0.0, unit="dB", varying=True, description="gain"),)
    presets: ClassVar = {"half as loud": {"level": -10.0}, "pad": {"level": -20.0}, "lift": {"level": 6.0}}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return audio * over_audio(to_gain(settings["level"]), audio.shape[-1])
