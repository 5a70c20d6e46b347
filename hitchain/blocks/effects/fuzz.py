"""Fuzz: two stages that clip everything, an octave above, and a scooped tone control."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import bends, circuits, distortion, rectifying, waveshaping
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

TIGHT, BLOCKING, TAIL = 60.0, 20.0, 0.15
"""Corners of the bass cut in front and of what blocks DC [Hz]; the seconds in which both die away."""

COUPLING_LOW, COUPLING_HIGH = 30.0, 12000.0
"""Between the stages [Hz]."""

LOW_CORNER = 1.0 / (2.0 * math.pi * 39e3 * 10e-9)
HIGH_CORNER = 1.0 / (2.0 * math.pi * 22e3 * 4e-9)
"""The two branches of the Big Muff's tone control, 39 kilohm with 10 nF and 4 nF with 22 kilohm: 408 Hz and 1.8 kHz."""

LOUDNESS = 0.25
"""What a square wave at full scale leaves at."""


@register("effects/fuzz")
class Fuzz(Block):
    """Fuzz: an octave above by rectifying, high gain, two clipping stages, and the Big Muff's tone control.

        w = x + octave (2 |x| - x)
        v = f(g w + b) - f(b),      f(u) = u / sqrt(1 + u^2)
        y = x + mix (level tone(h(6 v)) - x),      h = a clipper with a knee of 0.5

    g is the fuzz, b = 2 bias: away from 0 one side starves, notes sputter and die early. The tone control fades from a
    low-pass at 408 Hz to a high-pass at 1.8 kHz: in the middle the mids are scooped. Antialiased.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster it runs, from 1 up; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("fuzz", 10.0, 60.0, 40.0, "dB", description="gain of the first stage"),
        Parameter("bias", 0.0, 1.0, 0.2, description="unevenness: full to starved"),
        Parameter("octave", 0.0, 1.0, 0.0, description="share of the octave above"),
        Parameter("tone", 0.0, 1.0, 0.4, description="dark, scooped, bright"),
        Parameter("level", -24.0, 12.0, 0.0, "dB", varying=True, description="output level"),
        Parameter("mix", 0.0, 1.0, 1.0, varying=True, description="0 clean, 1 fuzz"),
    )
    probe: ClassVar[dict[str, float]] = {"octave": 0.4, "mix": 0.8}
    presets: ClassVar = {
        "wall": {"fuzz": 54.0, "bias": 0.1, "tone": 0.45},
        "velcro": {"fuzz": 30.0, "bias": 0.9, "tone": 0.6},
        "octave lead": {"fuzz": 44.0, "octave": 0.9, "tone": 0.3},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        driven = distortion.distort(
            audio,
            lambda level: self._stages(level, settings),
            self.sample_rate,
            self.oversampling,
            before=lambda hertz: distortion.blocking(hertz, TIGHT),
            after=lambda hertz: _tone(hertz, settings["tone"]),
            means=3,
            tail=TAIL,
            memory=TAIL,
        )
        level = over_audio(to_gain(settings["level"]) * LOUDNESS, samples)
        return audio + over_audio(settings["mix"], samples) * (level * driven - audio)

    def _stages(self, level: Tensor, settings: Settings) -> Tensor:
        rate = self.sample_rate * self.oversampling
        level = rectifying.octave_mean(level, settings["octave"])
        level = circuits.coupling(level, COUPLING_LOW, COUPLING_HIGH, rate)
        level = waveshaping.clip_mean(level, to_gain(settings["fuzz"]), 2.0 * settings["bias"])
        level = circuits.coupling(level, COUPLING_LOW, COUPLING_HIGH, rate)
        rest = torch.zeros_like(settings["bias"])
        return bends.bend_mean(6.0 * level, rest, torch.full_like(rest, 0.5), bends.CLIPPER)


def _tone(hertz: Tensor, position: Tensor) -> Tensor:
    """From the low-pass to the high-pass, and DC blocked."""
    ratio = hertz / LOW_CORNER
    low = torch.complex(torch.ones_like(ratio), -ratio) / (1.0 + ratio.square())
    high = distortion.blocking(hertz, HIGH_CORNER)
    return (low + position[:, None, None] * (high - low)) * distortion.blocking(hertz, BLOCKING)
