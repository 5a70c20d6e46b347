"""A rotary speaker."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import filters
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.modulated_delay import modulated_delay
from hitchain.blocks.dsp.movement import cosine, turns
from hitchain.blocks.dsp.recursion import linear_recurrence
from hitchain.blocks.dsp.section_filter import filter_sections
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SOUND = 343.0
"""[m/s]"""

HORN_RADIUS, DRUM_RADIUS = 0.19, 0.10
"""[m] From the axis to the mouth of the horn, and to where the drum's baffle lets the sound out."""

DRUM_SPEED = 0.85
"""Turns of the drum for one of the horn: 40 to 48 a minute when slow, 342 to 400 when fast (Leslie 122)."""

DRUM_INERTIA = 4.0
"""The heavy drum takes so many times longer to follow."""

DRUM_BEAM = 0.5
"""How directional the drum is against the horn."""


@register("effects/rotary")
class Rotary(Block):
    """Rotary speaker: a horn turns for the highs and a drum for the lows, heard by two microphones.

        path(a) = sqrt(D^2 + r^2 - 2 D r cos a),  D the distance, r the radius, a the angle from mouth to microphone
        heard = g(a) x(t - path(a) / c),  g(a) = (1 - depth (1 - cos a) / 2) D / path(a)

    the path giving the Doppler shift, its length and the beam the loudness (C. A. Henricksen, "Unearthing the mysteries
    of the Leslie cabinet", Recording Engineer/Producer, 1981; J. O. Smith, S. Serafin, J. Abel, D. Berners, "Doppler
    simulation and the Leslie", DAFx-02). The crossover is Linkwitz and Riley's, 24 dB per octave. The drum turns the
    other way, a little slower, half as directional. Speeds are those of the horn. Where `speed` is turned through time
    the rotors follow it with their inertia; where it stands still they keep their place by the song's time. The
    microphones take both channels together.

    Args:
        sample_rate: [Hz].
        ramp: [s] in which the horn covers 63 % of a change of speed; the drum takes four times as long.
    """

    parameters = (
        Parameter("speed", 0.0, 1.0, default=0.0, varying=True, description="0 slow, 1 fast"),
        Parameter("slow", 0.3, 2.0, default=0.8, unit="Hz", scale="log", description="turns a second of the slow horn"),
        Parameter("fast", 3.0, 10.0, default=6.67, unit="Hz", scale="log", description="of the fast horn"),
        Parameter("depth", 0.0, 1.0, default=0.7, varying=True, description="how narrow the horn's beam is"),
        Parameter("distance", 0.3, 2.0, default=0.5, unit="m", scale="log", description="from axis to microphones"),
        Parameter("width", 0.0, 180.0, default=110.0, unit="degrees", description="between the microphones"),
        Parameter("crossover", 400.0, 1500.0, default=800.0, unit="Hz", scale="log", description="from drum to horn"),
        Parameter("balance", -12.0, 12.0, default=0.0, unit="dB", varying=True, description="horn against drum"),
        Parameter("mix", 0.0, 1.0, default=1.0, varying=True, description="0 dry, 1 speaker"),
    )
    presets: ClassVar = {
        "chorale": {"speed": 0.0},
        "tremolo": {"speed": 1.0},
        "far and wide": {"speed": 1.0, "distance": 1.5, "width": 170.0, "depth": 0.9},
    }
    probe: ClassVar = {"speed": 0.4, "mix": 0.9}

    def __init__(self, sample_rate: int = 44100, ramp: float = 0.8) -> None:
        super().__init__(sample_rate)
        if isinstance(ramp, bool) or not isinstance(ramp, int | float) or not 0.05 <= ramp <= 10.0:
            raise UserError(f"ramp={ramp!r} should be from 0.05 to 10 seconds.")
        self.ramp = float(ramp)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        low, high = self._crossed(audio.mean(dim=1, keepdim=True), settings["crossover"])
        half = settings["balance"] / 2.0
        horn = self._turned(high, self.cycles(settings, samples, 1.0, self.ramp), HORN_RADIUS, 1.0, settings)
        slower = self.ramp * DRUM_INERTIA
        drum = self._turned(low, -self.cycles(settings, samples, DRUM_SPEED, slower), DRUM_RADIUS, DRUM_BEAM, settings)
        wet = over_audio(to_gain(half), samples) * horn + over_audio(to_gain(-half), samples) * drum
        return audio + over_audio(settings["mix"], samples) * (wet - audio)

    def _crossed(self, audio: Tensor, crossover: Tensor) -> tuple[Tensor, Tensor]:
        """Lows and highs, each through two Butterworth sections."""
        corner = filters.bounded_frequency(crossover.double(), self.sample_rate).unsqueeze(-1).expand(-1, 2)
        q = torch.full_like(corner, math.sqrt(0.5))
        low = filter_sections(audio, *filters.low_pass(corner, q, self.sample_rate))
        return low, filter_sections(audio, *filters.high_pass(corner, q, self.sample_rate))

    def cycles(self, settings: Settings, samples: int, ratio: float, ramp: float) -> Tensor:
        """Turns of a rotor since the song began: float64 (batch, samples)."""
        speed, slow, fast = (settings[key].double() for key in ("speed", "slow", "fast"))
        start = settings.get(START, 0.0)
        if speed.ndim == 1:
            return turns(ratio * slow * (fast / slow) ** speed, samples, self.sample_rate, start)
        wanted = over_audio(speed, samples)[:, 0]
        coefficient = math.exp(-1.0 / (ramp * self.sample_rate))
        followed = linear_recurrence(coefficient, (1.0 - coefficient) * wanted, initial=wanted[:, 0])
        rate = ratio * slow.unsqueeze(-1) * (fast / slow).unsqueeze(-1) ** followed
        return rate[:, :1] * float(start) + (rate.cumsum(dim=-1) - rate) / self.sample_rate

    def _turned(self, audio: Tensor, cycles: Tensor, radius: float, beam: float, settings: Settings) -> Tensor:
        """A rotor as both microphones hear it: (batch, 1, samples) -> (batch, 2, samples)."""
        samples = audio.shape[-1]
        apart = settings["width"].double().unsqueeze(-1) / 720.0
        facing = torch.stack([cosine(cycles, offset, audio.dtype) for offset in (-apart, apart)], dim=1)
        distance = settings["distance"][:, None, None]
        squared = (distance**2 + radius**2) - (2.0 * radius * distance) * facing
        inverse = torch.rsqrt(squared)
        scale = self.sample_rate / SOUND
        delay = (squared * inverse) * scale - (distance - radius) * scale
        heard = modulated_delay(audio.expand(-1, 2, -1).flatten(0, 1), delay.flatten(0, 1)).view(-1, 2, samples)
        back = over_audio(settings["depth"], samples) * (0.5 * beam)
        return heard * ((distance * (1.0 - back) + (distance * back) * facing) * inverse)
