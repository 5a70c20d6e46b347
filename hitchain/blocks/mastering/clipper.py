"""A clipper for the master bus."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import bends, distortion
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("mastering/clipper")
class Clipper(Block):
    """Clips the peaks of the mix at a ceiling, softly as one likes, in front of a limiter.

        y = c f(drive x / c),      f(u) = u up to 1 - s,  u - (u - 1 + s)^2 / (4 s) up to 1 + s,  1 above; odd

    with c the ceiling and s the softness; antialiased (`bends`). What is below (1 - s) c passes as it is. Band-limiting
    rings on what is cut flat, so that peaks pass the ceiling by some 1.5 dB: a limiter belongs behind it.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the clipper runs, from 1 up; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("drive", 0.0, 18.0, default=3.0, unit="dB", description="level into the clipper"),
        Parameter("ceiling", -12.0, 0.0, default=-1.0, unit="dB", description="where peaks are cut"),
        Parameter("softness", 0.02, 1.0, default=0.3, description="roundness of the bend: hard to soft"),
    )
    probe: ClassVar[dict[str, float]] = {"drive": 9.0}
    presets: ClassVar = {
        "transparent": {"drive": 2.0, "softness": 0.1},
        "drums forward": {"drive": 5.0, "softness": 0.4},
        "loud": {"drive": 9.0, "softness": 0.7, "ceiling": -0.5},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        ceiling, softness = to_gain(settings["ceiling"])[:, None, None], settings["softness"]

        def shape(level: Tensor) -> Tensor:
            return bends.bend_mean(level, torch.zeros_like(softness), softness, bends.CLIPPER)

        driven = audio * (to_gain(settings["drive"])[:, None, None] / ceiling)
        return ceiling * distortion.distort(driven, shape, self.sample_rate, self.oversampling, means=1)
