"""A room by its image sources."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.acoustics import SPEED_OF_SOUND
from hitchain.blocks.dsp.fft import rfft
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.spiral import Circle
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

EARS = 0.2
"""Between the two microphones [m], which stand side by side, across the room's length."""

CLOSEST = 0.1
"""No image comes nearer than this: distances are sqrt(d^2 + CLOSEST^2) [m]."""

HALF = 16
"""Half the taps of a fractional delay, a windowed sinc."""


def _place(name: str, default: float, what: str) -> Parameter:
    return Parameter(name, 0.05, 0.95, default, description=what)


@register("effects/room")
class Room(LinearBlock):
    """A shoebox room: the direct sound and its mirror images in the walls, up to so many reflections (Allen and Berkley
    1979, "Image method for efficiently simulating small-room acoustics", JASA 65).

        h(t) = sum over images of (1 - absorption)^(n / 2) (r_0 / r) delta(t - (r - r_0) / c)

    with n the reflections, r the distance to a microphone and r_0 that of the direct sound to the middle of both (less
    their distance from each other, so that nothing comes early); each impulse is a sinc under a Hann window of 32
    samples. All of it goes through a first-order low-pass at `tone`. Dry and room are mixed at equal
    power. Reverberation that takes more reflections is left out: for long decays take effects/reverb.

    Args:
        sample_rate: [Hz].
        order: the most reflections of an image, 1 to 20; images grow as its cube.
    """

    parameters = (
        Parameter("length", 2.0, 20.0, default=6.0, unit="m", scale="log", description="of the room"),
        Parameter("width", 2.0, 20.0, default=4.5, unit="m", scale="log", description="of the room"),
        Parameter("height", 2.0, 10.0, default=2.8, unit="m", scale="log", description="of the room"),
        Parameter("absorption", 0.1, 0.9, default=0.35, description="share of the energy a wall takes"),
        Parameter("tone", 1000.0, 18000.0, 9000.0, "Hz", "log", "low-pass of the room's sound"),
        _place("source_x", 0.3, "where the source stands along the length"),
        _place("source_y", 0.4, "where the source stands across the width"),
        _place("listener_x", 0.7, "where the microphones stand along the length"),
        _place("listener_y", 0.55, "where the microphones stand across the width"),
        Parameter("mix", 0.0, 1.0, default=0.3, description="0 dry, 1 room only"),
    )
    presets: ClassVar = {
        "booth": {"length": 2.5, "width": 2.1, "height": 2.3, "absorption": 0.6, "mix": 0.3},
        "live room": {"length": 8.0, "width": 6.0, "height": 3.5, "absorption": 0.2, "mix": 0.3},
        "corridor": {"length": 18.0, "width": 2.2, "height": 2.5, "absorption": 0.25, "mix": 0.35},
    }
    probe: ClassVar[dict[str, float]] = {"mix": 0.7}

    def __init__(self, sample_rate: int = 44100, order: int = 10) -> None:
        super().__init__(sample_rate)
        if not (isinstance(order, int) and 1 <= order <= 20):
            raise UserError(f"order={order} is not to be had; effects/room takes 1 to 20 reflections.")
        self.order = order

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        angle, circle = settings["mix"][:, None, None] * (math.pi / 2.0), Circle(n_fft)
        delays, gains = self.images(settings)
        kernel = _impulses(delays, gains, math.ceil(float(delays.detach().max())) + 2 * HALF)
        tone = bounded_frequency(settings["tone"], self.sample_rate)
        low_pass = circle.low_pass(torch.tan(tone * (math.pi / self.sample_rate))[:, None])
        # the impulses begin half a window early, which is taken back here
        early = torch.full((1,), float(HALF), dtype=torch.float64, device=angle.device)
        wet = rfft(kernel.to(angle.dtype), n_fft) * (low_pass * circle.delay(early, angle.dtype).conj())[:, None]
        return torch.cos(angle) + torch.sin(angle) * wet

    def images(self, settings: Settings) -> tuple[Tensor, Tensor]:
        """Delays [samples] and gains of the images, float64 (batch, 2 microphones, images)."""
        knobs = {key: value.double() for key, value in settings.items() if value.is_floating_point()}
        size = torch.stack([knobs["length"], knobs["width"], knobs["height"]], dim=-1)
        half = torch.full_like(knobs["length"], 0.5)
        source = size * torch.stack([knobs["source_x"], knobs["source_y"], 0.5 * half + 0.2], dim=-1)
        listener = size * torch.stack([knobs["listener_x"], knobs["listener_y"], half], dim=-1)
        cells, signs, reflections = (value.to(size.device) for value in _lattice(self.order))
        places = size[:, None] * cells + source[:, None] * signs
        sides = torch.tensor([[0.0, -0.5 * EARS, 0.0], [0.0, 0.5 * EARS, 0.0]], dtype=torch.float64)
        ears = listener[:, None] + sides.to(size.device)
        distance = _length(places[:, None] - ears[:, :, None])
        direct = _length(source - listener)[:, None, None]
        gains = (1.0 - knobs["absorption"][:, None, None]) ** (0.5 * reflections) * direct / distance
        late = (distance - direct + EARS) * (self.sample_rate / SPEED_OF_SOUND)
        return late, gains

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        return float(self.images(settings)[0].max()) / self.sample_rate + 0.01


def _length(vector: Tensor) -> Tensor:
    return torch.sqrt(vector.square().sum(dim=-1) + CLOSEST**2)


@lru_cache(maxsize=4)
def _lattice(order: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the images of up to `order` reflections: cells and signs (images, 3), with which one stands at
    size * cell + source * sign, and numbers of reflections (images,). Kept; not to be written to."""
    steps = [step for step in product(range(-order, order + 1), repeat=3) if sum(map(abs, step)) <= order]
    step = torch.tensor(steps, dtype=torch.float64)
    odd = step.remainder(2.0)
    return step + odd, 1.0 - 2.0 * odd, step.abs().sum(dim=-1)


def _impulses(delays: Tensor, gains: Tensor, samples: int) -> Tensor:
    """(batch, channels, samples): impulses, HALF samples late, each a windowed sinc."""
    base = delays.detach().floor()
    taps = torch.arange(1 - HALF, HALF + 1, dtype=torch.float64, device=delays.device)
    distance = taps - (delays - base).unsqueeze(-1)
    shapes = torch.sinc(distance) * torch.cos(distance * (0.5 * math.pi / HALF)).square() * gains.unsqueeze(-1)
    index = (base.unsqueeze(-1) + taps + HALF).long().flatten(2)
    kernel = torch.zeros(*delays.shape[:2], samples + 1, dtype=torch.float64, device=delays.device)
    return kernel.scatter_add(2, index, shapes.flatten(2))
