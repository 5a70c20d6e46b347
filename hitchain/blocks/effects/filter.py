"""A filter: low, high and band pass and notch."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import filters
from hitchain.blocks.dsp.butterworth import Kind, butterworth
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

KINDS: tuple[Kind, ...] = ("low pass", "high pass", "band pass", "notch")
ORDERS = {"12": 2, "24": 4, "48": 8}
"""By decibels an octave; of a band, on each side."""


@register("effects/filter")
class Filter(LinearBlock):
    """Butterworth filters of 12, 24 and 48 dB an octave, with resonance; types and slopes blend.

        H = sum over types i and slopes j of type_i slope_j H_ij

    Low and high pass: the resonance raises the Q of the sharpest pair of poles, so that the gain at the cutoff is
    resonance - 3 dB. Band pass and notch: frequency / bandwidth = 10^(resonance / 20) / sqrt(2), the bandwidth between
    the -3 dB points. At 0 dB all are the classic design (S. Butterworth 1930), by the bilinear transform.
    """

    parameters = (
        Choice("type", KINDS, "low pass", description="what passes"),
        Choice("slope", tuple(ORDERS), "24", description="dB an octave"),
        Parameter("frequency", 20.0, 20000.0, default=2000.0, unit="Hz", scale="log", description="cutoff, or centre"),
        Parameter("resonance", 0.0, 24.0, default=0.0, unit="dB", description="peak at the cutoff, or narrower band"),
    )
    presets: ClassVar = {
        "low cut": {"type": "high pass", "slope": "24", "frequency": 90.0},
        "muffled": {"type": "low pass", "slope": "12", "frequency": 700.0},
        "telephone": {"type": "band pass", "slope": "24", "frequency": 1100.0},
    }

    def _cascades(self, settings: Settings) -> list[tuple[Tensor, filters.Section]]:
        """(weight (batch,), sections) of each type and slope that is heard, or that a gradient asks for."""
        kinds, slopes = settings["type"], settings["slope"]
        frequency, resonance = settings["frequency"].double(), settings["resonance"].double()
        wanted = kinds.requires_grad or slopes.requires_grad
        used = []
        for kind, name in enumerate(KINDS):
            for slope, order in enumerate(ORDERS.values()):
                weight = kinds[:, kind] * slopes[:, slope]
                if wanted or bool((weight != 0.0).any()):
                    used.append((weight, butterworth(name, order, frequency, resonance, self.sample_rate)))
        return used

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        total: Tensor | None = None
        for weight, (b, a) in self._cascades(settings):
            part = weight.unsqueeze(-1) * filters.sections_response(b, a, n_fft, settings["frequency"].dtype)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("the weights of effects/filter are all 0")
        return total.unsqueeze(1)

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        longest = 0.0
        for _, (_, a) in self._cascades(settings):
            ring = filters.ring_time(a, decay=100.0)
            most = ring.max(dim=-1).values
            longest = max(longest, float((most + (ring.sum(dim=-1) - most) / 3.0).max()))
        return longest / self.sample_rate
