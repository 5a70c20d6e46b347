"""The additive synthesiser."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import additive_voice, noise, oscillators
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Parameter, Settings
from hitchain.blocks.registry import register

OCTAVE_STEP = 20.0 * math.log10(2.0)
"""[dB] by which an amplitude falls in an octave where it is inverse to the frequency."""

REFERENCE = 10.0 ** (-18.0 / 20.0)
"""RMS of one held note at a level of 0 dB and full velocity: -18 dBFS leaves room for chords."""


@register("instruments/additive")
class Additive(Instrument):
    """A bank of sines and coloured noise under one envelope, after Engel et al., DDSP (ICLR 2020).

        y(t) = gain * adsr(t) * (sum over k of a[k] e[k](t) sin(2 pi r[k] phase(t)) + noise)

    Partial k = 1, 2, ... stands at r[k] = k sqrt((1 + B k^2) / (1 + B)) times the note's frequency, as on a stiff
    string (Fletcher, 1964), B being the inharmonicity. Its amplitude a[k] falls by the brightness per octave, the sum
    of the squares kept constant; e[k](t) = exp(-damping (k - 1) t). Partials fade out below the Nyquist frequency,
    vibrato included. Phases start at 0 at the onset.

    Args:
        sample_rate: [Hz].
        harmonics: the number of partials, 1 or more.
    """

    parameters = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of a note at full velocity"),
        Parameter("brightness", -24.0, 0.0, default=-10.0, unit="dB/octave", description="slope of the partials"),
        Parameter("odd_even", -1.0, 1.0, default=-0.2, description="-1 odd partials only, 1 the first and even ones"),
        Parameter("inharmonicity", 1e-6, 3e-3, default=1e-4, scale="log", description="stiffness of the string"),
        Parameter("damping", 0.0, 10.0, default=0.6, unit="1/s", description="how much faster higher partials decay"),
        Parameter("attack", 1.0, 2000.0, default=4.0, unit="ms", scale="log"),
        Parameter("decay", 10.0, 10000.0, default=2500.0, unit="ms", scale="log"),
        Parameter("sustain", 0.0, 1.0, default=0.2, description="level held after the decay"),
        Parameter("release", 5.0, 5000.0, default=250.0, unit="ms", scale="log"),
        Parameter("vibrato_rate", 0.1, 12.0, default=5.0, unit="Hz", scale="log"),
        Parameter("vibrato_depth", 0.0, 100.0, default=4.0, unit="cents", description="swing to either side"),
        Parameter("vibrato_delay", 10.0, 3000.0, default=400.0, unit="ms", scale="log", description="time to fade in"),
        Parameter("noise_level", -80.0, 0.0, default=-50.0, unit="dB", description="breath, beside the partials"),
        Parameter("noise_colour", -12.0, 6.0, default=-4.0, unit="dB/octave", description="slope of the noise"),
        Parameter("velocity_to_level", 0.0, 1.0, default=0.8, description="0 all notes alike, 1 follows velocity"),
        Parameter(
            "velocity_to_brightness", 0.0, 24.0, default=8.0, unit="dB/octave", description="how dark soft notes are"
        ),
    )
    probe: ClassVar[dict[str, float]] = {"vibrato_depth": 30.0, "vibrato_delay": 100.0, "noise_level": -20.0}

    presets: ClassVar = {
        "lead": {
            "brightness": -6.0,
            "odd_even": 0.0,
            "inharmonicity": 1e-6,
            "damping": 0.0,
            "attack": 12.0,
            "sustain": 0.9,
            "release": 150.0,
            "vibrato_depth": 18.0,
            "noise_level": -42.0,
        },
        "bass": {
            "brightness": -9.0,
            "odd_even": -0.1,
            "inharmonicity": 2e-4,
            "damping": 2.5,
            "attack": 2.0,
            "decay": 1800.0,
            "sustain": 0.3,
            "release": 80.0,
            "vibrato_depth": 0.0,
            "noise_level": -60.0,
        },
        "soft chords": {
            "brightness": -13.0,
            "odd_even": -0.6,
            "damping": 0.2,
            "attack": 180.0,
            "decay": 5000.0,
            "sustain": 0.7,
            "release": 900.0,
            "vibrato_depth": 6.0,
            "noise_level": -46.0,
            "level": 2.0,
        },
    }

    def __init__(self, sample_rate: int = 44100, harmonics: int = 64) -> None:
        super().__init__(sample_rate)
        if harmonics < 1:
            raise ValueError(f"harmonics must be 1 or more, not {harmonics}")
        self.harmonics = harmonics
        self.hop = max(8, 1 << round(math.log2(sample_rate / 690)))

    def tail(self, settings: Settings) -> float:
        return float(settings["release"].detach().max()) / 1000.0

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        colours = noise.coloured(settings.get(SEED, 0), settings["noise_colour"], self.sample_rate)

        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, settings, colours)

        return render(
            notes, self.sample_rate, settings["release"] / 1000.0, voice, settings["level"].dtype, ragged=True
        )

    def _voice(self, voices: Voices, notes: Notes, settings: Settings, colours: Tensor) -> Tensor:
        """(voices, span). The partials' levels follow their decay at every `hop` samples counted from the onset."""
        knob = {name: voices.of(settings[name]) for name in (parameter.name for parameter in self.parameters)}
        velocity = voices.of(notes.velocity).to(knob["level"].dtype)
        loudness = 1.0 - knob["velocity_to_level"] * (1.0 - velocity)
        gain = to_gain(knob["level"]) * loudness * voices.of(notes.mask).to(velocity.dtype) * REFERENCE
        frequency = midi_to_hz(voices.of(notes.pitch).double())
        depth = torch.exp2(knob["vibrato_depth"].double() / 1200.0) - 1.0
        ratio = self._ratios(knob["inharmonicity"].double())
        highest = ratio * (frequency * (1.0 + depth))[:, None]
        keep = oscillators.below_nyquist(highest, self.sample_rate).to(gain.dtype)
        number = torch.arange(self.harmonics, dtype=torch.float64, device=gain.device)
        shape = {name: knob[name] / 1000.0 for name in ("attack", "decay", "release")}
        motion = {
            "since": voices.since(notes.onset),
            "duration": voices.of(notes.duration),
            "frequency": frequency,
            "vibrato_depth": depth,
            "vibrato_rate": knob["vibrato_rate"],
            "vibrato_onset_rate": 1000.0 / knob["vibrato_delay"],
            "hiss": gain * to_gain(knob["noise_level"]),
            "sustain": knob["sustain"],
        }
        return additive_voice.play(
            {**motion, **shape},
            ratio,
            gain[:, None] * self._amplitudes(knob, velocity, keep),
            knob["damping"][:, None] * number * (self.hop / self.sample_rate),
            colours,
            voices.noise_position(notes),
            voices,
            self.hop,
            top=(highest.detach() < self.sample_rate / 2).sum(dim=1),
        )

    def _ratios(self, inharmonicity: Tensor) -> Tensor:
        """Frequency of each partial relative to the first: (voices, harmonics)."""
        number = torch.arange(1, self.harmonics + 1, dtype=inharmonicity.dtype, device=inharmonicity.device)
        stiffness = inharmonicity[:, None]
        return number * torch.sqrt((1.0 + stiffness * number.square()) / (1.0 + stiffness))

    def _amplitudes(self, knob: dict[str, Tensor], velocity: Tensor, keep: Tensor) -> Tensor:
        """Amplitude of each partial at the onset, of unit RMS together: (voices, harmonics)."""
        number = torch.arange(1, self.harmonics + 1, dtype=velocity.dtype, device=velocity.device)
        slope = knob["brightness"] - knob["velocity_to_brightness"] * (1.0 - velocity)
        parity = torch.where(number % 2 == 0, 1.0, -1.0).to(number) * (number > 1)
        amplitude = torch.exp(torch.log(number) * (slope / OCTAVE_STEP)[:, None])
        amplitude = amplitude * (1.0 + knob["odd_even"][:, None] * parity)
        # the first partial counts in full, so that a note beyond the band fades out instead of dividing by zero
        power = 1.0 + (amplitude * keep)[:, 1:].square().sum(dim=1, keepdim=True)
        return amplitude * keep * torch.sqrt(2.0 / power)
