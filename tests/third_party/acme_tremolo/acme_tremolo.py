"""A block of another package: found by hitchain through the entry point in pyproject.toml."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hitchain.blocks import Block, Parameter, Settings, register


@register("effects/acme_tremolo")
class Tremolo(Block):
    """Amplitude modulation: y[t] = x[t] * (1 - depth * (1 - cos(2 pi rate t)) / 2)."""

    parameters = (
        Parameter("rate", 0.1, 20.0, default=5.0, unit="Hz", scale="log", description="how fast the level moves"),
        Parameter("depth", 0.0, 1.0, default=0.5, description="how far it falls: 1 is to silence"),
    )

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        time = torch.arange(audio.shape[-1], dtype=audio.dtype, device=audio.device) / self.sample_rate
        swing = (1.0 - torch.cos(2.0 * math.pi * settings["rate"][:, None] * time)) / 2.0
        return audio * (1.0 - settings["depth"][:, None] * swing)[:, None]
