"""A bass and a treble control."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import filters, section_filter
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


def _shelf(side: str, low: float, high: float, default: float) -> tuple[Parameter, ...]:
    return (
        Parameter(
            f"{side}_frequency",
            low,
            high,
            default,
            "Hz",
            "log",
            description=f"where the {side} shelf has half its gain",
        ),
        Parameter(f"{side}_gain", -18.0, 18.0, default=0.0, unit="dB", description=f"of the {side} shelf"),
        Parameter(f"{side}_slope", 0.2, 1.0, default=0.7, description="1 is the steepest without a bump"),
    )


@register("effects/shelving_eq")
class ShelvingEq(LinearBlock):
    """Low shelf and high shelf in series, with slope: second-order sections of R. Bristow-Johnson's Audio EQ Cookbook.

    1 / Q^2 = (A + 1/A) (1/slope - 1) + 2,   A = 10^(gain / 40)
    """

    parameters = (*_shelf("low", 20.0, 2000.0, 150.0), *_shelf("high", 500.0, 20000.0, 6000.0))
    presets: ClassVar = {
        "warm": {"low_frequency": 220.0, "low_gain": 3.0, "high_frequency": 7000.0, "high_gain": -3.0},
        "bright": {"low_gain": -1.5, "high_frequency": 5000.0, "high_gain": 4.0},
        "small speaker": {"low_frequency": 350.0, "low_gain": -15.0, "low_slope": 1.0, "high_gain": -6.0},
    }
    probe: ClassVar[dict[str, float]] = {"low_gain": 6.0, "high_gain": -6.0}  # at 0 dB a shelf is a wire

    def sections(self, settings: Settings) -> filters.Section:
        """b and a of the low and the high shelf, float64, (batch, 2, 3)."""
        frequency, gain, slope = (
            torch.stack([settings[f"{side}_{knob}"] for side in ("low", "high")], dim=-1).double()
            for knob in ("frequency", "gain", "slope")
        )
        a = torch.exp(gain * (math.log(10.0) / 40.0))
        q = torch.rsqrt((a + 1.0 / a) * (1.0 / slope - 1.0) + 2.0)
        return filters.shelf(frequency, gain, q, self.sample_rate, side=gain.new_tensor([1.0, -1.0]))

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        """In time, which is exact and cheaper than by the response."""
        return section_filter.filter_sections(audio, *self.sections(settings))

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        b, a = self.sections(settings)
        return filters.sections_response(b, a, n_fft, settings["low_gain"].dtype).unsqueeze(1)

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        _, a = self.sections(settings)
        ring = filters.ring_time(a, decay=100.0)
        longest = ring.max(dim=-1).values
        return float((longest + (ring.sum(dim=-1) - longest) / 3.0).max()) / self.sample_rate
