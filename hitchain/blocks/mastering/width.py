"""Stereo width."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import fft
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

_LOWEST_CORNER = 20.0  # Hz
_RINGING = 10.4  # nepers in 90 dB


@register("mastering/width")
class Width(Block):
    """Mid and side: left, right = m + s, m - s with m = (left + right) / 2 and s = width * high((left - right) / 2).

    Below `bass_mono` the side is taken out by a high-pass without phase shift, so that above it nothing moves in the
    image: high(f) = f^4 / (f^4 + bass_mono^4), a fourth-order Butterworth's power response (Linkwitz and Riley 1976).
    Mono passes unchanged.
    """

    parameters = (
        Parameter("width", 0.0, 2.0, default=1.0, description="0 mono, 1 as it is, 2 the side doubled"),
        Parameter("bass_mono", _LOWEST_CORNER, 400.0, _LOWEST_CORNER, unit="Hz", scale="log", description="mono below"),
    )

    presets: ClassVar = {
        "mono": {"width": 0.0},
        "vinyl": {"width": 0.9, "bass_mono": 150.0},
        "wide": {"width": 1.4, "bass_mono": 120.0},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        if audio.shape[1] == 1:
            return audio
        left, right = audio[:, :1], audio[:, 1:]
        middle = 0.5 * (left + right)
        side = self._without_bass(0.5 * (left - right), settings["bass_mono"])
        side = side * over_audio(settings["width"], audio.shape[-1])
        return torch.cat([middle + side, middle - side], dim=1)

    def _without_bass(self, side: Tensor, corner: Tensor) -> Tensor:
        # Its poles lie at 45 degrees: it rings, both ways, for the lowest corner longest.
        ringing = _RINGING / (2.0**0.5 * torch.pi * _LOWEST_CORNER)
        n_fft = fft.fast_length(side.shape[-1] + round(ringing * self.sample_rate))
        ratio = (fft.frequencies(n_fft, self.sample_rate, like=side) / corner[:, None]) ** 4
        return fft.apply_response(side, (ratio / (1.0 + ratio))[:, None], n_fft)
