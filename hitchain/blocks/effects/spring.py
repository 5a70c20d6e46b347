"""A spring reverberator."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import filters
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.spiral import Circle, filtered
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

DISPERSION = 0.62
"""Coefficient of the all-passes: that which the paper fits to an Accutronics tank."""

DOUBLINGS = 6
STAGES = 1 << DOUBLINGS

SPRINGS = ((1.0, 1.0), (1.23, 0.93))
"""Of each spring: its length and its transition frequency, times the knob's."""


@register("effects/spring")
class Spring(Block):
    """Two springs in a tank: a wave runs to and fro, its high frequencies later than its low ones.

        H(w) = E / (1 - decay E^2),  E = e^{-j w length} A(w)^64 B(w) L(w),  A = (a + e^{-j w k}) / (1 + a e^{-j w k})

    A is an all-pass stretched k = sample_rate / (2 tension) times, which gives the chirps: slow towards the transition
    frequency `tension`, above which a spring carries nothing (B, a fourth-order Butterworth low-pass there, and a
    high-pass at 60 Hz). L is the first-order low-pass at `damping`. The springs differ a little; each is nearer to one
    side. The tank is fed the sum of both sides; dry and wet are mixed at equal power.

    After Välimäki, Parker and Abel 2010, "Parametric spring reverberation effect" (JAES 58), its low-frequency chirps.
    """

    parameters = (
        Parameter("tension", 1800.0, 6000.0, 4000.0, "Hz", "log", "up to where the springs chirp"),
        Parameter("length", 15.0, 90.0, 33.0, "ms", "log", "from one end of the spring to the other"),
        Parameter("damping", 1000.0, 12000.0, 5000.0, "Hz", "log", "low-pass of each pass"),
        Parameter("decay", 0.05, 0.9, default=0.6, description="share of the wave that comes back"),
        Parameter("mix", 0.0, 1.0, default=0.2, varying=True, description="0 dry, 1 springs only"),
    )
    presets: ClassVar = {
        "guitar amplifier": {"tension": 4000.0, "length": 33.0, "decay": 0.6, "mix": 0.2},
        "drip": {"tension": 4800.0, "length": 40.0, "damping": 9000.0, "decay": 0.75, "mix": 0.4},
        "dark tank": {"tension": 2600.0, "length": 55.0, "damping": 2500.0, "decay": 0.7, "mix": 0.25},
    }
    probe: ClassVar[dict[str, float]] = {"length": 20.0, "mix": 0.7}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        middle = audio.mean(dim=1, keepdim=True)
        tail = math.ceil(self.tail(settings) * self.sample_rate)
        wet = filtered(middle, lambda circle: self._response(settings, circle), tail)
        angle = over_audio(settings["mix"], audio.shape[-1]) * (math.pi / 2.0)
        return torch.cos(angle) * audio + torch.sin(angle) * wet

    def _response(self, settings: Settings, circle: Circle) -> Tensor:
        """Of the two sides: complex (batch, 2, bins)."""
        damping = torch.tan(bounded_frequency(settings["damping"], self.sample_rate) * (math.pi / self.sample_rate))
        low_pass, decay = circle.low_pass(damping[:, None]), settings["decay"][:, None]
        springs = []
        for length, transition in SPRINGS:
            once = low_pass * self._pass(settings, circle, length, transition)
            springs.append(once / (1.0 - decay * once * once))
        near, far = math.sqrt(0.8), math.sqrt(0.2)
        return torch.stack([near * springs[0] + far * springs[1], far * springs[0] + near * springs[1]], dim=1)

    def _pass(self, settings: Settings, circle: Circle, length: float, transition: float) -> Tensor:
        """From one end of a spring to the other, but for the damping: complex (batch, bins)."""
        dtype, rate = settings["tension"].dtype, self.sample_rate
        edge = transition * settings["tension"].double()
        stretched = circle.delay(rate / (2.0 * edge), dtype)
        chirp = (DISPERSION + stretched) / (1.0 + DISPERSION * stretched)
        for _ in range(DOUBLINGS):
            chirp = chirp * chirp
        late = circle.delay(length * settings["length"].double() * (rate / 1000.0), dtype)
        return chirp * late * _band(edge, rate, circle, dtype)

    def tail(self, settings: Settings) -> float:
        knobs = {key: value.detach().double() for key, value in settings.items()}
        slowest = STAGES * (1.0 + DISPERSION) / (1.0 - DISPERSION) / (2.0 * min(t for _, t in SPRINGS))
        once = max(length for length, _ in SPRINGS) * knobs["length"] / 1000.0 + 1.2 * slowest / knobs["tension"]
        passes = 2.0 * math.log(10.0**4.5) / -torch.log(knobs["decay"]) + 1.0
        return float((passes * once).max()) + 0.05


def _band(edge: Tensor, sample_rate: int, circle: Circle, dtype: torch.dtype) -> Tensor:
    """What a spring carries: a high-pass at 60 Hz, a fourth-order low-pass at `edge`, nothing at Nyquist."""
    lowest = torch.full_like(edge, 60.0)
    sections = [filters.high_pass(lowest, torch.full_like(edge, math.sqrt(0.5)), sample_rate)]
    for q in (0.54119610, 1.30656296):  # of Butterworth's poles
        sections.append(filters.low_pass(edge, torch.full_like(edge, q), sample_rate))
    step = circle.step(torch.zeros((), dtype=torch.float64, device=edge.device))
    powers = torch.stack([torch.ones_like(step), step, step * step])
    response = circle.edge(edge).expand(len(edge), -1)
    for b, a in sections:
        response = response * (b.to(powers.dtype) @ powers) / (a.to(powers.dtype) @ powers)
    return response.to(dtype.to_complex())
