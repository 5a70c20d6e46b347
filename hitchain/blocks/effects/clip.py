"""Clippers: hard and soft."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import bends, distortion
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

HARD = 0.01
"""How round a hard clipper's corner is: 1 % of its threshold to either side, so that there is a gradient."""

_DRIVE = Parameter("drive", 0.0, 48.0, 12.0, "dB", varying=True, description="level into the clipper")
_THRESHOLD = Parameter("threshold", -36.0, 0.0, -6.0, "dB", varying=True, description="peak level that is left")
_LEVEL = Parameter("level", -24.0, 24.0, 0.0, "dB", varying=True, description="output level")
_MIX = Parameter("mix", 0.0, 1.0, 1.0, varying=True, description="0 clean, 1 clipped")


@register("effects/hard_clip")
class HardClip(Block):
    """Hard clipping: what is above the threshold is cut off flat.

        y = x + mix (level threshold f(drive x / threshold) - x),      f(u) = min(max(u, -1), 1)

    f is antialiased (`bends`), its corners rounded by 1 % of the threshold. Resampling rings on flat tops: peaks reach
    some 1.5 dB over the threshold.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the clipper runs, from 1 up; by default what takes it to 160 kHz, at most 8.
    """

    parameters: ClassVar[tuple[Parameter, ...]] = (_DRIVE, _THRESHOLD, _LEVEL, _MIX)
    probe: ClassVar[dict[str, float]] = {"threshold": -12.0, "mix": 0.7}
    presets: ClassVar = {
        "peaks only": {"drive": 0.0, "threshold": -9.0, "level": 3.0},
        "square": {"drive": 40.0, "threshold": -18.0, "level": 0.0},
        "parallel crunch": {"drive": 24.0, "threshold": -15.0, "mix": 0.4},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples, knee = audio.shape[-1], self._knee(settings)
        threshold, drive = (over_audio(to_gain(settings[key]), samples) for key in ("threshold", "drive"))
        level, mix = over_audio(to_gain(settings["level"]), samples), over_audio(settings["mix"], samples)
        rest = torch.zeros_like(knee)

        def shape(driven: Tensor) -> Tensor:
            return bends.bend_mean(driven, rest, knee, bends.CLIPPER)

        clipped = distortion.distort(audio * (drive / threshold), shape, self.sample_rate, self.oversampling, means=1)
        return audio + mix * (clipped * (threshold * level) - audio)

    def _knee(self, settings: Settings) -> Tensor:
        return torch.full_like(settings["drive"].reshape(len(settings["drive"]), -1)[:, 0], HARD)


@register("effects/soft_clip")
class SoftClip(HardClip):
    """Soft clipping: straight, then bending over a quadratic knee, then flat at the threshold.

        y = x + mix (level threshold f(drive x / threshold) - x)
        f(u) = u up to 1 - knee,     u - (u - 1 + knee)^2 / (4 knee) up to 1 + knee,     1 above; odd

    At knee 1 the curve is a parabola from rest on; it is antialiased (`bends`). Resampling rings on flat tops: peaks
    may exceed the threshold a little.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the clipper runs, from 1 up; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        _DRIVE,
        _THRESHOLD,
        Parameter("knee", 0.02, 1.0, 0.6, description="roundness of the bend: hard to soft"),
        _LEVEL,
        _MIX,
    )
    presets: ClassVar = {
        "warm peaks": {"drive": 6.0, "threshold": -6.0, "knee": 1.0},
        "drum crunch": {"drive": 18.0, "threshold": -9.0, "knee": 0.4},
        "saturated": {"drive": 30.0, "threshold": -12.0, "knee": 1.0},
    }

    def _knee(self, settings: Settings) -> Tensor:
        return settings["knee"]
