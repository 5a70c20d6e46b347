"""Flanger: two tape machines, one of them held back by a hand on its flange."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.modulated_delay import LEAST, modulated_delay
from hitchain.blocks.dsp.movement import cosine, sine, turns
from hitchain.blocks.movement import synced_rate
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/flanger")
class Flanger(Block):
    """Flanger: a short delay that sweeps, beside the dry signal, with feedback: a comb whose teeth move.

        v(t) = x(t) + feedback d(t),   d(t) = v(t - m(t)),   m(t) = delay (1 + depth sin(2 pi (rate t + phase))) + least
        y(t) = cos(pi/4 mix) x(t) + sin(pi/4 mix) d(t)

    (W. M. Hartmann, "Flanging and phasers", JAES 26(6), 1978.) `least` is nine samples, what the interpolation of the
    line needs inside a loop: 0.2 ms at 44.1 kHz. The right side is `stereo` degrees ahead of the left. At a mix of 1
    both are equally loud and the notches deepest.

    Args:
        sample_rate: [Hz].
        through_zero: also hold the dry signal back, by delay + least: the sweep then passes it, as with two tape
            machines. The whole is late by that much.
        sync: a note value ("1/1", "1/2." dotted, "1/4t" triplet) for one sweep; otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        Parameter("rate", 0.02, 10.0, default=0.25, unit="Hz", scale="log", description="sweeps a second"),
        Parameter("depth", 0.0, 1.0, default=0.8, varying=True, description="of the sweep, as a share of the delay"),
        Parameter("delay", 0.2, 10.0, default=2.0, unit="ms", scale="log", description="in the middle of the sweep"),
        Parameter(
            "feedback", -0.95, 0.95, default=0.4, varying=True, description="of the delayed signal; below 0 hollow"
        ),
        Parameter("stereo", 0.0, 180.0, default=45.0, unit="degrees", description="from the left sweep to the right"),
        Parameter("mix", 0.0, 1.0, default=0.8, varying=True, description="0 dry, 1 both equally loud"),
    )
    presets: ClassVar = {
        "jet": {"rate": 0.1, "depth": 0.95, "delay": 3.0, "feedback": 0.7, "mix": 1.0},
        "hollow": {"rate": 0.3, "delay": 1.2, "feedback": -0.6, "mix": 1.0},
        "metal": {"rate": 0.05, "depth": 0.5, "delay": 0.5, "feedback": 0.85, "mix": 0.7},
    }

    def __init__(
        self,
        sample_rate: int = 44100,
        through_zero: bool = False,
        sync: str | None = None,
        tempo: float = 120.0,
    ) -> None:
        super().__init__(sample_rate)
        self.through_zero = bool(through_zero)
        self.parameters = (synced_rate(type(self).parameters[0], sync, tempo), *type(self).parameters[1:])  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        stereo = audio.expand(-1, 2, -1)
        delays = self.delays(settings, samples)
        feedback = over_audio(settings["feedback"], samples).expand(-1, 2, -1)
        heard = modulated_delay(stereo.flatten(0, 1), delays.flatten(0, 1), feedback.flatten(0, 1)).view(stereo.shape)
        if self.through_zero:
            held = (self._middle(settings) + LEAST).unsqueeze(1).expand(-1, 2, samples)
            stereo = modulated_delay(stereo.flatten(0, 1), held.flatten(0, 1)).view(stereo.shape)
        angle = over_audio(settings["mix"], samples) * (math.pi / 4.0)
        return torch.cos(angle) * stereo + torch.sin(angle) * heard

    def _middle(self, settings: Settings) -> Tensor:
        return settings["delay"].double().unsqueeze(-1) * (self.sample_rate / 1000.0)

    def delays(self, settings: Settings, samples: int) -> Tensor:
        """The delay of each side [samples]: float64 (batch, 2, samples)."""
        cycles = turns(settings["rate"], samples, self.sample_rate, settings.get(START, 0.0))
        ahead = settings["stereo"].double().unsqueeze(-1) * (math.pi / 180.0)
        left = sine(cycles)
        right = left * torch.cos(ahead) + cosine(cycles) * torch.sin(ahead)
        depth = over_audio(settings["depth"].double(), samples)[:, 0]
        middle = self._middle(settings)
        return torch.stack([middle * (1.0 + depth * side) + LEAST for side in (left, right)], dim=1)

    def tail(self, settings: Settings) -> float:
        most = float(settings["feedback"].detach().abs().max().clamp(1e-6, 0.999))
        rounds = math.log(10.0**-4.5) / math.log(most)
        return (rounds + 1.0) * (2.0 * float(settings["delay"].detach().max()) / 1000.0 + LEAST / self.sample_rate)
