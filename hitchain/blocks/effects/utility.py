"""Small tools: polarity, and a block for direct current."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.delays import half_angles
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/polarity")
class Polarity(LinearBlock):
    """Polarity: y = -x on the channels chosen, y = x on the others."""

    parameters = (Choice("inverted", ("none", "left", "right", "both"), "both", description="channels turned over"),)
    presets: ClassVar = {"both": {"inverted": "both"}, "left": {"inverted": "left"}, "right": {"inverted": "right"}}

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        weights = settings["inverted"]
        signs = weights.new_tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        gains = (weights @ signs).unsqueeze(-1)
        return torch.complex(gains, torch.zeros_like(gains))


@register("effects/dc_block")
class DcBlock(LinearBlock):
    """Takes out direct current and rumble: a first-order high-pass, by the bilinear transform.

        H(w) = j S / (K C + j S),  S = sin(w/2), C = cos(w/2), K = tan(pi corner / sample_rate)

    0 at 0 Hz, -3 dB at `corner`, 1 far above it.
    """

    parameters = (Parameter("corner", 2.0, 40.0, 8.0, "Hz", "log", "-3 dB here, 6 dB per octave below"),)
    presets: ClassVar = {"gentle": {"corner": 4.0}, "rumble": {"corner": 25.0}}

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        corner = settings["corner"]
        cosine, sine = half_angles(n_fft, corner.dtype, corner.device)
        low = torch.tan(corner * (math.pi / self.sample_rate))[:, None] * cosine
        inverse = sine / (low * low + sine * sine)
        return torch.complex(sine * inverse, low * inverse).unsqueeze(1)

    def tail(self, settings: Settings) -> float:
        return math.log(10.0**4.5) / (2.0 * math.pi * float(settings["corner"].detach().min()))
