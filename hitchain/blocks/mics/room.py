"""Two microphones and a source, each somewhere in a rectangular room."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import image_source
from hitchain.blocks.dsp.acoustics import SPEED_OF_SOUND
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.delays import first_order_response
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SOURCE_HEIGHT, MIC_HEIGHT = 0.9, 1.2
"""Over the floor [m], in a room of 2.2 m and more."""

ORDERS = (1, 12)
"""How many reflections may be asked for."""


@register("mics/room")
class Room(LinearBlock):
    """A stereo pair before a source in a rectangular room, every reflection up to an order by its image source.

        H = sum over images of (1 / r) pattern(a) e^(-j w r / c) W^n,   W = sqrt(1 - absorption) low-pass(damping)

    n is how often an image was reflected, r its distance from the microphone. The two microphones stand across the
    room, `spacing` apart, and both look toward the source; pattern(a) = (1 - p) + p cos(a). Positions are shares of the
    room, 0 at one wall and 1 at the other. The level is 0 dB at 1 m; the sound comes as late as it does.

    These are the early reflections, the ones that tell where things stand; for a long decay add a reverb behind.
    Allen and Berkley 1979; formulas in `hitchain.blocks.dsp.image_source`.

    Args:
        sample_rate: of the session [Hz].
        order: the most reflections of a path, 1 to 12.

    Raises:
        UserError: another order.
    """

    example: ClassVar = {"order": 3}
    parameters = (
        Parameter("length", 3.0, 15.0, default=6.0, unit="m", scale="log", description="of the room"),
        Parameter("breadth", 2.5, 12.0, default=4.5, unit="m", scale="log", description="of the room"),
        Parameter("height", 2.2, 6.0, default=2.8, unit="m", scale="log", description="of the room"),
        Parameter("absorption", 0.1, 0.95, default=0.35, description="what a wall takes: 0.1 tiles, 0.6 curtains"),
        Parameter("damping", 1000.0, 16000.0, default=7000.0, unit="Hz", scale="log", description="walls take highs"),
        Parameter("source_along", 0.05, 0.95, default=0.2, description="where the source stands along the room"),
        Parameter("source_across", 0.05, 0.95, default=0.45, description="where it stands across the room"),
        Parameter("mic_along", 0.05, 0.95, default=0.6, description="where the pair stands along the room"),
        Parameter("mic_across", 0.1, 0.9, default=0.55, description="where its middle stands across the room"),
        Parameter("spacing", 0.0, 40.0, default=20.0, unit="cm", description="between the two microphones"),
        Parameter("pattern", 0.0, 1.0, default=0.3, description="0 omnidirectional, 0.5 cardioid, 1 figure of eight"),
        Parameter("level", -24.0, 24.0, default=6.0, unit="dB", description="output level"),
    )
    presets: ClassVar = {
        "living room": {"absorption": 0.45},
        "tiled": {"absorption": 0.12, "damping": 12000.0, "length": 4.0, "breadth": 3.0, "mic_along": 0.7},
        "hall, far": {"length": 14.0, "breadth": 10.0, "height": 5.5, "absorption": 0.2, "mic_along": 0.8},
    }

    def __init__(self, sample_rate: int = 44100, order: int = 6) -> None:
        super().__init__(sample_rate)
        if isinstance(order, bool) or not isinstance(order, int) or not ORDERS[0] <= order <= ORDERS[1]:
            raise UserError(f"mics/room: order={order!r} should be a whole number from {ORDERS[0]} to {ORDERS[1]}.")
        self.order = order

    def _farthest(self, settings: Settings) -> int:
        """Samples until the last image is heard, at most: it is no further off than the longest row of rooms."""
        sides = [float(settings[name].detach().max()) for name in ("length", "breadth", "height")]
        seconds = math.hypot((self.order + 1) * max(sides), *sides) / SPEED_OF_SOUND
        return math.ceil(20.0 * seconds) * math.ceil(self.sample_rate / 20.0)  # few lengths of transform

    def tail(self, settings: Settings) -> float:
        ringing = 12.0 * self.order / (2.0 * math.pi * float(settings["damping"].detach().min()))
        return self._farthest(settings) / self.sample_rate + ringing + 0.005

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        room = torch.stack([settings["length"], settings["breadth"], settings["height"]], dim=-1)
        source, left, right = self._positions(settings)
        places, count = image_source.images(room, source, self.order)
        kept = (1.0 - settings["absorption"]).sqrt()[:, None]
        corner = bounded_frequency(settings["damping"], self.sample_rate)
        wall = kept * first_order_response(torch.tan(corner * (math.pi / self.sample_rate))[:, None], n_fft)
        ahead = source - 0.5 * (left + right)
        aim = torch.cat([ahead[:, :2], torch.zeros_like(ahead[:, :1])], dim=-1)
        aim = aim / (aim.square().sum(dim=-1, keepdim=True) + 0.01).sqrt()
        heard = []
        for point in (left, right):
            length, toward = image_source.distances(places, point)
            pattern = settings["pattern"][:, None]
            cosine = (toward * aim[:, None]).sum(dim=-1)
            gain = ((1.0 - pattern) + pattern * cosine) / length * to_gain(settings["level"])[:, None]
            late = image_source.travel(length, self.sample_rate)
            samples = min(self._farthest(settings), n_fft - image_source.HALF)
            rows = image_source.arrivals(late, gain, count, self.order + 1, samples)
            heard.append(image_source.reflected(rows, wall, n_fft))
        return torch.stack(heard, dim=1)

    def _positions(self, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
        """Source, left and right microphone, each (batch, 3) [m]. Who looks along the room has its 0 on the left."""
        length, breadth = settings["length"], settings["breadth"]
        low = torch.full_like(length, SOURCE_HEIGHT)
        source = torch.stack([settings["source_along"] * length, settings["source_across"] * breadth, low], dim=-1)
        middle, half = settings["mic_across"] * breadth, settings["spacing"] / 200.0
        along, high = settings["mic_along"] * length, torch.full_like(length, MIC_HEIGHT)
        left, right = (torch.stack([along, middle + side * half, high], dim=-1) for side in (-1.0, 1.0))
        return source, left, right
