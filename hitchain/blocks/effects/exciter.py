"""An exciter: harmonics of the high band."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import circuits, distortion, waveshaping
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

NOMINAL = 0.03
"""RMS of the high band that is brought back to its level."""

TAIL = 0.02
"""Seconds in which the filters die away."""


@register("effects/exciter")
class Exciter(Block):
    """Adds harmonics of what is above a frequency: air and bite that equalising cannot give, for they were not there.

        y = x + amount high_pass(f(g h + b) - f(b)) / gain,      h = high_pass(x),  f(u) = u / sqrt(1 + u^2)

    Both high-passes are Butterworth of second order, exact as digital filters. g is the drive, b = 0.9 even, and `gain`
    by how much f raises Gaussian noise at -30 dBFS. Antialiased (`waveshaping`).

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the curve runs, from 1 up; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("frequency", 800.0, 10000.0, 3000.0, "Hz", "log", description="what is above is excited"),
        Parameter("drive", 0.0, 42.0, 24.0, "dB", description="how many harmonics"),
        Parameter("even", 0.0, 1.0, 0.5, description="odd harmonics only, to even ones, too"),
        Parameter("amount", 0.0, 1.0, 0.25, varying=True, description="how much is added"),
    )
    presets: ClassVar = {
        "air": {"frequency": 6000.0, "drive": 18.0, "amount": 0.3},
        "presence": {"frequency": 2000.0, "drive": 24.0, "even": 0.3, "amount": 0.2},
        "bite": {"frequency": 1200.0, "drive": 36.0, "even": 0.1, "amount": 0.35},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        gain, bias = to_gain(settings["drive"]), 0.9 * settings["even"]
        raised = distortion.noise_gain(
            lambda noise: waveshaping.clip(gain[:, None] * noise + bias[:, None]), like=gain, nominal=NOMINAL
        )
        excited = distortion.distort(
            audio,
            lambda level: waveshaping.clip_mean(level, gain, bias),
            self.sample_rate,
            self.oversampling,
            before=lambda hertz: self._high_pass(hertz, settings["frequency"]),
            after=lambda hertz: self._high_pass(hertz, settings["frequency"]),
            means=1,
            tail=TAIL,
        )
        return audio + over_audio(settings["amount"], audio.shape[-1]) / raised[:, None, None] * excited

    def _high_pass(self, hertz: Tensor, corner: Tensor) -> Tensor:
        """Butterworth, second order: -w^2 / (1 - w^2 + j sqrt(2) w), pre-warped."""
        w = circuits.warped(hertz, corner[:, None, None], self.sample_rate)
        return -w.square() * circuits.butterworth(w, 2)
