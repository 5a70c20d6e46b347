"""The subtractive synthesiser."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import noise, oscillators, subtractive_voice
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Parameter, Settings
from hitchain.blocks.registry import register

REFERENCE = 10.0 ** (-18.0 / 20.0) * math.sqrt(3.0)
"""Amplitude of a full saw at a level of 0 dB and full velocity: its RMS is -18 dBFS, which leaves room for chords."""

VIBRATO_DELAY = 0.3
"""[s] in which the vibrato fades in after an onset (time constant)."""

HARMONICS = oscillators.HIGHEST_BIN // 2
"""Harmonics of the oscillators at most: up to 22 kHz from 21.5 Hz on."""

TIMES = (
    *("filter_attack", "filter_decay", "filter_release"),
    *("attack", "decay", "release"),
)
SUSTAINS = ("filter_sustain", "sustain")

BRIGHTEST = 0.49
"""The cutoff stays below this fraction of the sample rate."""


@register("instruments/subtractive")
class Subtractive(Instrument):
    """Band-limited oscillators -> resonant low-pass with its own envelope -> amplifier, for every voice of its own.

        y(t) = gain * adsr(t) * lowpass(oscillators + noise; cutoff(t), resonance)
        cutoff(t) = cutoff * 2^(envelope_amount * filter_adsr(t) + key_tracking * (pitch - 60) / 12
                                + velocity_to_cutoff * (velocity - 1))

    Both oscillators play the same mix of saw, pulse and triangle, the second one detuned; the sub oscillator is a
    square an octave below. Waveforms are summed from their Fourier series up to the Nyquist frequency, so nothing
    aliases. The filter is a state-variable filter by the topology-preserving transform (Zavalishin, 2012). The more it
    resonates, the less goes in (by the square root of Q). Phases start at 0 at the onset.

    Args:
        sample_rate: [Hz].
        poles: 2 (12 dB per octave) or 4 (24: a Butterworth section follows the resonant one).
    """

    parameters = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of a note at full velocity"),
        Parameter("saw", 0.0, 1.0, default=0.8, description="in the mix of both oscillators"),
        Parameter("pulse", 0.0, 1.0, default=0.2, description="in the mix of both oscillators"),
        Parameter("triangle", 0.0, 1.0, default=0.0, description="in the mix of both oscillators"),
        Parameter("pulse_width", 0.05, 0.95, default=0.4, description="part of the period for which the pulse is high"),
        Parameter("second_oscillator", 0.0, 1.0, default=0.6, description="level beside the first"),
        Parameter("detune", -50.0, 50.0, default=7.0, unit="cents", description="of the second oscillator"),
        Parameter("sub", 0.0, 1.0, default=0.2, description="square wave an octave below"),
        Parameter("noise", 0.0, 1.0, default=0.01, description="white noise"),
        Parameter("cutoff", 30.0, 18000.0, default=900.0, unit="Hz", scale="log"),
        Parameter("resonance", 0.5, 20.0, default=1.0, scale="log", description="Q of the filter"),
        Parameter("envelope_amount", -4.0, 6.0, default=2.0, unit="octaves", description="filter envelope to cutoff"),
        Parameter("key_tracking", 0.0, 1.0, default=0.5, description="cutoff follows the pitch, 1 fully"),
        Parameter("velocity_to_cutoff", 0.0, 4.0, default=1.0, unit="octaves", description="how dark soft notes are"),
        Parameter("filter_attack", 1.0, 2000.0, default=3.0, unit="ms", scale="log"),
        Parameter("filter_decay", 10.0, 10000.0, default=700.0, unit="ms", scale="log"),
        Parameter("filter_sustain", 0.0, 1.0, default=0.3),
        Parameter("filter_release", 5.0, 5000.0, default=250.0, unit="ms", scale="log"),
        Parameter("attack", 1.0, 2000.0, default=5.0, unit="ms", scale="log"),
        Parameter("decay", 10.0, 10000.0, default=1500.0, unit="ms", scale="log"),
        Parameter("sustain", 0.0, 1.0, default=0.7, description="level held after the decay"),
        Parameter("release", 5.0, 5000.0, default=250.0, unit="ms", scale="log"),
        Parameter("velocity_to_level", 0.0, 1.0, default=0.8, description="0 all notes alike, 1 follows velocity"),
        Parameter("vibrato_rate", 0.1, 12.0, default=5.0, unit="Hz", scale="log"),
        Parameter("vibrato_depth", 0.0, 100.0, default=3.0, unit="cents", description="swing to either side"),
    )
    probe: ClassVar[dict[str, float]] = {"pulse": 0.5, "triangle": 0.3, "noise": 0.1, "vibrato_depth": 30.0}

    presets: ClassVar = {
        "lead": {
            "saw": 0.9,
            "pulse": 0.3,
            "second_oscillator": 0.9,
            "detune": 11.0,
            "sub": 0.1,
            "cutoff": 1800.0,
            "resonance": 2.0,
            "envelope_amount": 1.8,
            "filter_decay": 500.0,
            "filter_sustain": 0.6,
            "sustain": 0.9,
            "release": 180.0,
            "vibrato_depth": 14.0,
        },
        "bass": {
            "saw": 0.7,
            "pulse": 0.4,
            "second_oscillator": 0.4,
            "detune": 4.0,
            "sub": 0.7,
            "cutoff": 220.0,
            "resonance": 1.6,
            "envelope_amount": 2.6,
            "filter_attack": 1.0,
            "filter_decay": 220.0,
            "filter_sustain": 0.1,
            "attack": 2.0,
            "decay": 600.0,
            "sustain": 0.6,
            "release": 60.0,
            "vibrato_depth": 0.0,
            "noise": 0.0,
        },
        "soft chords": {
            "saw": 0.5,
            "pulse": 0.0,
            "triangle": 0.6,
            "second_oscillator": 0.9,
            "detune": -9.0,
            "sub": 0.0,
            "cutoff": 700.0,
            "resonance": 0.7,
            "envelope_amount": 1.0,
            "filter_attack": 600.0,
            "filter_decay": 3000.0,
            "filter_sustain": 0.6,
            "attack": 220.0,
            "sustain": 0.85,
            "release": 900.0,
            "velocity_to_cutoff": 2.0,
            "level": 3.0,
        },
    }

    def __init__(self, sample_rate: int = 44100, poles: int = 2) -> None:
        super().__init__(sample_rate)
        if poles not in (2, 4):
            raise ValueError(f"poles must be 2 or 4, not {poles}")
        self.poles = poles

    def tail(self, settings: Settings) -> float:
        return float(settings["release"].detach().max()) / 1000.0

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        level = settings["level"]
        white = noise.table(int(settings.get(SEED, 0))).to(dtype=level.dtype, device=level.device)

        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, settings, white)

        return render(notes, self.sample_rate, settings["release"] / 1000.0, voice, dtype=level.dtype, ragged=True)

    def _voice(self, voices: Voices, notes: Notes, settings: Settings, white: Tensor) -> Tensor:
        """(voices, span)."""
        knob = {name: voices.of(settings[name]) for name in (parameter.name for parameter in self.parameters)}
        velocity = voices.of(notes.velocity).to(knob["level"].dtype)
        pitch = voices.of(notes.pitch).double()
        loudness = 1.0 - knob["velocity_to_level"] * (1.0 - velocity)
        gain = to_gain(knob["level"]) * loudness * voices.of(notes.mask).to(velocity.dtype) * REFERENCE
        gain = gain / torch.sqrt(knob["resonance"] * math.sqrt(2.0))

        low, high = self._tables(midi_to_hz(pitch), knob, gain)
        shape = {name: knob[name] / 1000.0 for name in TIMES} | {name: knob[name] for name in SUSTAINS}
        closed, opened = self._cutoffs(pitch, velocity, knob)
        motion = {
            "since": voices.since(notes.onset),
            "duration": voices.of(notes.duration),
            "frequency": midi_to_hz(pitch),
            "vibrato_depth": _cents(knob["vibrato_depth"]) - 1.0,
            "vibrato_rate": knob["vibrato_rate"],
            "vibrato_onset_rate": torch.full_like(pitch, 1.0 / VIBRATO_DELAY),
            "ratio": _cents(knob["detune"]),
        }
        rest = {"hiss": gain * knob["noise"], "closed": closed, "opened": opened, "damping": 1.0 / knob["resonance"]}
        place = voices.noise_position(notes)
        return subtractive_voice.play({**motion, **rest, **shape}, low, high, white, place, voices, self.poles)

    def _cutoffs(self, pitch: Tensor, velocity: Tensor, knob: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """log2 of the cutoff [Hz] at both ends of the envelope's way. Both are held below the limit, softly: no
        gradient dies."""
        octaves = knob["key_tracking"] * ((pitch - 60.0) / 12.0).to(velocity.dtype)
        octaves = torch.log2(knob["cutoff"]) + octaves + knob["velocity_to_cutoff"] * (velocity - 1.0)
        return self._limit(octaves), self._limit(octaves + knob["envelope_amount"])

    def _limit(self, octaves: Tensor) -> Tensor:
        """log2 of a frequency f -> log2 of f / (1 + (f / limit)^3)^(1/3), which stays below the limit."""
        limit = math.log2(BRIGHTEST * self.sample_rate)
        sharpness = 3.0 * math.log(2.0)
        return limit - torch.nn.functional.softplus((limit - octaves) * sharpness) / sharpness

    def _tables(self, frequency: Tensor, knob: dict[str, Tensor], gain: Tensor) -> tuple[Tensor, Tensor]:
        """The first oscillator with its sub, and the second, as waveform tables: (voices, TABLE_SIZE)."""
        highest = frequency * _cents(knob["vibrato_depth"])
        sine, cosine = _waveform(knob)
        first = self._audible(highest).to(gain.dtype) * gain[:, None]
        second = self._audible(highest * _cents(knob["detune"])).to(gain.dtype)
        second = second * (gain * knob["second_oscillator"])[:, None]
        odd = 2.0 * _harmonics(sine) - 1.0
        heard = oscillators.below_nyquist(odd * highest[:, None] / 2.0, self.sample_rate).to(gain.dtype)
        sub = (4.0 / math.pi) / odd * heard * (gain * knob["sub"])[:, None]

        # in a table that turns at half the note's frequency, the first oscillator has the even bins, the sub odd ones
        low_sine, low_cosine = _interleave(sine * first, sub), _interleave(cosine * first, torch.zeros_like(sub))
        low = oscillators.waveform_tables(low_sine, low_cosine)
        return low, oscillators.waveform_tables(_from_one(sine * second), _from_one(cosine * second))

    def _audible(self, frequency: Tensor) -> Tensor:
        """How much of each harmonic to keep: (voices, HARMONICS), float64. The table's end fades like the band's."""
        number = _harmonics(frequency)
        end = oscillators.below_nyquist(number, 2 * HARMONICS)
        return oscillators.below_nyquist(frequency[:, None] * number, self.sample_rate) * end


def _waveform(knob: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The Fourier series of the mixed waveforms, each of amplitude 1: sines and cosines, (voices, HARMONICS).

    Saw: 2 / (pi k) sin(kx). Triangle: 8 / (pi k)^2 sin(k pi / 2) sin(kx). Pulse, high for the width d of a period:
    2 / (pi k) ((1 - cos(2 pi k d)) sin(kx) + sin(2 pi k d) cos(kx)), its mean left out.
    """
    number = _harmonics(knob["saw"])
    ramp = 2.0 / (math.pi * number)
    corner = 2.0 * ramp.square() * (number % 2) * (2.0 - number % 4)
    turn = 2.0 * math.pi * knob["pulse_width"][:, None] * number
    pulse = knob["pulse"][:, None] * ramp
    sine = knob["saw"][:, None] * ramp + knob["triangle"][:, None] * corner + pulse * (1.0 - torch.cos(turn))
    return sine, pulse * torch.sin(turn)


def _cents(cents: Tensor) -> Tensor:
    """A frequency ratio, in float64."""
    return torch.exp2(cents.double() / 1200.0)


def _harmonics(like: Tensor) -> Tensor:
    """1 to HARMONICS, with the dtype and device of `like`."""
    return torch.arange(1, HARMONICS + 1, dtype=like.dtype, device=like.device)


def _interleave(even: Tensor, odd: Tensor) -> Tensor:
    """Series coefficients from bin 0 up, where `even` holds bins 2, 4, ... and `odd` 1, 3, ...: (voices, 2 n + 1)."""
    return _from_one(torch.stack([odd, even], dim=-1).flatten(1))


def _from_one(coefficients: Tensor) -> Tensor:
    """Prepend a zero mean."""
    return torch.nn.functional.pad(coefficients, (1, 0))
