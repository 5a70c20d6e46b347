"""An echo that is smeared a little more each time it comes round."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.spiral import Circle, filtered
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

DIFFUSERS = ((7.1, 11.3, 17.9, 26.3), (6.3, 12.7, 16.1, 29.3))
"""Delays of the all-passes at size 1, left and right [ms]."""


@register("effects/diffuse_delay")
class DiffuseDelay(Block):
    """Feedback delay with all-passes in its loop: echoes at first, and more and more of a reverberation.

        H(w) = E / (1 - feedback E),  E = e^{-j w time} L(w) prod_i (g + e^{-j w m_i}) / (1 + g e^{-j w m_i})

    with g = `diffusion`, m_i = `size` times four fixed delays (Schroeder 1962, "Natural sounding artificial
    reverberation"), which differ left and right, and L the first-order low-pass at `tone` (and nothing above 0.48
    sample_rate). It is fed the sum of both sides; dry and echoes are mixed at equal power.
    """

    parameters = (
        Parameter("time", 10.0, 1000.0, 375.0, "ms", "log", "between echoes"),
        Parameter("feedback", 0.0, 0.8, default=0.45, description="share of an echo in the next one"),
        Parameter("diffusion", 0.0, 0.75, default=0.55, description="how much an echo is smeared each time"),
        Parameter("size", 0.2, 2.0, default=1.0, scale="log", description="how far it is smeared"),
        Parameter("tone", 500.0, 18000.0, 4500.0, "Hz", "log", "low-pass of each echo"),
        Parameter("mix", 0.0, 1.0, default=0.28, varying=True, description="0 dry, 1 echoes only"),
    )
    presets: ClassVar = {
        "soft echoes": {"time": 375.0, "diffusion": 0.5, "mix": 0.25},
        "cloud": {"time": 250.0, "feedback": 0.7, "diffusion": 0.7, "size": 1.6, "tone": 3500.0, "mix": 0.35},
        "small room": {"time": 20.0, "feedback": 0.4, "diffusion": 0.6, "size": 0.35, "tone": 6000.0, "mix": 0.2},
    }
    probe: ClassVar[dict[str, float]] = {"time": 15.0, "mix": 0.6}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        middle = audio.mean(dim=1, keepdim=True)
        tail = math.ceil(self.tail(settings) * self.sample_rate)
        wet = filtered(middle, lambda circle: self._response(settings, circle), tail)
        angle = over_audio(settings["mix"], audio.shape[-1]) * (math.pi / 2.0)
        return torch.cos(angle) * audio + torch.sin(angle) * wet

    def _response(self, settings: Settings, circle: Circle) -> Tensor:
        """Of the two sides: complex (batch, 2, bins)."""
        per_ms, feedback = self.sample_rate / 1000.0, settings["feedback"][:, None, None]
        tangent = torch.tan(bounded_frequency(settings["tone"], self.sample_rate) * (math.pi / self.sample_rate))
        once = circle.delay(settings["time"].double() * per_ms, feedback.dtype)
        once = (once * circle.edge(tangent) * circle.low_pass(tangent[:, None]))[:, None]
        lengths = torch.tensor(DIFFUSERS, dtype=torch.float64, device=feedback.device) * per_ms
        lengths = settings["size"].double()[:, None, None] * lengths
        g = settings["diffusion"][:, None, None]
        for stage in range(lengths.shape[-1]):
            delayed = circle.delay(lengths[..., stage], feedback.dtype)
            once = once * ((g + delayed) / (1.0 + g * delayed))
        return once / (1.0 - feedback * once)

    def tail(self, settings: Settings) -> float:
        """Of as many echoes as count, each as late as its delay and its all-passes' own, and those ringing."""
        decay, knobs = math.log(10.0**4.5), {key: value.detach().double() for key, value in settings.items()}
        echoes = decay / -torch.log(knobs["feedback"].clamp(1e-6, 1.0 - 1e-6)) + 1.0
        smear = knobs["size"] * sum(max(pair) for pair in zip(*DIFFUSERS, strict=True)) / 1000.0
        rings = smear * decay / -torch.log(knobs["diffusion"].clamp(1e-6, 1.0 - 1e-6))
        return float((echoes * (knobs["time"] / 1000.0 + smear + 2.0 / knobs["tone"]) + 2.0 * rings).max())
