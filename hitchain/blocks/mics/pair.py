"""Two microphones on one source."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import acoustics
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.mics import microphone
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

TYPES = tuple(microphone._CAPSULES)


def hear(
    settings_type: Tensor, pattern: Tensor, angle: Tensor, distance: Tensor, amplitude: Tensor, n_fft: int, rate: int
) -> Tensor:
    """What one microphone makes of one wave, complex (batch, bins): weights of its type (batch, types); pattern, angle
    [rad], distance [m] and amplitude at 1 m, each (batch,)."""
    waves = acoustics.Waves(*(value[:, None] for value in (pattern, angle, distance, amplitude)))
    capsules = microphone._capsules(n_fft, rate, pattern.dtype, pattern.device)
    nothing = torch.zeros(len(pattern), n_fft // 2 + 1, dtype=pattern.dtype.to_complex(), device=pattern.device)
    return acoustics.heard_waves(waves, settings_type, nothing, capsules, n_fft, rate)


@register("mics/pair")
class Pair(LinearBlock):
    """Two microphones at their own distances from one source, mixed to one channel.

        H = level ((1 - balance) first + balance polarity second),    each e^(-j w r / c) pattern(a, r) type, at 0 dB

    Each is brought to the same level by its preamplifier, whatever its distance; its delay stays, so that the two comb:
    at equal shares the notches are at (n + 1/2) c / |r2 - r1|. The further microphone has less proximity effect and
    more air. Waves and microphones are those of `mics/microphone`.

    Args:
        sample_rate: of the session [Hz].
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Choice("first_type", TYPES, default="dynamic", description="of the first microphone"),
        Parameter("first_distance", 2.0, 300.0, default=5.0, unit="cm", scale="log", description="from the source"),
        Parameter("first_angle", 1.0, 90.0, default=10.0, unit="degrees", description="off the source"),
        Choice("second_type", TYPES, default="ribbon", description="of the second microphone"),
        Parameter("second_distance", 2.0, 300.0, default=20.0, unit="cm", scale="log", description="from the source"),
        Parameter("second_angle", 1.0, 90.0, default=10.0, unit="degrees", description="off the source"),
        Parameter("pattern", 0.0, 1.0, default=0.5, description="of both: 0 omni, 0.5 cardioid, 1 figure of eight"),
        Parameter("balance", 0.0, 1.0, default=0.4, description="0 the first alone, 1 the second"),
        Choice("polarity", ("normal", "inverted"), default="normal", description="of the second microphone"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )
    presets: ClassVar = {
        "dynamic and ribbon": {},
        "close and far": {"second_type": "condenser", "second_distance": 150.0, "balance": 0.35},
        "hollow": {"second_distance": 40.0, "balance": 0.5, "polarity": "inverted"},
    }

    def tail(self, settings: Settings) -> float:
        farthest = max(float(settings[f"{which}_distance"].detach().max()) for which in ("first", "second"))
        return math.ceil(10.0 * (farthest / 100.0 / acoustics.SPEED_OF_SOUND + microphone._RINGING)) / 10.0

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        sign = settings["polarity"][:, 0] - settings["polarity"][:, 1]
        shares = {"first": 1.0 - settings["balance"], "second": settings["balance"] * sign}
        heard = []
        for which, share in shares.items():
            distance = settings[f"{which}_distance"] / 100.0
            angle, gain = torch.deg2rad(settings[f"{which}_angle"]), share * to_gain(settings["level"]) * distance
            type_ = settings[f"{which}_type"]
            heard.append(hear(type_, settings["pattern"], angle, distance, gain, n_fft, self.sample_rate))
        return (heard[0] + heard[1])[:, None]
