"""A six-band equaliser that leaves phases alone."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import fft, filters
from hitchain.blocks.dsp.linear import LEAD
from hitchain.blocks.effects.parametric_eq import ParametricEq
from hitchain.blocks.parameter import Settings
from hitchain.blocks.registry import register

_FINENESS = 4  # points of the sampled magnitude for each tap, so that what wraps around has decayed
_SHORTEST, _LONGEST = 1.0, 1000.0


@register("mastering/linear_phase_eq")
class LinearPhaseEq(ParametricEq):
    """The bands of `effects/parametric_eq` without their phase shift: Y(f) = |H(f)| X(f).

    H is the product of that block's second-order sections. The impulse response of |H| is even in time; it is cut to
    `reach` on either side by a Hann window, which blurs the curve by about 1 / reach: narrow bands far down in the bass
    come out wider and flatter, as in any linear-phase equaliser of finite length. It adds no delay. What it must do
    instead is sound before its time: a sharp boost rings before a hit for up to `reach`.

    Args:
        reach: [ms] of the impulse response before and after its middle; 1 to 1000. Longer is truer in the bass.
    """

    presets: ClassVar = {
        "air": {"high_shelf_frequency": 11000.0, "high_shelf_gain": 2.5},
        "clear mud": {"peak1_frequency": 280.0, "peak1_gain": -2.5, "peak1_q": 0.9, "high_shelf_gain": 1.0},
        "warm": {"low_shelf_frequency": 120.0, "low_shelf_gain": 2.0, "peak4_frequency": 4000.0, "peak4_gain": -1.5},
    }
    example: ClassVar = {"reach": 20.0}

    def __init__(self, sample_rate: int = 44100, reach: float = 185.0) -> None:
        super().__init__(sample_rate)
        if not _SHORTEST <= reach <= _LONGEST:
            raise ValueError(f"reach={reach:g} should be from {_SHORTEST:g} to {_LONGEST:g} ms")
        self.side = round(reach * sample_rate / 1000.0)

    @property
    def early(self) -> int:
        """Samples for which it sounds before its time."""
        return self.side

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return LinearBlock.forward(self, audio, settings)  # not in time, as the sections by themselves are

    def taps(self, settings: Settings) -> Tensor:
        """The impulse response: (batch, 2 side + 1), its middle at index `side`."""
        b, a = self.sections(settings)
        n_fft = fft.fast_length(2 * _FINENESS * self.side)
        dtype = settings["low_shelf_gain"].dtype
        magnitude = filters.sections_response(b, a, n_fft, dtype).abs()
        impulse = torch.fft.irfft(magnitude, n=n_fft)
        late = impulse[..., : self.side + 1]
        ramp = torch.arange(self.side + 1, dtype=dtype, device=late.device) * (math.pi / (self.side + 1))
        late = late * (0.5 + 0.5 * torch.cos(ramp))
        return torch.cat([late.flip(-1), late[..., 1:]], dim=-1)

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        taps = self.taps(settings)
        turns = -(-taps.shape[-1] // n_fft)  # on a grid shorter than the response, it wraps around
        circle = torch.nn.functional.pad(taps, (0, turns * n_fft - taps.shape[-1]))
        circle = circle.reshape(len(taps), turns, n_fft).sum(dim=1).roll(-self.side, dims=-1)
        return fft.rfft(circle, n_fft).unsqueeze(1)

    def tail(self, settings: Settings) -> float:
        """So long that the share of a grid which `hitchain.blocks.dsp.linear` keeps for what sounds early has room."""
        return (LEAD - 1) * (self.side + 1) / self.sample_rate
