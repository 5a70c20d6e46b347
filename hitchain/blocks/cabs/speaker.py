"""A loudspeaker in its cabinet, from a handful of physical quantities."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.circuits import (
    butterworth,
    butterworth_sections,
    section,
    section_product,
    warped,
    warped_axis,
)
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.fft import frequencies
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SPEED_OF_SOUND = 343.0
INCH = 0.0254
BREAKUP_QUALITY = 1.5
REAR_CORNER = 1500.0
"""Above it the sound from behind no longer bends round the cabinet [Hz]."""
REAR_SHARE = 0.9
"""What of the rear wave arrives in front at low frequencies, when the back is fully open."""
LISTENING = 0.5
"""How far in front of the first driver one listens [m]."""
PLACES = ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3))
"""The drivers' places in the cabinet, in units of their spacing: two columns."""


@register("cabs/speaker")
class Speaker(LinearBlock):
    """A guitar loudspeaker in its cabinet, as a product of textbook responses (p = j f / corner, pre-warped bilinear):

    - resonance: the cone on its suspension and the air in the box, p^2 / (p^2 + damping p + 1), a closed box with
      Q = 1 / damping (R. H. Small, "Closed-box loudspeaker systems", JAES 20(10), 1972).
    - baffle: below 115 m/s / width the front wave also goes behind, here 3 dB of the free field's 6 for what the floor
      gives back (H. F. Olson, "Direct radiator loudspeaker enclosures", JAES 17(1), 1969); width = 1.5 * size.
    - break-up: the cone no longer moves as one, a peak (p^2 + A p / Q + 1) / (p^2 + p / (A Q) + 1), A^2 = its gain.
    - roll-off: the voice coil's inductance and the cone's mass, a Butterworth low-pass of 2nd, 4th or 6th order.
    - open back: the rear wave comes inverted by a path of 1.6 * size round the cabinet, 1 - 0.9 open L exp(-j w t): the
      lows cancel as in a dipole, the low mids comb (L. L. Beranek, "Acoustics", 1954, chapter 7).

    - several drivers: each further one, spaced from the first, comes later and weaker and with less of its highs,
      1 + sum (d / r) e^(-j w (r - d) / c) / (1 + (k a sin(angle))^2 / 8), heard at d = 50 cm before the first; part
      of a driver is a driver at part of its level. Lows add up, highs do not.

    The factors of one driver are minimum-phase. Pink noise leaves as loud as it came: a knob changes the tone, not the
    level.

    Args:
        sample_rate: of the session [Hz].
        order: of the roll-off: 2, 4 or 6.

    Raises:
        UserError: another order.
    """

    parameters = (
        Parameter("size", 6.0, 15.0, default=12.0, unit="inches", description="cone diameter: baffle and rear path"),
        Parameter("resonance", 50.0, 200.0, default=90.0, unit="Hz", scale="log", description="cone in its box"),
        Parameter("damping", 0.4, 2.5, default=1.0, scale="log", description="1 / Q: low booms, high is dry"),
        Parameter("breakup", 1000.0, 5000.0, default=2600.0, unit="Hz", scale="log", description="presence peak"),
        Parameter("breakup_gain", -6.0, 15.0, default=6.0, unit="dB", description="height of that peak"),
        Parameter("rolloff", 2000.0, 10000.0, default=5000.0, unit="Hz", scale="log", description="where it goes dark"),
        Parameter("open_back", 0.0, 1.0, default=0.2, description="0 closed, 1 open back"),
        Parameter("count", 1.0, 8.0, default=1.0, description="drivers: 1, 2, 4 or 8 of them, or between"),
        Parameter("spacing", 15.0, 60.0, default=28.0, unit="cm", description="from driver to driver"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )
    probe: ClassVar = {"count": 2.5}
    presets: ClassVar = {
        "open 1x12": {"open_back": 0.9, "damping": 1.3, "breakup_gain": 5.0},
        "closed 4x12": {"open_back": 0.0, "count": 4.0, "resonance": 110.0, "damping": 0.8, "rolloff": 4500.0},
        "bass 8x10": {
            "size": 10.0,
            "count": 8.0,
            "resonance": 60.0,
            "damping": 1.2,
            "breakup_gain": 2.0,
            "open_back": 0.0,
            "rolloff": 4000.0,
        },
    }

    def __init__(self, sample_rate: int = 44100, order: int = 4) -> None:
        super().__init__(sample_rate)
        if order not in (2, 4, 6):
            raise UserError(f"the speaker's order={order!r} is not an option; it can be one of: 2, 4, 6.")
        self.order = order
        highest = min(10_000.0, 0.45 * sample_rate)
        self.register_buffer("pink", torch.logspace(math.log10(50.0), math.log10(highest), 128), persistent=False)

    def tail(self, settings: Settings) -> float:
        """Until the resonance, the slowest pole, has died away by 100 dB: ln(1e5) / its decay rate [1/s]."""
        damping = settings["damping"].detach()
        slowest = damping / 2.0 - (damping.square() / 4.0 - 1.0).clamp_min(0.0).sqrt()
        rate = 2.0 * math.pi * settings["resonance"].detach() * slowest
        return math.log(1e5) / float(rate.min()) + 0.01  # the rear wave's path and the furthest driver's

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        like = settings["size"]
        sections = self._sections(settings)
        # Equal steps of log frequency weigh as pink noise does.
        pink = _axes(self.get_buffer("pink").to(like), self.sample_rate)
        loudness = self._shape(settings, sections, pink).abs().square().mean(dim=-1).sqrt()
        gain = to_gain(settings["level"]) / loudness
        axes = _bins(n_fft, self.sample_rate, like.dtype, like.device)
        return (self._shape(settings, sections, axes) * gain[:, None])[:, None]

    def _shape(self, settings: Settings, sections: Tensor, axes: _Axes) -> Tensor:
        """Times what an open back lets through from behind."""
        seconds = 1.6 * INCH * settings["size"][:, None] / SPEED_OF_SOUND
        late = torch.polar(torch.ones_like(seconds * axes.hertz), -2.0 * math.pi * axes.hertz * seconds)
        share = REAR_SHARE * settings["open_back"][:, None]
        shape = section_product(sections, axes.warped) * (1.0 - (share * axes.bent) * late)
        others = _further_drivers(settings, axes.hertz)
        return shape if others is None else shape * (1.0 + others)

    def _sections(self, settings: Settings) -> Tensor:
        """Resonance, baffle, break-up and roll-off: (batch, sections, 6)."""
        height = to_gain(0.5 * settings["breakup_gain"])
        resonance = (settings["resonance"], (0.0, 0.0, 1.0), (1.0, settings["damping"], 1.0))
        baffle = (115.0 / (1.5 * INCH * settings["size"]), (math.sqrt(0.5), 1.0, 0.0), (1.0, 1.0, 0.0))
        peak, dip = height / BREAKUP_QUALITY, 1.0 / (height * BREAKUP_QUALITY)
        breakup = (settings["breakup"], (1.0, peak, 1.0), (1.0, dip, 1.0))
        sections = [section(corner, self.sample_rate, *sides) for corner, *sides in (resonance, baffle, breakup)]
        return torch.stack([*sections, *butterworth_sections(settings["rolloff"], self.order, self.sample_rate)], 1)


def _further_drivers(settings: Settings, hertz: Tensor) -> Tensor | None:
    """What the drivers beyond the first add to its sound: (batch, bins), or None where there are none."""
    count, spacing = settings["count"][:, None], settings["spacing"][:, None] / 100.0
    most = float(count.detach().max())
    total = None
    for index, place in enumerate(PLACES[1:], start=1):
        more = count - index
        if most < index or (most == index and not count.requires_grad):
            break
        last = index == len(PLACES) - 1
        share = more.clamp(0.0, 1.0) if last else torch.where(more >= 1.0, torch.ones_like(more), more.clamp_min(0.0))
        path = torch.hypot(spacing * math.hypot(*place), spacing.new_tensor(LISTENING))
        size = (
            (math.pi * INCH / SPEED_OF_SOUND)
            * settings["size"][:, None]
            * hertz
            * (spacing * math.hypot(*place) / path)
        )
        heard = share * (LISTENING / path) / (1.0 + size.square() / 8.0)
        late = -2.0 * math.pi / SPEED_OF_SOUND * hertz * (path - LISTENING)
        part = heard * torch.polar(torch.ones_like(late), late)  # polar's own gradient ends where the level is 0
        total = part if total is None else total + part
    return total


class _Axes(NamedTuple):
    """Frequencies as they are and pre-warped, and how what comes from behind bends round the cabinet there."""

    hertz: Tensor
    warped: Tensor
    bent: Tensor


def _axes(hertz: Tensor, sample_rate: int) -> _Axes:
    bent = butterworth(warped(hertz, hertz.new_tensor(REAR_CORNER), sample_rate), 2)
    return _Axes(hertz, warped_axis(hertz, sample_rate), bent)


@lru_cache(maxsize=8)
def _bins(n_fft: int, sample_rate: int, dtype: torch.dtype, device: torch.device) -> _Axes:
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        return _axes(frequencies(n_fft, sample_rate, torch.zeros((), dtype=dtype, device=device)), sample_rate)
