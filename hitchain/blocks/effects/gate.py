"""A noise gate and expander."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import dynamics, gating
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.parameter import SIDECHAIN, Parameter, Settings
from hitchain.blocks.registry import register

SOFTNESS = 3.0
"""[dB] Of the bend at the threshold."""


@register("effects/gate")
class Gate(Block):
    """Gate and downward expander, linked across channels: what is below the threshold is turned down.

        level      20 log10 max |x|, the largest of the last `hold`, through hysteresis (`gating.hysteresis`)
        closed     min(range, k ln(1 + e^((ratio - 1) (threshold - level) / k))),  k = 3 dB
        y = x 10^(-c / 20), c: closed, through attack (opening) and release (closing), shut at first

    Rising, the gate opens at the threshold; falling, it closes from `hysteresis` dB lower. A ratio of 2 expands gently,
    20 gates. The bend costs 2 dB at the threshold. With a sidechain, another track opens it.
    """

    takes_sidechain = True
    parameters = (
        Parameter("threshold", -60.0, 0.0, default=-40.0, unit="dB", description="level at which it opens"),
        Parameter("ratio", 1.5, 50.0, default=8.0, scale="log", description="dB out for 1 dB in, below the threshold"),
        Parameter("range", 0.0, 90.0, default=60.0, unit="dB", description="turned down at most"),
        Parameter("attack", 0.05, 50.0, default=0.5, unit="ms", scale="log", description="time constant of opening"),
        Parameter("hold", 0.1, 225.0, default=30.0, unit="ms", scale="log", description="time it stays open"),
        Parameter("release", 5.0, 2000.0, default=80.0, unit="ms", scale="log", description="time constant of closing"),
        Parameter("hysteresis", 0.0, 12.0, default=4.0, unit="dB", description="by how much lower it closes"),
    )
    presets: ClassVar = {
        "tight drums": {"threshold": -20.0, "ratio": 20.0, "hold": 40.0, "release": 40.0, "range": 80.0},
        "quiet the hum": {
            "threshold": -50.0,
            "ratio": 3.0,
            "range": 20.0,
            "attack": 3.0,
            "hold": 80.0,
            "release": 300.0,
        },
        "gentle expander": {"threshold": -25.0, "ratio": 2.0, "range": 12.0, "attack": 5.0, "release": 150.0},
    }
    probe: ClassVar[dict[str, float]] = {"threshold": -8.0, "ratio": 2.0, "hold": 0.1, "hysteresis": 0.0}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        closing = self.closing(audio, settings)
        return audio * to_gain(-closing).unsqueeze(1)

    def closing(self, audio: Tensor, settings: Settings) -> Tensor:
        """How far it is closed [dB, >= 0] at each sample: (batch, samples)."""
        key = dynamics.fitted(settings.get(SIDECHAIN), audio)
        level = dynamics.peak_level(audio if key is None else key)
        window = (settings["hold"] * (self.sample_rate / 1000.0)).clamp_min(1.5)
        level = gating.hysteresis(gating.held_maximum(level, window), settings["hysteresis"])
        ratio, threshold = settings["ratio"].unsqueeze(-1), settings["threshold"].unsqueeze(-1)
        wanted = SOFTNESS * softplus((ratio - 1.0) * (threshold - level) / SOFTNESS, threshold=40.0)
        closed = torch.minimum(wanted, settings["range"].unsqueeze(-1))
        opens, closes = (dynamics.time_coefficient(settings[key], self.sample_rate) for key in ("attack", "release"))
        return ballistics(closed, closes, opens, initial=settings["range"])
