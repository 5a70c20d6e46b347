"""Vibrato: pitch that goes up and down."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.modulated_delay import modulated_delay
from hitchain.blocks.dsp.movement import sine, turns
from hitchain.blocks.movement import synced_rate
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/vibrato")
class Vibrato(Block):
    """Vibrato: a delay line whose delay swings, so that the pitch goes up and down by `depth`.

        y(t) = x(t - m(t)),  m(t) = a (1 + sin(2 pi rate t)),  a = (2^(depth / 1200) - 1) / (2 pi rate)

    A delay that shrinks by s seconds a second raises the pitch by the ratio 1 + s; the swing's steepest slope is
    2 pi rate a. Time is the song's, so that any window moves in step.

    Args:
        sample_rate: [Hz].
        sync: a note value ("1/8", "1/8." dotted, "1/4t" triplet) for one swing; otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        Parameter("rate", 0.5, 14.0, default=5.0, unit="Hz", scale="log", description="swings a second"),
        Parameter("depth", 0.0, 100.0, default=25.0, unit="cents", varying=True, description="highest above the pitch"),
    )
    presets: ClassVar = {
        "singer": {"rate": 5.8, "depth": 40.0},
        "worn tape": {"rate": 0.7, "depth": 12.0},
        "seasick": {"rate": 2.2, "depth": 90.0},
    }

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.parameters = (synced_rate(type(self).parameters[0], sync, tempo), *type(self).parameters[1:])  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        batch, channels, samples = audio.shape
        rate, depth = settings["rate"].double(), settings["depth"].double()
        cycles = turns(rate, samples, self.sample_rate, settings.get(START, 0.0))
        steepest = over_audio(depth * (math.log(2.0) / 1200.0), samples)[:, 0].expm1()
        swing = steepest * (self.sample_rate / (2.0 * math.pi)) / rate.unsqueeze(-1)
        delay = (swing * (1.0 + sine(cycles))).unsqueeze(1).expand(-1, channels, -1)
        return modulated_delay(audio.flatten(0, 1), delay.flatten(0, 1)).view(batch, channels, samples)

    def tail(self, settings: Settings) -> float:
        steepest = math.expm1(float(settings["depth"].detach().max()) * math.log(2.0) / 1200.0)
        return steepest / (math.pi * float(settings["rate"].detach().min()))
