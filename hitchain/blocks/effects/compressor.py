"""A compressor with true attack and release."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import dynamics
from hitchain.blocks.parameter import SIDECHAIN, Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/compressor")
class Compressor(Block):
    """Feed-forward compression with a smooth branching detector in the log domain (Giannoulis, Massberg, Reiss 2012,
    "Digital dynamic range compressor design"), linked: all channels turn down together, by the loudest.

        level = 20 log10 max |x|
        reduction = (1 - 1/ratio) * the level's overshoot of the threshold, through attack and release
        y = x ((1 - mix) + mix 10^((makeup - reduction) / 20))

    Attack and release are the times to cover 63 % of a step of the reduction in dB. With a sidechain, the level is that
    of another track.
    """

    takes_sidechain = True
    parameters = (
        Parameter("threshold", -60.0, 0.0, default=-18.0, unit="dB", description="level from which it turns down"),
        Parameter("ratio", 1.0, 20.0, default=3.0, scale="log", description="dB in for 1 dB out, above the threshold"),
        Parameter(
            "attack", 0.1, 200.0, default=10.0, unit="ms", scale="log", description="time constant of turning down"
        ),
        Parameter(
            "release", 5.0, 2000.0, default=120.0, unit="ms", scale="log", description="time constant of letting go"
        ),
        Parameter("knee", 0.1, 24.0, default=6.0, unit="dB", description="width of the bend at the threshold"),
        Parameter("makeup", -12.0, 24.0, default=0.0, unit="dB", description="gain of the compressed signal"),
        Parameter("mix", 0.0, 1.0, default=1.0, description="0 dry, 1 compressed; between, parallel compression"),
    )
    presets: ClassVar = {
        "glue": {"threshold": -20.0, "ratio": 2.0, "attack": 30.0, "release": 150.0, "knee": 10.0, "makeup": 2.0},
        "drum smash": {
            "threshold": -34.0,
            "ratio": 12.0,
            "attack": 1.5,
            "release": 70.0,
            "knee": 3.0,
            "makeup": 12.0,
            "mix": 0.6,
        },
        "vocal leveller": {"threshold": -28.0, "ratio": 4.0, "attack": 5.0, "release": 180.0, "makeup": 6.0},
    }
    probe: ClassVar[dict[str, float]] = {"threshold": -24.0, "makeup": 3.0, "mix": 0.7}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return dynamics.compress(
            audio,
            threshold=settings["threshold"],
            ratio=settings["ratio"],
            knee=settings["knee"],
            attack=settings["attack"],
            release=settings["release"],
            makeup=settings["makeup"],
            mix=settings["mix"],
            sample_rate=self.sample_rate,
            key=dynamics.fitted(settings.get(SIDECHAIN), audio),
        )

    def reduction(self, audio: Tensor, settings: Settings) -> Tensor:
        """What is taken away [dB, >= 0] at each sample, before makeup and mix: (batch, samples)."""
        key = dynamics.fitted(settings.get(SIDECHAIN), audio)
        return dynamics.gain_reduction(
            dynamics.peak_level(audio if key is None else key),
            threshold=settings["threshold"],
            ratio=settings["ratio"],
            knee=settings["knee"],
            attack=settings["attack"],
            release=settings["release"],
            sample_rate=self.sample_rate,
        )
