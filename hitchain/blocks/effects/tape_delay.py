"""A tape echo."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.tape_loop import tape_echo
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register

WOW, FLUTTER = ((0.61, 1.0), (1.13, 0.35)), ((6.7, 1.0), (11.3, 0.5))
"""Frequencies [Hz] and shares of the movements of the tape."""


@register("effects/tape_delay")
class TapeDelay(Block):
    """Tape echo: saturation, a low-pass and an unsteady tape within the loop (see `dsp.tape_loop`).

        time(t) = time + wow sum_i a_i sin(2 pi f_i t) / (2 pi f_i) + flutter (likewise)

    so that wow and flutter are the largest deviations of the speed, in per cent; t runs from the start of the song.
    The saturation x / sqrt(1 + (drive x)^2) is antialiased by its antiderivative; the low-pass is of first order. Dry
    and echoes are mixed at equal power.
    """

    parameters = (
        Parameter("time", 40.0, 1000.0, 375.0, "ms", "log", "between echoes"),
        Parameter("feedback", 0.0, 0.95, default=0.45, description="share of an echo in the next one"),
        Parameter("drive", -12.0, 18.0, default=0.0, unit="dB", description="into the tape's saturation"),
        Parameter("tone", 800.0, 12000.0, 3500.0, "Hz", "log", "low-pass of each echo"),
        Parameter("wow", 0.0, 1.5, default=0.25, unit="%", description="slow deviation of the tape's speed"),
        Parameter("flutter", 0.0, 0.8, default=0.1, unit="%", description="fast deviation of the tape's speed"),
        Parameter("mix", 0.0, 1.0, default=0.25, varying=True, description="0 dry, 1 echoes only"),
    )
    presets: ClassVar = {
        "slap": {"time": 120.0, "feedback": 0.05, "tone": 5000.0, "wow": 0.1, "mix": 0.22},
        "worn": {"time": 420.0, "feedback": 0.55, "drive": 6.0, "tone": 2200.0, "wow": 0.9, "flutter": 0.4},
        "dub": {"time": 500.0, "feedback": 0.8, "drive": 9.0, "tone": 1800.0, "wow": 0.4, "mix": 0.35},
    }
    probe: ClassVar[dict[str, float]] = {"time": 45.0, "mix": 0.6}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        late = self._late(settings, audio.shape[-1])
        tangent = torch.tan(bounded_frequency(settings["tone"], self.sample_rate) * (math.pi / self.sample_rate))
        b, pole = tangent / (1.0 + tangent), (1.0 - tangent) / (1.0 + tangent)
        echo = tape_echo(audio, late, settings["feedback"], b, pole, to_gain(settings["drive"]))
        angle = over_audio(settings["mix"], audio.shape[-1]) * (math.pi / 2.0)
        return torch.cos(angle) * audio + torch.sin(angle) * echo

    def _late(self, settings: Settings, samples: int) -> Tensor:
        """The delay through time [samples], float64 (batch, samples)."""
        start = float(settings[START]) if START in settings else 0.0
        time = torch.arange(samples, dtype=torch.float64, device=settings["time"].device) / self.sample_rate + start
        late = settings["time"].double()[:, None] * (self.sample_rate / 1000.0)
        for key, movements in (("wow", WOW), ("flutter", FLUTTER)):
            total = sum(share for _, share in movements)
            moved = torch.zeros_like(time)
            for hertz, share in movements:
                moved = moved + share / total * torch.sin(2.0 * math.pi * hertz * time) / (2.0 * math.pi * hertz)
            late = late + settings[key].double()[:, None] * (0.01 * self.sample_rate) * moved
        return late

    def tail(self, settings: Settings) -> float:
        feedback = settings["feedback"].detach().double().clamp(1e-6, 1.0 - 1e-6)
        echoes = math.log(10.0**4.5) / -torch.log(feedback) + 1.0
        return float((echoes * (settings["time"].detach().double() / 1000.0 + 0.01)).max())
