"""A dynamic equaliser and a de-esser: gain in a band that follows the band's own level."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import dynamics
from hitchain.blocks.dsp.moving_peaks import moving_peaks, peaks_tail
from hitchain.blocks.parameter import SIDECHAIN, Parameter, Settings
from hitchain.blocks.registry import register

BANDS = {"low": 120.0, "mid": 400.0, "high": 4000.0}
"""Default centre frequencies [Hz]."""


def _band(name: str, centre: float) -> tuple[Parameter, ...]:
    return (
        Parameter(f"{name}_frequency", 20.0, 18000.0, centre, "Hz", "log", description=f"centre of the {name} band"),
        Parameter(f"{name}_q", 0.3, 8.0, default=1.0, scale="log", description="centre / bandwidth"),
        Parameter(f"{name}_threshold", -60.0, 0.0, default=-30.0, unit="dB", description="level at which it moves"),
        Parameter(f"{name}_range", -18.0, 18.0, default=0.0, unit="dB", description="gain it moves towards when loud"),
    )


@register("effects/dynamic_eq")
class DynamicEq(Block):
    """Dynamic equaliser: three peaks whose gain moves with the level in their band, linked across channels.

        y = x + sum over bands of (10^(gain / 20) - 1) B x
        gain = range a / (a + 6 dB)

    B is the band pass at frequency and q, a the overshoot of the level of B x above the threshold (round a soft bend)
    through attack and release: 6 dB over, half of the range is used. A range below 0 tames what sticks out, above 0 it
    lifts what is loud already. With a sidechain, the level in the same band of another track counts.
    """

    takes_sidechain = True
    parameters = (
        *(knob for name, centre in BANDS.items() for knob in _band(name, centre)),
        Parameter("attack", 0.5, 200.0, default=10.0, unit="ms", scale="log", description="time constant of moving"),
        Parameter("release", 10.0, 2000.0, default=150.0, unit="ms", scale="log", description="of going back"),
    )
    presets: ClassVar = {
        "tame harshness": {"high_frequency": 3200.0, "high_q": 1.5, "high_threshold": -34.0, "high_range": -8.0},
        "hold the boom": {"low_frequency": 110.0, "low_q": 1.2, "low_threshold": -28.0, "low_range": -10.0},
        "livelier": {
            "mid_range": -3.0,
            "mid_threshold": -30.0,
            "high_frequency": 6000.0,
            "high_q": 0.6,
            "high_threshold": -40.0,
            "high_range": 5.0,
            "attack": 2.0,
        },
    }
    probe: ClassVar[dict[str, float]] = {
        **{f"{name}_threshold": -30.0 for name in BANDS},
        "low_range": 8.0,
        "mid_range": -10.0,
        "high_range": -12.0,
        "release": 40.0,
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        knobs = self._by_band(settings)
        many = torch.ones_like(knobs["q"])
        return moving_peaks(
            audio,
            frequency=knobs["frequency"],
            q=knobs["q"],
            threshold=knobs["threshold"],
            span=knobs["range"],
            attack=settings["attack"].unsqueeze(-1) * many,
            release=settings["release"].unsqueeze(-1) * many,
            sample_rate=self.sample_rate,
            key=dynamics.fitted(settings.get(SIDECHAIN), audio),
        )

    def _by_band(self, settings: Settings) -> dict[str, Tensor]:
        """Each knob of every band: (batch, bands)."""
        names = ("frequency", "q", "threshold", "range")
        return {knob: torch.stack([settings[f"{band}_{knob}"] for band in BANDS], dim=-1) for knob in names}

    def tail(self, settings: Settings) -> float:
        knobs = self._by_band(settings)
        return peaks_tail(knobs["frequency"], knobs["q"], self.sample_rate)


@register("effects/de_esser")
class DeEsser(Block):
    """De-esser: a peak that turns down as its band grows loud, linked across channels.

        y = x + (10^(-range share / 20) - 1) B x,   share = a / (a + 6 dB)

    B is the band pass at the frequency, a the overshoot of the level of B x above the threshold (round a soft
    bend) through attack and release; what is outside the band keeps its level.
    """

    parameters = (
        Parameter("frequency", 2000.0, 14000.0, 6500.0, "Hz", "log", description="centre of the sibilants"),
        Parameter("width", 0.5, 3.0, default=1.5, unit="octaves", description="of the band"),
        Parameter("threshold", -60.0, 0.0, default=-32.0, unit="dB", description="level of the band that is too much"),
        Parameter("range", 0.0, 24.0, default=9.0, unit="dB", description="turned down at most"),
        Parameter(
            "attack", 0.1, 50.0, default=1.0, unit="ms", scale="log", description="time constant of turning down"
        ),
        Parameter(
            "release", 5.0, 500.0, default=40.0, unit="ms", scale="log", description="time constant of letting go"
        ),
    )
    presets: ClassVar = {
        "gentle": {"range": 5.0, "threshold": -30.0, "width": 2.0},
        "firm": {"range": 15.0, "threshold": -40.0},
        "cymbals": {"frequency": 9500.0, "width": 1.5, "range": 8.0, "threshold": -36.0, "release": 80.0},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        knobs = {key: settings[key].unsqueeze(-1) for key in ("frequency", "threshold", "attack", "release")}
        span = -settings["range"].unsqueeze(-1)
        return moving_peaks(audio, **knobs, q=self._q(settings), span=span, sample_rate=self.sample_rate)

    def _q(self, settings: Settings) -> Tensor:
        """Of a band as wide as so many octaves: sqrt(2^width) / (2^width - 1)."""
        edge = torch.exp2(settings["width"]).unsqueeze(-1)
        return edge.sqrt() / (edge - 1.0)

    def tail(self, settings: Settings) -> float:
        return peaks_tail(settings["frequency"].unsqueeze(-1), self._q(settings), self.sample_rate)
