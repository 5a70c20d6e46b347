"""A six-band parametric equaliser."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import filters, section_filter
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

SHELF_Q = 1.0 / math.sqrt(2.0)
"""The steepest shelf without a bump."""

PEAKS = (150.0, 500.0, 1500.0, 5000.0)
"""Default centre frequencies [Hz]."""


def _frequency(band: str, low: float, high: float, default: float) -> Parameter:
    return Parameter(f"{band}_frequency", low, high, default, unit="Hz", scale="log", description=f"{band} frequency")


def _gain(band: str) -> Parameter:
    return Parameter(f"{band}_gain", -18.0, 18.0, default=0.0, unit="dB", description=f"{band} boost or cut")


def _peak(band: str, default: float) -> tuple[Parameter, ...]:
    q = Parameter(f"{band}_q", 0.2, 10.0, default=1.0, scale="log", description=f"{band} centre / bandwidth")
    return _frequency(band, 20.0, 20000.0, default), _gain(band), q


@register("effects/parametric_eq")
class ParametricEq(LinearBlock):
    """Low shelf, four peaks and high shelf in series: second-order sections of R. Bristow-Johnson's Audio EQ Cookbook.

    A frequency near or above Nyquist acts as one just below it (`filters.bounded_frequency`).
    """

    parameters = (
        _frequency("low_shelf", 20.0, 1000.0, default=100.0),
        _gain("low_shelf"),
        *(knob for number, centre in enumerate(PEAKS, start=1) for knob in _peak(f"peak{number}", centre)),
        _frequency("high_shelf", 1000.0, 20000.0, default=8000.0),
        _gain("high_shelf"),
    )
    presets: ClassVar = {
        "vocal": {
            "low_shelf_gain": -6.0,
            "peak2_frequency": 350.0,
            "peak2_gain": -2.5,
            "peak4_frequency": 4000.0,
            "peak4_gain": 2.5,
            "high_shelf_frequency": 10000.0,
            "high_shelf_gain": 3.0,
        },
        "kick": {
            "low_shelf_frequency": 70.0,
            "low_shelf_gain": 4.0,
            "peak2_frequency": 350.0,
            "peak2_gain": -6.0,
            "peak4_frequency": 3500.0,
            "peak4_gain": 4.0,
        },
        "room for the voice": {"peak3_frequency": 2500.0, "peak3_gain": -3.0, "peak3_q": 0.7},
    }
    probe: ClassVar[dict[str, float]] = {  # at 0 dB a band is a wire, whatever its frequency and Q
        "low_shelf_gain": 6.0,
        "high_shelf_gain": -6.0,
        **{f"peak{number}_gain": 6.0 * (-1) ** number for number in range(1, len(PEAKS) + 1)},
    }

    def sections(self, settings: Settings) -> filters.Section:
        """The sections' b and a, float64, (batch, sections, 3), in the order low shelf, peaks, high shelf."""
        values = torch.stack([settings[knob.name] for knob in self.parameters], dim=-1).double()
        peaks = values[:, 2:-2].reshape(len(values), len(PEAKS), 3)
        shelves = torch.stack([values[:, :2], values[:, -2:]], dim=1)
        q, side = values.new_tensor(SHELF_Q), values.new_tensor([1.0, -1.0])
        ends = filters.shelf(shelves[..., 0], shelves[..., 1], q, self.sample_rate, side)
        middle = filters.peak(peaks[..., 0], peaks[..., 1], peaks[..., 2], self.sample_rate)
        b, a = (torch.cat([end[:, :1], bell, end[:, 1:]], dim=1) for end, bell in zip(ends, middle, strict=True))
        return b, a

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        """In time, which is exact and cheaper than by the response."""
        return section_filter.filter_sections(audio, *self.sections(settings))

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        b, a = self.sections(settings)
        dtype = settings["low_shelf_gain"].dtype
        return filters.sections_response(b, a, n_fft, dtype).unsqueeze(1)

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        _, a = self.sections(settings)
        ring = filters.ring_time(a, decay=100.0)
        longest = ring.max(dim=-1).values
        # n equal poles ring as t^(n-1) e^-t: at -100 dB, a third longer for each, in proportion for shorter ones
        return float((longest + (ring.sum(dim=-1) - longest) / 3.0).max()) / self.sample_rate
