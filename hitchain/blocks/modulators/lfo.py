"""A low-frequency oscillator."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.modulation import AMOUNT, Cue, Modulator
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register


@register("modulators/lfo")
class Lfo(Modulator):
    """Low-frequency oscillator: a blend of sine, triangle, rising and falling saw and square, -1 to 1.

        angle = 360 rate t + phase degrees, t from the start of the song, so that any window of it moves in step

    Saw and square are the sums of their first nine partials with Lanczos factors: they step within a few hundredths
    of a period, without a click, and have a gradient.
    """

    parameters = (
        AMOUNT,
        Parameter("rate", 0.02, 20.0, default=2.0, unit="Hz", scale="log", description="cycles a second"),
        Parameter("phase", -90.0, 270.0, default=0.0, unit="degrees", description="where it stands as the song begins"),
        Choice("shape", ("sine", "triangle", "rising", "falling", "square"), "sine", description="of a cycle"),
    )
    presets: ClassVar = {
        "slow sweep": {"rate": 0.1, "shape": "triangle", "amount": 0.4},
        "vibrato": {"rate": 5.5, "amount": 0.03},
        "chopper": {"rate": 8.0, "shape": "square", "amount": 0.5},
    }

    def control(self, cue: Cue, settings: Settings) -> Tensor:
        turns = settings["rate"].double().unsqueeze(-1) * cue.times + settings["phase"].double().unsqueeze(-1) / 360.0
        angle = ((turns - turns.detach().floor()) * (2.0 * math.pi)).to(settings["rate"].dtype)
        weights = settings["shape"]
        harmonics = torch.arange(1, _PARTIALS + 1, dtype=angle.dtype, device=angle.device)
        series = weights @ _series().to(weights)
        return torch.einsum("bk,bfk->bf", series, torch.sin(angle.unsqueeze(-1) * harmonics))


_PARTIALS = 9


def _series() -> Tensor:
    """Sine amplitudes of each shape's partials: (shapes, partials)."""
    k = torch.arange(1, _PARTIALS + 1, dtype=torch.float64)
    lanczos = torch.sinc(k / (_PARTIALS + 1))
    odd = k % 2
    sine = (k == 1).double()
    triangle = odd * 8.0 / (math.pi**2 * k.square()) * (-1.0) ** ((k - 1) // 2)
    rising = -2.0 / math.pi * (-1.0) ** k / k * lanczos
    square = odd * 4.0 / (math.pi * k) * lanczos
    return torch.stack([sine, triangle, rising, -rising, square])
