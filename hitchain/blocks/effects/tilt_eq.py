"""A tilt control: brighter or darker with one knob."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import filters, section_filter
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/tilt_eq")
class TiltEq(LinearBlock):
    """The spectrum turned about a pivot: treble up by as much as the bass goes down, or the other way round.

        H(s) = (A s + w0) / (s + A w0),   A = 10^(tilt / 20),  w0 = 2 pi pivot

    which is 1/A at 0 Hz, 1 in size at the pivot and A at the top: the first-order see-saw of the tilt controls of hi-fi
    preamplifiers since the Quad 34, by the bilinear transform with the pivot in its place.
    """

    parameters = (
        Parameter("tilt", -12.0, 12.0, default=0.0, unit="dB", description="gain of the treble, and loss of the bass"),
        Parameter("pivot", 100.0, 8000.0, default=800.0, unit="Hz", scale="log", description="frequency that stays"),
    )
    presets: ClassVar = {
        "darker": {"tilt": -3.0},
        "brighter": {"tilt": 3.0},
        "vintage": {"tilt": -5.0, "pivot": 2500.0},
    }
    probe: ClassVar[dict[str, float]] = {"tilt": 6.0}

    def sections(self, settings: Settings) -> filters.Section:
        """b and a, float64, (batch, 1, 3); the last coefficients are 0."""
        gain = torch.exp(settings["tilt"].double() * (math.log(10.0) / 20.0))
        pivot = filters.bounded_frequency(settings["pivot"].double(), self.sample_rate)
        tangent = torch.tan(pivot * (math.pi / self.sample_rate))
        zero, first = torch.zeros_like(gain), 1.0 + gain * tangent
        b = torch.stack([(gain + tangent) / first, (tangent - gain) / first, zero], dim=-1)
        a = torch.stack([torch.ones_like(gain), (gain * tangent - 1.0) / first, zero], dim=-1)
        return b.unsqueeze(1), a.unsqueeze(1)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        """In time, which is exact and cheaper than by the response."""
        return section_filter.filter_sections(audio, *self.sections(settings))

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        b, a = self.sections(settings)
        return filters.sections_response(b, a, n_fft, settings["tilt"].dtype).unsqueeze(1)

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        _, a = self.sections(settings)
        return float(filters.ring_time(a, decay=100.0).max()) / self.sample_rate
