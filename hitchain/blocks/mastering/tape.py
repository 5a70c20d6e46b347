"""Tape on the master bus."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import distortion, tape
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("mastering/tape")
class MasterTape(Block):
    """A mastering recorder: the hysteresis and the heads of `effects/tape`, on a machine that runs true.

        y = x + mix (playback(hysteresis(3.01 drive x, bias)) / gain - x)

    Noise at -14 dBFS leaves about as loud as it came. The playback head turns the phase of the bass a little, so that
    mixing with the clean signal shapes it, too.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the hysteresis is solved; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("drive", -12.0, 15.0, default=0.0, unit="dB", description="level onto the tape"),
        Parameter("bias", 0.0, 1.0, default=0.85, description="bias current: thick to clean"),
        Parameter("speed", 7.5, 30.0, default=30.0, unit="in/s", scale="log", description="of the tape: warm to open"),
        Parameter("mix", 0.0, 1.0, default=0.8, description="0 clean, 1 tape"),
    )
    presets: ClassVar = {
        "gentle": {"drive": -3.0, "bias": 0.95},
        "half inch": {"drive": 4.0, "bias": 0.8, "speed": 15.0, "mix": 1.0},
        "slammed": {"drive": 12.0, "bias": 0.6, "speed": 15.0, "mix": 1.0},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return tape.TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        played = tape.record(
            audio,
            to_gain(settings["drive"]),
            settings["bias"],
            settings["speed"],
            self.sample_rate,
            self.oversampling,
        )
        return torch.lerp(audio, played, settings["mix"][:, None, None])
