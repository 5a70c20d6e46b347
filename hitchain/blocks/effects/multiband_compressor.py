"""Compressors on three bands of the spectrum."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import dynamics
from hitchain.blocks.dsp.crossovers import crossover_tail, linkwitz_riley
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

BANDS = ("low", "mid", "high")
CROSSOVERS = (
    Parameter("low_crossover", 40.0, 900.0, 180.0, "Hz", "log", description="between the low and the middle band"),
    Parameter("high_crossover", 1000.0, 12000.0, 3000.0, "Hz", "log", description="between the middle and the high"),
)
_KNOBS = ("threshold", "ratio", "attack", "release", "gain")


def _band(name: str, attack: float, release: float) -> tuple[Parameter, ...]:
    return (
        Parameter(f"{name}_threshold", -60.0, 0.0, -24.0, "dB", description="level from which it turns down"),
        Parameter(f"{name}_ratio", 1.0, 20.0, 2.5, scale="log", description="dB in for 1 dB out"),
        Parameter(f"{name}_attack", 0.1, 200.0, attack, "ms", "log", description="time constant of turning down"),
        Parameter(f"{name}_release", 5.0, 2000.0, release, "ms", "log", description="time constant of letting go"),
        Parameter(f"{name}_gain", -12.0, 12.0, 0.0, "dB", description="of the compressed band"),
    )


@register("effects/multiband_compressor")
class MultibandCompressor(Block):
    """Multiband compressor: three bands by Linkwitz-Riley crossovers of fourth order, each through a compressor of its
    own, linked across channels.

        y = sum over bands of x_band 10^((gain - reduction) / 20)

    The reduction is that of `effects/compressor`. The bands stay in phase: where nothing is turned
    down the sum has the input's level at every frequency, and its phase goes through the crossovers' all-passes.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        *CROSSOVERS,
        *_band("low", 20.0, 180.0),
        *_band("mid", 10.0, 120.0),
        *_band("high", 3.0, 80.0),
        Parameter("knee", 0.1, 24.0, default=6.0, unit="dB", description="width of the bend at the thresholds"),
    )
    presets: ClassVar = {
        "tight bass": {"low_threshold": -30.0, "low_ratio": 5.0, "low_gain": 2.0, "mid_ratio": 1.2, "high_ratio": 1.2},
        "loud and even": {
            **{f"{name}_threshold": -36.0 for name in BANDS},
            **{f"{name}_ratio": 4.0 for name in BANDS},
            **dict(zip([f"{name}_gain" for name in BANDS], (7.0, 8.0, 9.0), strict=True)),
        },
        "soft treble": {"low_ratio": 1.2, "mid_ratio": 1.2, "high_threshold": -30.0, "high_ratio": 2.5},
    }
    probe: ClassVar[dict[str, float]] = {
        "low_crossover": 600.0,
        "knee": 24.0,
        **{f"{name}_threshold": -36.0 for name in BANDS},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        crossovers = [settings[knob.name] for knob in CROSSOVERS]
        parts = linkwitz_riley(audio, crossovers, self.sample_rate)
        knobs = {knob: torch.cat([settings[f"{band}_{knob}"] for band in BANDS]) for knob in _KNOBS}
        turned = dynamics.compress(
            torch.cat(parts),
            threshold=knobs["threshold"],
            ratio=knobs["ratio"],
            knee=settings["knee"].repeat(len(BANDS)),
            attack=knobs["attack"],
            release=knobs["release"],
            makeup=knobs["gain"],
            mix=torch.ones_like(knobs["ratio"]),
            sample_rate=self.sample_rate,
        )
        low, mid, high = turned.chunk(len(BANDS))
        return low + mid + high

    def tail(self, settings: Settings) -> float:
        return crossover_tail(settings["low_crossover"])


_MASTER = {
    "low_crossover": 120.0,
    "high_crossover": 4000.0,
    **{f"{name}_threshold": -18.0 for name in BANDS},
    **{f"{name}_ratio": 1.5 for name in BANDS},
    **dict(zip([f"{name}_attack" for name in BANDS], (50.0, 30.0, 15.0), strict=True)),
    **dict(zip([f"{name}_release" for name in BANDS], (300.0, 200.0, 150.0), strict=True)),
}


@register("mastering/multiband_compressor")
class MasteringMultibandCompressor(MultibandCompressor):
    """Multiband compressor for a whole mix: `effects/multiband_compressor`, its knobs standing at gentle ratios and
    slow times.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = tuple(
        replace(knob, default=_MASTER.get(knob.name, knob.default))
        for knob in MultibandCompressor.parameters
        if isinstance(knob, Parameter)
    )
    presets: ClassVar = {
        "firm low end": {"low_threshold": -24.0, "low_ratio": 3.0, "low_gain": 1.0},
        "dense": {
            **{f"{name}_threshold": -26.0 for name in BANDS},
            **{f"{name}_ratio": 2.0 for name in BANDS},
            **{f"{name}_gain": 3.0 for name in BANDS},
        },
        "calm treble": {"high_threshold": -30.0, "high_ratio": 2.5, "high_attack": 5.0},
    }
