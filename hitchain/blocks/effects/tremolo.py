"""Tremolo and auto-pan: loudness that goes up and down, on both sides together or in turn."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.movement import sine, turns
from hitchain.blocks.movement import synced_rate
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register

SQUAREST = 0.98


def swing(wave: Tensor, shape: Tensor) -> Tensor:
    """A sine bent towards a square: s / sqrt(1 - q + q s^2), q = 0.98 shape; the sine itself at a shape of 0.

    Args:
        wave: s, -1 to 1, (batch, samples).
        shape: 0 to 1, (batch,).
    """
    bend = SQUAREST * shape.unsqueeze(-1)
    return wave * torch.rsqrt(1.0 - bend * (1.0 - wave * wave))


RATE = Parameter("rate", 0.1, 20.0, default=5.0, unit="Hz", scale="log", description="swings a second")
SHAPE = Parameter("shape", 0.0, 1.0, default=0.2, description="0 sine, 1 nearly square")


@register("effects/tremolo")
class Tremolo(Block):
    """Tremolo: the level goes up and down.

        y = x (1 - depth (1 - w(t)) / 2),  w = s / sqrt(1 - q + q s^2),  s = sin(2 pi rate t)

    with q = 0.98 shape: from a sine (as of a valve amplifier's bias) to nearly a square (as of an optical
    chopper). The right side is `stereo` degrees ahead of the left. Time is the song's.

    Args:
        sample_rate: [Hz].
        sync: a note value ("1/8", "1/8." dotted, "1/4t" triplet) for one swing; otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        RATE,
        Parameter("depth", 0.0, 1.0, default=0.6, varying=True, description="0 none, 1 down to silence"),
        SHAPE,
        Parameter("stereo", 0.0, 180.0, default=0.0, unit="degrees", description="from the left swing to the right"),
    )
    presets: ClassVar = {
        "valve": {"rate": 5.0, "depth": 0.5, "shape": 0.0},
        "optical": {"rate": 6.5, "depth": 0.9, "shape": 0.55},
        "stutter": {"rate": 9.0, "depth": 1.0, "shape": 1.0},
    }
    probe: ClassVar = {"stereo": 60.0, "shape": 0.3}

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.parameters = (synced_rate(RATE, sync, tempo), *type(self).parameters[1:])  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        cycles = turns(settings["rate"], samples, self.sample_rate, settings.get(START, 0.0))
        ahead = settings["stereo"].double().unsqueeze(-1) / 360.0
        waves = (sine(cycles, offset, audio.dtype) for offset in (0.0, ahead))
        both = torch.stack([swing(wave, settings["shape"]) for wave in waves], dim=1)
        return audio * (1.0 - over_audio(settings["depth"], samples) * (0.5 - 0.5 * both))


@register("effects/auto_pan")
class AutoPan(Block):
    """Auto-pan: the sound goes from side to side, as loud everywhere.

        left = sqrt(2) cos(b) x_left,  right = sqrt(2) sin(b) x_right,  b = pi/4 (1 + width w(t))

    with w the swing of `effects/tremolo`: at the middle both sides are as they came in. Time is the song's.

    Args:
        sample_rate: [Hz].
        sync: a note value ("1/2", "1/8." dotted, "1/4t" triplet) for one swing; otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        Parameter("rate", 0.02, 20.0, default=0.5, unit="Hz", scale="log", description="swings a second"),
        Parameter("width", 0.0, 1.0, default=0.7, varying=True, description="0 middle, 1 from side to side"),
        SHAPE,
        Parameter("phase", -90.0, 270.0, default=0.0, unit="degrees", description="where it stands as the song begins"),
    )
    presets: ClassVar = {
        "drift": {"rate": 0.08, "width": 0.5, "shape": 0.0},
        "side to side": {"rate": 1.0, "width": 1.0, "shape": 0.2},
        "ping": {"rate": 4.0, "width": 0.9, "shape": 0.9},
    }
    probe: ClassVar = {"shape": 0.3, "phase": 40.0}

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.parameters = (synced_rate(type(self).parameters[0], sync, tempo), *type(self).parameters[1:])  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        cycles = turns(settings["rate"], samples, self.sample_rate, settings.get(START, 0.0))
        wave = sine(cycles, settings["phase"].double().unsqueeze(-1) / 360.0, audio.dtype)
        place = swing(wave, settings["shape"]).unsqueeze(1) * over_audio(settings["width"], samples)
        angle = (math.pi / 4.0) * (1.0 + place)
        gains = torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)
        return audio * gains * math.sqrt(2.0)
