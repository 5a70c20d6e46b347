"""Two microphones that make stereo, by the techniques that have names."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import acoustics
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.mics import microphone
from hitchain.blocks.mics.pair import TYPES, hear
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register


class _Technique(NamedTuple):
    """Patterns of the two microphones, the angle between them [degrees] and how far they are apart [m]."""

    patterns: tuple[float, float]
    between: float
    apart: float


_TECHNIQUES = {
    "xy": _Technique((0.5, 0.5), 90.0, 0.0),  # coincident cardioids
    "ortf": _Technique((0.5, 0.5), 110.0, 0.17),  # cardioids as far apart as ears (Radiodiffusion-Television Francaise)
    "spaced": _Technique((0.0, 0.0), 0.0, 0.6),  # omnidirectional: differences in time alone
    "mid_side": _Technique((0.5, 1.0), 90.0, 0.0),  # a cardioid ahead, a figure of eight across
    "blumlein": _Technique((1.0, 1.0), 90.0, 0.0),  # crossed figures of eight (A. D. Blumlein, 1931)
}


@register("mics/stereo")
class Stereo(LinearBlock):
    """A stereo pair of microphones before a source that stands somewhere in front of it.

        xy         cardioids at one point, 90 degrees between them
        ortf       cardioids 17 cm apart, 110 degrees
        spaced     omnidirectional, 60 cm apart
        mid_side   cardioid M ahead and figure of eight S to the left: left = M + S, right = M - S
        blumlein   figures of eight at one point, 90 degrees

    (J. Eargle, "The Microphone Book", 2004, chapter 11). Each hears a spherical wave from where the source stands, with
    its own time of flight, level and angle (`mics/microphone`). The preamplifiers make up for the distance. Then left,
    right = m +- width s with m = (l + r) / 2, s = (l - r) / 2.

    Args:
        sample_rate: of the session [Hz].
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Choice("technique", tuple(_TECHNIQUES), default="ortf", description="how the two are set up"),
        Choice("type", TYPES, default="condenser", description="of both microphones"),
        Parameter("distance", 30.0, 500.0, default=150.0, unit="cm", scale="log", description="to the source"),
        Parameter("position", -80.0, 80.0, default=15.0, unit="degrees", description="of the source: right is above 0"),
        Parameter("angle", -30.0, 30.0, default=0.0, unit="degrees", description="more or less between the two"),
        Parameter("spacing", 0.25, 2.0, default=1.0, scale="log", description="times the technique's own"),
        Parameter("width", 0.0, 2.0, default=1.0, description="of the difference between left and right"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )
    presets: ClassVar = {
        "near pair": {"technique": "xy", "distance": 60.0, "position": 0.0, "width": 1.3},
        "concert": {"technique": "ortf", "distance": 350.0, "position": 20.0},
        "wide": {"technique": "spaced", "distance": 200.0, "position": -25.0},
    }

    def tail(self, settings: Settings) -> float:
        farthest = float(settings["distance"].detach().max()) / 100.0 + 1.0
        return math.ceil(10.0 * (farthest / acoustics.SPEED_OF_SOUND + microphone._RINGING)) / 10.0

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        weights = settings["technique"]
        gain = to_gain(settings["level"])
        left = right = torch.zeros((), dtype=gain.dtype, device=gain.device)
        for index, technique in enumerate(_TECHNIQUES):
            share = weights[:, index]
            if not share.requires_grad and not bool(share.any()):
                continue
            one, other = self._heard(technique, settings, gain * share, n_fft)
            left, right = left + one, right + other
        middle, side = 0.5 * (left + right), 0.5 * settings["width"][:, None] * (left - right)
        return torch.stack([middle + side, middle - side], dim=1)

    def _heard(self, name: str, settings: Settings, gain: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
        """Left and right by one technique, each complex (batch, bins)."""
        patterns, between, apart = _TECHNIQUES[name]
        turned = torch.deg2rad(between + settings["angle"]) if between else torch.zeros_like(gain)
        half = 0.5 * apart * settings["spacing"]
        if name == "mid_side":
            ahead, across = torch.zeros_like(gain), -torch.deg2rad(90.0 + settings["angle"])
            middle = self._one(settings, patterns[0], ahead, half, gain, n_fft)
            side = self._one(settings, patterns[1], across, half, gain, n_fft)
            return middle + side, middle - side
        left = self._one(settings, patterns[0], -0.5 * turned, -half, gain, n_fft)
        return left, self._one(settings, patterns[1], 0.5 * turned, half, gain, n_fft)

    def _one(self, settings: Settings, pattern: float, aim: Tensor, place: Tensor, gain: Tensor, n_fft: int) -> Tensor:
        """A microphone at `place` [m] across, aimed at `aim` [rad], both positive to the right."""
        distance, position = settings["distance"] / 100.0, torch.deg2rad(settings["position"])
        across, ahead = distance * torch.sin(position) - place, distance * torch.cos(position)
        path, angle = torch.hypot(across, ahead), torch.atan2(across, ahead) - aim
        patterns = torch.full_like(gain, pattern)
        return hear(settings["type"], patterns, angle, path, gain * distance, n_fft, self.sample_rate)
