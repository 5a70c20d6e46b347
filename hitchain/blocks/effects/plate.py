"""A plate reverberator."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.spiral import Circle, filtered
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

RATE = 29761.0
"""The sample rate at which the delays below are given [Hz]."""

DIFFUSERS = ((142, 0.75), (107, 0.75), (379, 0.625), (277, 0.625))
LEFT, RIGHT = (672, 4453, 1800, 3720), (908, 4217, 2656, 3163)
"""Each half of the tank: an all-pass, a delay, an all-pass, a delay."""
FIRST, SECOND = -0.70, 0.50
"""Coefficients of the all-passes (decay diffusion 1 and 2)."""

TAPS = (
    ((0, 1990, -1.0), (1, 187, -1.0), (2, 1066, -1.0), (3, 266, 1.0), (3, 2974, 1.0), (4, 1913, -1.0), (5, 1996, 1.0)),
    ((0, 353, 1.0), (0, 3627, 1.0), (1, 1228, -1.0), (2, 2673, 1.0), (3, 2111, -1.0), (4, 335, -1.0), (5, 121, -1.0)),
)
"""What left and right hear: (place, delay, sign), each with a gain of 0.6. Places 0, 1, 2 are the left half's first
delay, inside its second all-pass, and its second delay; 3, 4, 5 are the right half's."""


@register("effects/plate")
class Plate(Block):
    """The plate of Dattorro 1997, "Effect design, part 1: Reverberator and other filters" (JAES 45), figure 1.

    The mono sum goes through a low-pass and four all-passes into a tank of two halves, each an all-pass, a delay, a
    damping low-pass, an all-pass and a delay, each fed by the other in a figure of eight. Seven taps a side are the
    output. Delays, coefficients and taps are the published ones (at 29,761 Hz), at other rates rounded to the nearest
    sample of the same time. The tank is solved at the bins: with P_l = q C_l, q = decay L(w), C its all-passes and
    delays, and s what enters it,

        a = s (1 + decay P_r) / (1 - decay^2 P_l P_r),   b = s (1 + decay P_l) / (1 - decay^2 P_l P_r)

    enter the halves. The slow movement of two of its all-passes is left out. Dry and wet are mixed at equal power.
    """

    parameters = (
        Parameter("decay", 0.1, 0.95, default=0.6, description="of each half of the tank"),
        Parameter("damping", 1000.0, 18000.0, 7000.0, "Hz", "log", "low-pass in the tank"),
        Parameter("bandwidth", 1000.0, 18000.0, 14000.0, "Hz", "log", "low-pass of what enters"),
        Parameter("pre_delay", 0.0, 200.0, default=10.0, unit="ms", description="before the reverberation begins"),
        Parameter("mix", 0.0, 1.0, default=0.22, varying=True, description="0 dry, 1 plate only"),
    )
    presets: ClassVar = {
        "vocal plate": {"decay": 0.62, "damping": 8000.0, "pre_delay": 25.0, "mix": 0.22},
        "drum plate": {"decay": 0.4, "damping": 6000.0, "pre_delay": 0.0, "mix": 0.25},
        "endless": {"decay": 0.9, "damping": 4000.0, "pre_delay": 30.0, "mix": 0.35},
    }
    probe: ClassVar[dict[str, float]] = {"mix": 0.7}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        middle = audio.mean(dim=1, keepdim=True)
        tail = math.ceil(self.tail(settings) * self.sample_rate)
        wet = filtered(middle, lambda circle: self._response(settings, circle), tail)
        angle = over_audio(settings["mix"], audio.shape[-1]) * (math.pi / 2.0)
        return torch.cos(angle) * audio + torch.sin(angle) * wet

    def _response(self, settings: Settings, circle: Circle) -> Tensor:
        """Of what the two sides hear of the mono sum: complex (batch, 2, bins)."""
        decay = settings["decay"][:, None]
        left, right, *taps = _tank(circle, self.sample_rate, decay.dtype.to_complex(), decay.device)
        samples = settings["pre_delay"].double() * (self.sample_rate / 1000.0)
        entering = circle.delay(samples, decay.dtype) * self._low_pass(settings["bandwidth"], circle)
        q = decay * self._low_pass(settings["damping"], circle)
        again = decay * q
        entering = entering / (1.0 - (again * left) * (again * right))
        into_left, into_right = 1.0 + again * right, 1.0 + again * left
        sides = [into_left * (l0 + q * l1) + into_right * (r0 + q * r1) for l0, l1, r0, r1 in zip(*taps, strict=True)]
        return torch.stack(sides, dim=1) * entering[:, None]

    def _low_pass(self, frequency: Tensor, circle: Circle) -> Tensor:
        tangent = torch.tan(bounded_frequency(frequency, self.sample_rate) * (math.pi / self.sample_rate))
        return circle.low_pass(tangent[:, None])

    def tail(self, settings: Settings) -> float:
        """A turn of the figure of eight lasts as long as all its delays, and takes four times the decay."""
        turn = sum(LEFT + RIGHT) / RATE
        turns = math.log(10.0**4.5) / (-4.0 * math.log(float(settings["decay"].detach().max())))
        return turn * (turns + 1.0) + float(settings["pre_delay"].detach().max()) / 1000.0


@lru_cache(maxsize=4)
def _tank(circle: Circle, sample_rate: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """What no knob moves, on a circle: C_l and C_r (bins,), then the taps on the left half before and after q, and on
    the right half, each (2 sides, bins) and through the input's all-passes."""

    def delay(samples: int) -> Tensor:
        length = torch.tensor(float(round(samples * sample_rate / RATE)), dtype=torch.float64, device=device)
        return circle.delay(length, torch.float64)

    def inside(samples: int, coefficient: float) -> Tensor:
        return 1.0 / (1.0 + coefficient * delay(samples))

    def all_pass(samples: int, coefficient: float) -> Tensor:
        return (coefficient + delay(samples)) * inside(samples, coefficient)

    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        start = circle.edge(torch.zeros((), dtype=torch.float64, device=device))
        for samples, coefficient in DIFFUSERS:
            start = start * all_pass(samples, coefficient)
        places, rounds = [], []
        for first, second, third, fourth in (LEFT, RIGHT):
            begun = all_pass(first, FIRST)
            along = begun * delay(second)
            places += [begun, along * inside(third, SECOND), along * all_pass(third, SECOND)]
            rounds.append(places[-1] * delay(fourth))
        sums = torch.zeros(4, 2, len(start), dtype=start.dtype, device=device)
        for side, taps in enumerate(TAPS):
            for place, samples, sign in taps:
                half, later = divmod(place, 3)
                sums[2 * half + min(later, 1), side] += 0.6 * sign * places[place] * delay(samples) * start
        return tuple(value.to(dtype) for value in (*rounds, *sums))
