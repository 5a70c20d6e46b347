"""The FM synthesiser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import fm_voice, oscillators
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.fm_voice import OPERATORS, PAIRS
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

REFERENCE = 10.0 ** (-18.0 / 20.0) * math.sqrt(2.0)
"""Amplitude of a carrier at a level of 0 dB and full velocity: its RMS is -18 dBFS, which leaves room for chords."""

DEEPEST = 8.0
"""[radians] Peak modulation by an operator at a level of 1."""

HALF_TAPS = 32
"""Taps to either side of the half-band filter, the zeros left out."""

ROOM = 0.7
"""Sidebands stay below this many times the sample rate, as counted. Rendered at twice the rate, what folds back into
the band comes from 1.5 times it and more."""

ALGORITHMS: Mapping[str, tuple[tuple[tuple[int, int], ...], tuple[int, ...]]] = {
    "1": (((4, 3), (3, 2), (2, 1)), (1,)),  # 4>3>2>1
    "2": (((4, 2), (3, 2), (2, 1)), (1,)),  # (3+4)>2>1
    "3": (((4, 1), (3, 2), (2, 1)), (1,)),  # 4>1, 3>2>1
    "4": (((4, 3), (3, 1), (2, 1)), (1,)),  # 2>1, 4>3>1
    "5": (((4, 3), (2, 1)), (1, 3)),  # 2>1, 4>3
    "6": (((4, 3), (4, 2), (4, 1)), (1, 2, 3)),  # 4>(1, 2, 3)
    "7": (((4, 3),), (1, 2, 3)),  # 4>3, 1, 2
    "8": ((), (1, 2, 3, 4)),  # 1, 2, 3, 4
}
"""The eight algorithms of Yamaha's four-operator synthesisers (TX81Z): who modulates whom, and who is heard."""


def _operator(number: int, ratio: float, level: float, decay: float, sustain: float) -> tuple[Parameter, ...]:
    name = f"operator {number}"
    return (
        Parameter(f"ratio{number}", 0.25, 16.0, default=ratio, scale="log", description=f"{name}'s frequency / note's"),
        Parameter(f"level{number}", 0.0, 1.0, default=level, description=f"{name}'s output: loudness, or 8 radians"),
        Parameter(f"decay{number}", 10.0, 10000.0, default=decay, unit="ms", scale="log", description=f"{name}'s"),
        Parameter(f"sustain{number}", 0.0, 1.0, default=sustain, description=f"{name}'s level held after the decay"),
    )


@register("instruments/fm")
class Fm(Instrument):
    """Four sine operators that modulate each other's phases (J. M. Chowning, JAES 21(7), 1973), each with its envelope.

        o_i(t) = level_i adsr_i(t) sin(2 pi ratio_i f t + sum over j of m_ji o_j(t)),    y = gain * sum of c_i o_i

    The algorithm says who modulates whom, m_ji = 8 radians or 0, and who is heard, c_i; a blend of algorithms is the
    blend of these matrices. Operator 4 modulates itself without delay, which makes it a sawtooth-like wave. On high
    notes modulation is held back, softly, so that sidebands do not fold; rendered at twice the sample rate. Velocity
    sets the carriers' level and the depth of modulation. Phases start at 0 at the onset.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of a note at full velocity"),
        Choice(
            "algorithm", tuple(ALGORITHMS), default="5", description="who modulates whom: 1 a stack, 8 side by side"
        ),
        Parameter("feedback", 0.0, 0.9, default=0.2, description="of operator 4 to itself [radians]: sine to sawtooth"),
        *_operator(1, 1.0, 1.0, 2500.0, 0.0),
        *_operator(2, 14.0, 0.2, 250.0, 0.0),
        *_operator(3, 1.0, 0.8, 3000.0, 0.0),
        *_operator(4, 1.0, 0.25, 1800.0, 0.1),
        Parameter("attack", 1.0, 2000.0, default=2.0, unit="ms", scale="log"),
        Parameter("release", 5.0, 5000.0, default=250.0, unit="ms", scale="log"),
        Parameter("velocity_to_level", 0.0, 1.0, default=0.8, description="0 all notes alike, 1 follows velocity"),
        Parameter("velocity_to_modulation", 0.0, 1.0, default=0.6, description="how mellow soft notes are"),
    )
    presets: ClassVar = {
        "electric piano": {},
        "solid bass": {
            "algorithm": "1",
            "ratio1": 0.5,
            "ratio2": 0.5,
            "ratio3": 1.0,
            "ratio4": 1.0,
            "level2": 0.35,
            "level3": 0.2,
            "level4": 0.2,
            "decay1": 1200.0,
            "decay2": 350.0,
            "decay3": 200.0,
            "decay4": 150.0,
            "sustain1": 0.5,
            "sustain2": 0.2,
            "feedback": 0.5,
            "release": 80.0,
        },
        "brass": {
            "algorithm": "2",
            "ratio2": 1.0,
            "ratio3": 1.0,
            "level2": 0.3,
            "level3": 0.05,
            "level4": 0.1,
            "attack": 60.0,
            "sustain1": 0.9,
            "sustain2": 0.75,
            "sustain3": 0.5,
            "sustain4": 0.8,
            "feedback": 0.7,
            "decay2": 1500.0,
        },
        "tubular bells": {
            "ratio1": 1.0,
            "ratio2": 3.5,
            "ratio3": 1.005,
            "ratio4": 3.5,
            "level2": 0.3,
            "level3": 1.0,
            "level4": 0.25,
            "decay1": 6000.0,
            "decay2": 3000.0,
            "decay3": 7000.0,
            "decay4": 4000.0,
            "release": 3000.0,
            "sustain4": 0.0,
        },
    }

    def tail(self, settings: Settings) -> float:
        return float(settings["release"].detach().max()) / 1000.0

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, settings)

        samples, taps = round(notes.length * self.sample_rate), 2 * HALF_TAPS
        longer = notes.with_(length=(samples + taps) / self.sample_rate)  # what the filter looks ahead
        release, dtype = settings["release"] / 1000.0, settings["level"].dtype
        audio = render(longer, 2 * self.sample_rate, release, voice, dtype, ragged=True)
        return halved(audio, samples)

    def _voice(self, voices: Voices, notes: Notes, settings: Settings) -> Tensor:
        """(voices, span), at twice the sample rate."""
        knob = {p.name: voices.of(settings[p.name]) for p in self.parameters if isinstance(p, Parameter)}
        velocity = voices.of(notes.velocity).to(knob["level"].dtype)
        loudness = 1.0 - knob["velocity_to_level"] * (1.0 - velocity)
        gain = to_gain(knob["level"]) * loudness * voices.of(notes.mask).to(velocity.dtype) * REFERENCE
        depth = DEEPEST * (1.0 - knob["velocity_to_modulation"] * (1.0 - velocity))

        ratio, level, decay, sustain = (
            torch.stack([knob[f"{name}{number}"] for number in range(1, OPERATORS + 1)], dim=1)
            for name in ("ratio", "level", "decay", "sustain")
        )
        frequency = midi_to_hz(voices.of(notes.pitch).double())[:, None] * ratio.double()
        matrix, carrier = (table.to(gain) for table in _tables())
        algorithm = settings["algorithm"][voices.row].to(gain.dtype)
        modulation = (algorithm @ matrix) * depth[:, None]
        modulation, feedback = self._held(modulation.double(), level.double(), frequency, knob["feedback"].double())
        heard = (algorithm @ carrier) * oscillators.below_nyquist(frequency, self.sample_rate).to(gain.dtype)
        times = {name: knob[name] / 1000.0 for name in ("attack", "release")}
        motion = {"since": voices.since(notes.onset), "duration": voices.of(notes.duration)}
        return fm_voice.play(
            {**motion, **times, "feedback": feedback},
            *(frequency, level, decay / 1000.0, sustain, modulation, gain[:, None] * heard),
            voices,
        )

    def _held(self, modulation: Tensor, level: Tensor, frequency: Tensor, feedback: Tensor) -> tuple[Tensor, Tensor]:
        """Modulation (voices, 6) and feedback that leave no operator's sidebands over the room.

        An operator reaches up to its frequency plus its modulators' reach times their depth and some more (Carson's
        rule, which counts 98 % of the power, is widened); what goes beyond the room is scaled back along
        1 / (1 + w^8)^(1/8).
        """
        limit = ROOM * self.sample_rate
        room = (limit - frequency).clamp_min(0.02 * limit)
        asked = frequency[:, 3] * (4.0 * feedback + 8.0 * feedback**4)
        scale = _within(asked / room[:, 3])
        reach = {OPERATORS: frequency[:, 3] + asked * scale}
        feedback, held = feedback * scale, dict[int, Tensor]()
        for number in (3, 2, 1):
            into = [(pair, modulator) for pair, (modulator, modulated) in enumerate(PAIRS) if modulated == number]
            asked = torch.zeros_like(feedback)
            for pair, modulator in into:
                amount = modulation[:, pair] * level[:, modulator - 1]
                asked = asked + reach[modulator] * (amount + 2.0 * amount / (0.3 + amount))
            scale = _within(asked / room[:, number - 1])
            reach[number] = frequency[:, number - 1] + asked * scale
            for pair, _ in into:
                held[pair] = modulation[:, pair] * scale
        return torch.stack([held[pair] for pair in range(len(PAIRS))], dim=1), feedback


def _within(asked: Tensor) -> Tensor:
    """By what to scale so many times the room to stay in it: near 1 below."""
    return (1.0 + asked**8) ** -0.125


@lru_cache(maxsize=1)
def _tables() -> tuple[Tensor, Tensor]:
    """Of each algorithm, who modulates whom (8, 6) and who is heard (8, 4), of unit power together."""
    matrix, carrier = torch.zeros(len(ALGORITHMS), len(PAIRS)), torch.zeros(len(ALGORITHMS), OPERATORS)
    for row, (pairs, heard) in enumerate(ALGORITHMS.values()):
        matrix[row, [PAIRS.index(pair) for pair in pairs]] = 1.0
        carrier[row, [number - 1 for number in heard]] = len(heard) ** -0.5
    return matrix, carrier


def halved(audio: Tensor, samples: int) -> Tensor:
    """Every second sample after a half-band filter without delay: (batch, 1, >= 2 samples) -> (batch, 1, samples).

    A windowed sinc: every second tap but the middle one is 0, so that it is a filter of the odd samples alone.
    """
    odd_taps = torch.from_numpy(_half_band()).to(audio)[None, None]
    even = audio[..., : 2 * samples : 2]
    odd = pad(audio[..., 1 : 2 * (samples + HALF_TAPS) : 2], (HALF_TAPS, 0))
    return 0.5 * even + conv1d(odd, odd_taps)[..., :samples]


@lru_cache(maxsize=1)
def _half_band() -> np.ndarray:
    """The taps at odd places, from -(2 HALF_TAPS - 1) to 2 HALF_TAPS - 1; together 1/2."""
    place = 2.0 * np.arange(-HALF_TAPS, HALF_TAPS) + 1.0
    taps = 0.5 * np.sinc(place / 2.0) * np.kaiser(4 * HALF_TAPS + 1, 9.0)[1::2]
    taps *= 0.5 / taps.sum()
    return np.asarray(taps)
