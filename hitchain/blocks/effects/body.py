"""The body of a string instrument, and what picks its sound up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.fft import frequencies
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register


class Body(NamedTuple):
    """direct: what sounds beside the modes. modes: (frequency [Hz], Q, gain); opposite signs are opposite phases."""

    direct: float
    modes: tuple[tuple[float, float, float], ...]


BODIES: Mapping[str, Body] = {
    "guitar": Body(
        0.12,
        (
            *((102.0, 22.0, 1.0), (193.0, 24.0, -1.0), (229.0, 28.0, 0.4), (376.0, 30.0, 0.5), (436.0, 30.0, -0.4)),
            *((643.0, 25.0, 0.3), (733.0, 25.0, -0.3), (1000.0, 8.0, 0.3), (1700.0, 4.0, -0.3), (2900.0, 2.0, 0.3)),
        ),
    ),
    "violin": Body(
        0.08,
        (
            *((275.0, 16.0, 0.8), (405.0, 30.0, -0.2), (440.0, 35.0, 1.0), (530.0, 35.0, -1.0), (700.0, 20.0, 0.4)),
            *((840.0, 20.0, -0.4), (1100.0, 12.0, 0.4), (1500.0, 8.0, -0.3), (2500.0, 2.0, 0.9), (4200.0, 3.0, -0.2)),
        ),
    ),
    "cello": Body(
        0.08,
        (
            *((102.0, 16.0, 0.8), (144.0, 25.0, 0.8), (185.0, 28.0, -1.0), (220.0, 28.0, 0.5), (302.0, 20.0, -0.4)),
            *((450.0, 15.0, 0.4), (650.0, 10.0, -0.4), (1100.0, 4.0, 0.4), (1800.0, 2.0, 0.6)),
        ),
    ),
    "hollow_electric": Body(
        0.5, ((125.0, 10.0, 0.5), (205.0, 18.0, -0.6), (270.0, 20.0, 0.3), (420.0, 20.0, -0.3), (900.0, 5.0, 0.2))
    ),
    "solid_electric": Body(1.0, ((190.0, 30.0, -0.12), (340.0, 30.0, 0.1), (520.0, 30.0, -0.08), (1500.0, 2.0, 0.1))),
}
"""Guitar: air, top and back of a Martin D-28, then its higher plate modes (Fletcher and Rossing, The Physics of Musical
Instruments, chapter 9). Violin: A0, CBR, B1-, B1+ and the bridge hill (E. V. Jansson; G. Bissinger, JASA 124, 2008).
Cello: A0 and the first plate modes (Fletcher and Rossing, chapter 10). Hollow electric: an archtop. Gains and what lies
above 600 Hz, where modes overlap, are drawn after the published curves."""


class Pickup(NamedTuple):
    """coils: how many, 19 mm apart; 0 listens to the body alone. corner [Hz] and q: of its electrical resonance."""

    coils: int
    corner: float
    q: float


PICKUPS: Mapping[str, Pickup] = {
    "microphone": Pickup(0, 0.0, 0.0),
    "single_coil": Pickup(1, 4500.0, 2.8),
    "humbucker": Pickup(2, 2700.0, 1.9),
    "piezo": Pickup(0, 2000.0, 0.9),
}
"""Magnetic pickups loaded by volume pot and cable (H. Lemme, "The secrets of electric guitar pickups")."""

COIL_GAP = 0.019
SCALE = 0.648
OPEN_STRINGS = (82.41, 110.0, 146.83, 196.0, 246.94, 329.63)
"""[m] and [Hz] A guitar's scale and strings, whose waves run at 2 SCALE f."""


@register("effects/body")
class InstrumentBody(LinearBlock):
    """The resonances of an instrument's body as a bank of modes, then a pickup; usable after any instrument.

        H = 1 - mix + mix * P(f) * (direct + sum over modes of g (p / Q) / (p^2 + p / Q + 1)),   p = j f / (f_i / size)

    (bilinear, each mode's frequency kept). A magnetic pickup hears a string at one place, where the wave that comes
    back from the bridge has turned over: a comb, here the mean of a guitar's six open strings,
    1 - mean exp(-j w d / (SCALE f_string)); two coils hear two places; then a resonant low-pass, 1 / (p^2 + p / Q + 1).
    A piezo under the saddle hears all of it, with a broad peak. Pink noise leaves as loud as it came.
    """

    parameters = (
        Choice("body", tuple(BODIES), default="guitar", description="whose resonances"),
        Parameter("size", 0.5, 2.0, default=1.0, scale="log", description="2 puts all resonances an octave lower"),
        Parameter(
            "resonance", 0.25, 2.0, default=1.0, scale="log", description="sharpness of the modes, 1 as measured"
        ),
        Choice("pickup", tuple(PICKUPS), default="single_coil", description="what listens"),
        Parameter("pickup_position", 1.0, 25.0, default=15.0, unit="cm", scale="log", description="from the bridge"),
        Parameter("mix", 0.0, 1.0, default=1.0, description="0 as it came, 1 body and pickup"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )
    probe: ClassVar[dict[str, float]] = {"mix": 0.9}
    presets: ClassVar = {
        "acoustic guitar": {"body": "guitar", "pickup": "microphone"},
        "violin": {"body": "violin", "pickup": "microphone"},
        "bridge single coil": {"body": "solid_electric", "pickup": "single_coil", "pickup_position": 4.0},
        "neck humbucker": {"body": "hollow_electric", "pickup": "humbucker", "pickup_position": 16.0},
    }

    def __init__(self, sample_rate: int = 44100) -> None:
        super().__init__(sample_rate)
        highest = min(10_000.0, 0.45 * sample_rate)
        self.register_buffer("pink", torch.logspace(math.log10(50.0), math.log10(highest), 128), persistent=False)

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        """Until the slowest mode of the bodies that sound has died by 95 dB."""
        sounding = (settings["body"] > 0).any(dim=0) | settings["body"].requires_grad
        slowest = max(
            q / (math.pi * frequency)
            for body, heard in zip(BODIES.values(), sounding.tolist(), strict=True)
            for frequency, q, _ in body.modes
            if heard
        )
        longer = float((settings["resonance"] * settings["size"]).max())
        return slowest * longer * math.log(10.0**4.75) + 0.01

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        like = settings["mix"]
        # equal steps of log frequency weigh as pink noise does
        loudness = self._shape(settings, self.get_buffer("pink").to(like)).abs().square().mean(dim=-1).sqrt()
        gain = to_gain(settings["level"]) / loudness
        return (self._shape(settings, frequencies(n_fft, self.sample_rate, like)) * gain[:, None])[:, None]

    def _shape(self, settings: Settings, hertz: Tensor) -> Tensor:
        """(batch, frequencies)."""
        mix = settings["mix"][:, None]
        return 1.0 - mix + mix * self._body(settings, hertz) * self._pickup(settings, hertz)

    def _body(self, settings: Settings, hertz: Tensor) -> Tensor:
        weights, size = settings["body"], settings["size"]
        total = torch.zeros(len(size), len(hertz), dtype=hertz.dtype.to_complex(), device=hertz.device)
        for index, body in enumerate(BODIES.values()):
            weight = weights[:, index]
            if not weight.requires_grad and not bool(weight.any()):
                continue
            table = torch.tensor(body.modes, dtype=hertz.dtype, device=hertz.device)
            x = self._over(hertz, table[:, 0] / size[:, None])
            damping = 1.0 / (table[:, 1] * settings["resonance"][:, None])
            along = x * damping[:, :, None]
            modes = torch.complex(torch.zeros_like(x), along) / torch.complex(1.0 - x * x, along)
            total = total + weight[:, None] * (body.direct + (modes * table[:, 2, None]).sum(dim=1))
        return total

    def _pickup(self, settings: Settings, hertz: Tensor) -> Tensor:
        place = settings["pickup_position"] / 100.0
        total = torch.zeros(len(place), len(hertz), dtype=hertz.dtype.to_complex(), device=hertz.device)
        for index, pickup in enumerate(PICKUPS.values()):
            weight = settings["pickup"][:, index]
            if weight.requires_grad or bool(weight.any()):
                total = total + weight[:, None] * self._heard(pickup, place, hertz)
        return total

    def _heard(self, pickup: Pickup, place: Tensor, hertz: Tensor) -> Tensor:
        """What one kind hears: (batch or 1, frequencies)."""
        if pickup.corner == 0.0:
            return torch.ones(1, len(hertz), dtype=hertz.dtype.to_complex(), device=hertz.device)
        x = self._over(hertz, hertz.new_tensor([[pickup.corner]]))[:, 0]
        below = torch.complex(1.0 - x * x, x / pickup.q)
        if pickup.coils == 0:
            return 1.0 + torch.complex(torch.zeros_like(x), 1.5 * x / pickup.q) / below
        speeds = 2.0 * SCALE * hertz.new_tensor(OPEN_STRINGS)
        places = torch.stack([place + coil * COIL_GAP for coil in range(pickup.coils)], dim=1)
        seconds = (2.0 * places[:, :, None] / speeds).flatten(1)
        angle = -2.0 * math.pi * seconds[:, :, None] * hertz
        return (1.0 - torch.polar(torch.ones_like(angle), angle).mean(dim=1)) / below

    def _over(self, hertz: Tensor, corner: Tensor) -> Tensor:
        """Frequencies (n,) over corners (batch, m), pre-warped: (batch, m, n)."""
        warped = torch.tan((hertz * (math.pi / self.sample_rate)).clamp_max(0.4999 * math.pi))
        highest = (corner * (math.pi / self.sample_rate)).clamp_max(0.45 * math.pi)
        return warped / torch.tan(highest)[:, :, None]
