"""Stereo width by frequency band."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import fft
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

_LOWEST_CORNER = 20.0  # Hz
_RINGING = 10.4  # nepers in 90 dB
_BANDS = ("low", "low_mid", "high_mid", "high")


def _crossover(below: str, above: str, low: float, high: float, default: float) -> Parameter:
    text = f"between {below} and {above}".replace("_", "-")
    return Parameter(f"{below}_crossover", low, high, default, unit="Hz", scale="log", description=text)


def _width(band: str) -> Parameter:
    text = f"of the {band.replace('_', '-')} band: 0 mono, 1 as it is, 2 the side doubled"
    return Parameter(f"{band}_width", 0.0, 2.0, default=1.0, description=text)


@register("mastering/imager")
class Imager(Block):
    """Four widths over frequency, and a mono bass: left, right = m + s', m - s' with m, s = (left +- right) / 2 and

        S' = high_0(f) (w_1 low_1 + high_1 (w_2 low_2 + high_2 (w_3 low_3 + high_3 w_4))) S
        low_k = 1 / (1 + (f / f_k)^4),  high_k = 1 - low_k

    the magnitudes of fourth-order Linkwitz-Riley crossovers (Linkwitz 1976) f_1 to f_3, with f_0 the corner of the mono
    bass. They act without phase shift and on the side alone: the middle is never touched, all widths at 1 leave the
    bands as they were, and what is folded to mono is the same whatever the widths. Mono passes unchanged.
    """

    parameters = (
        Parameter("bass_mono", _LOWEST_CORNER, 400.0, _LOWEST_CORNER, unit="Hz", scale="log", description="mono below"),
        _crossover("low", "low_mid", 80.0, 500.0, default=200.0),
        _crossover("low_mid", "high_mid", 500.0, 3000.0, default=1200.0),
        _crossover("high_mid", "high", 3000.0, 14000.0, default=6000.0),
        *(_width(band) for band in _BANDS),
    )
    presets: ClassVar = {
        "open top": {"bass_mono": 100.0, "high_mid_width": 1.2, "high_width": 1.5},
        "vinyl": {"bass_mono": 200.0, "low_width": 0.5, "high_width": 0.9},
        "focused": {"bass_mono": 120.0, "low_width": 0.6, "low_mid_width": 0.8, "high_width": 1.2},
    }
    probe: ClassVar = {"low_width": 0.4, "low_mid_width": 1.3, "high_mid_width": 0.8, "high_width": 1.7}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        if audio.shape[1] == 1:
            return audio
        left, right = audio[:, :1], audio[:, 1:]
        middle, side = 0.5 * (left + right), 0.5 * (left - right)
        # The poles lie at 45 degrees, and ring both ways; at the lowest corner longest, more corners a little longer.
        ringing = 1.5 * _RINGING / (math.sqrt(2.0) * math.pi * _LOWEST_CORNER)
        n_fft = fft.fast_length(side.shape[-1] + round(ringing * self.sample_rate))
        side = fft.apply_response(side, self.side_gain(settings, n_fft)[:, None], n_fft)
        return torch.cat([middle + side, middle - side], dim=1)

    def side_gain(self, settings: Settings, n_fft: int) -> Tensor:
        """What multiplies the side's spectrum: real (batch, bins)."""
        widths = [settings[f"{band}_width"][:, None] for band in _BANDS]
        bins = fft.frequencies(n_fft, self.sample_rate, like=widths[0])
        gain = widths[-1]
        for band, width in zip(reversed(_BANDS[:-1]), reversed(widths[:-1]), strict=True):
            above = _above(bins, settings[f"{band}_crossover"])
            gain = width + above * (gain - width)
        return gain * _above(bins, settings["bass_mono"])


def _above(bins: Tensor, corner: Tensor) -> Tensor:
    """The share of each bin that lies above a crossover (batch,): (batch, bins)."""
    ratio = (bins / corner[:, None]) ** 4
    return ratio / (1.0 + ratio)
