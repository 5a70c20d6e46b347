"""A wavefolder."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import bends, distortion
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

BUCHLA = bends.Bends(
    slope=1.0,
    turns=tuple(
        weight * slope / 5.0
        for weight, slope in (
            (-12.000, 0.8333),
            (17.647, 0.5743),
            (-27.777, 0.3768),
            (36.363, 0.2673),
            (-21.428, 0.2829),
        )
    ),
    thresholds=tuple(volts / 0.6 for volts in (0.6000, 1.8000, 2.9940, 4.0800, 5.4600)),
)
"""The folding cells of the Buchla 259 in the order of their thresholds, in multiples of the first threshold."""

BLOCKING, TAIL = 10.0, 0.2
"""Corner of the high-pass that takes out DC [Hz], and the seconds in which it dies away."""


@register("effects/wavefolder")
class Wavefolder(Block):
    """The wavefolder of the Buchla 259: what is above a threshold is folded down, then up again, five times.

        y = f(g x + b) - f(b),      f(u) = u + sum_k s_k sgn(u) max(|u| - t_k, 0)

    with the five cells' gains and thresholds of F. Esqueda, H. Poentynen, V. Vaelimaeki, J. Parker, "Virtual analog
    Buchla 259 wavefolder" (DAFx-17), scaled so that the slope at rest and the first threshold are 1. The bends are
    rounded by `softness` of their threshold, antialiased (`bends`), and DC is blocked.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the folder runs, from 1 up; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("fold", 0.0, 24.0, 12.0, "dB", varying=True, description="level into the folder"),
        Parameter("symmetry", -1.0, 1.0, 0.0, description="offset into the folder: even harmonics"),
        Parameter("softness", 0.005, 0.6, 0.15, description="roundness of the folds"),
        Parameter("level", -24.0, 12.0, 0.0, "dB", varying=True, description="output level"),
        Parameter("mix", 0.0, 1.0, 1.0, varying=True, description="0 clean, 1 folded"),
    )
    probe: ClassVar[dict[str, float]] = {"symmetry": 0.3, "mix": 0.7}
    presets: ClassVar = {
        "one fold": {"fold": 8.0, "softness": 0.4},
        "west coast": {"fold": 18.0, "symmetry": 0.25, "softness": 0.15, "level": -3.0},
        "metal": {"fold": 24.0, "symmetry": 0.5, "softness": 0.05, "level": -3.0},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        fold, level = (over_audio(to_gain(settings[key]), samples) for key in ("fold", "level"))

        def shape(driven: Tensor) -> Tensor:
            return bends.bend_mean(driven, settings["symmetry"], settings["softness"], BUCHLA)

        folded = distortion.distort(
            audio * fold,
            shape,
            self.sample_rate,
            self.oversampling,
            after=lambda hertz: distortion.blocking(hertz, BLOCKING),
            means=1,
            tail=TAIL,
        )
        return audio + over_audio(settings["mix"], samples) * (level * folded - audio)
