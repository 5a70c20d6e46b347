"""The drawbar organ."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import noise, oscillators
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.voices import Voices, read, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Choice, Parameter, Settings
from hitchain.blocks.registry import register

GEARS = (
    85 / 104,
    71 / 82,
    67 / 73,
    105 / 108,
    103 / 100,
    84 / 77,
    74 / 64,
    98 / 80,
    96 / 74,
    88 / 64,
    67 / 46,
    108 / 70,
)
"""Driving and driven teeth of the tone generator for C, C sharp, ... B, turned at 20 revolutions a second: how far its
notes are from equal temperament (Hammond; H. E. Hastings' list of gear ratios)."""

DRAWBARS = ("16", "5_1_3", "8", "4", "2_2_3", "2", "1_3_5", "1_1_3", "1")
STEPS = (-12, 7, 0, 12, 19, 24, 28, 31, 36)
"""[semitones] The pitch of each drawbar's wheel over the key's: thirds and fifths are tempered."""

REGISTRATION = (8.0, 4.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
NOTCH = 3.0
"""[dB] A drawbar's step from one figure to the next."""

REFERENCE = 10.0 ** (-21.0 / 20.0) * math.sqrt(2.0)
"""Amplitude of one drawbar at 8, which leaves room for chords of nine."""

SCANNER = 6.9
"""[Hz] The rate of the scanner vibrato, by the run motor."""

CLICK_TIME = 0.004
"""[s] Time constant of the click with which the contacts close and open."""


@register("instruments/organ")
class Organ(Instrument):
    """A tonewheel organ: for each key a sine from each of nine drawbars, percussion, key click, scanner vibrato.

        y(t) = gate(t) * (sum over i of a_i sin(2 pi f_i u(t)) + percussion exp(-t / T) sin(2 pi f_p u(t))) + click(t)
        a_i = (2 - 2^(1 - d_i)) 10^(-3 (8 - d_i) / 20)

    with d_i the drawbar's figure, 0 to 8, 3 dB a figure and silent at 0. The wheels turn at the gears' ratios, so some
    are a cent off, and thirds and fifths are tempered. The scanner runs along a delay line, u(t) = t - depth sin(...);
    chorus adds what comes without it. It keeps in step for all notes by the song's time as written. Every note sounds
    its percussion. Organs do not feel velocity unless asked to. A rotary speaker is among the effects.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of all keys"),
        *(
            Parameter(f"drawbar_{name}", 0.0, 8.0, default=figure, description=f"{name.replace('_', ' ')} foot")
            for name, figure in zip(DRAWBARS, REGISTRATION, strict=True)
        ),
        Parameter("percussion", 0.0, 1.0, default=0.5, description="how loud it strikes, 1 as a drawbar at 8"),
        Choice("percussion_harmonic", ("second", "third"), default="third", description="which it strikes"),
        Parameter("percussion_decay", 50.0, 2000.0, default=250.0, unit="ms", scale="log", description="to -60 dB"),
        Parameter("key_click", -60.0, 0.0, default=-24.0, unit="dB", description="of the contacts, beside a drawbar"),
        Parameter("vibrato_depth", 0.0, 0.6, default=0.15, unit="ms", description="of the scanner: V1 0.1, V3 0.4"),
        Parameter("chorus", 0.0, 1.0, default=1.0, description="0 vibrato alone, 1 with as much of what came in"),
        Parameter("release", 2.0, 500.0, default=8.0, unit="ms", scale="log"),
        Parameter("velocity_to_level", 0.0, 1.0, default=0.0, description="0 all notes alike, 1 follows velocity"),
    )
    probe: ClassVar[dict[str, float]] = {"velocity_to_level": 0.5}
    presets: ClassVar = {
        "jazz trio": {"percussion": 0.8, "drawbar_5_1_3": 8.0, "drawbar_16": 8.0, "vibrato_depth": 0.4},
        "full gospel": {f"drawbar_{name}": 8.0 for name in DRAWBARS} | {"percussion": 0.0, "level": -4.0},
        "soft flutes": {
            "drawbar_16": 0.0,
            "drawbar_5_1_3": 0.0,
            "drawbar_4": 5.0,
            "percussion": 0.0,
            "key_click": -50.0,
            "release": 60.0,
        },
    }

    def __init__(self, sample_rate: int = 44100) -> None:
        super().__init__(sample_rate)
        self.hop = max(8, 1 << round(math.log2(sample_rate / 690)))

    def tail(self, settings: Settings) -> float:
        return float(settings["release"].detach().max()) / 1000.0

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        slope = torch.full((1,), 2.0, dtype=settings["level"].dtype, device=settings["level"].device)
        clicks = noise.coloured(settings.get(SEED, 0), slope, self.sample_rate)

        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, settings, clicks)

        return render(notes, self.sample_rate, settings["release"] / 1000.0, voice, settings["level"].dtype)

    def _voice(self, voices: Voices, notes: Notes, settings: Settings, clicks: Tensor) -> Tensor:
        """(voices, span)."""
        knob = {p.name: voices.of(settings[p.name]) for p in self.parameters if isinstance(p, Parameter)}
        dtype = knob["level"].dtype
        velocity = voices.of(notes.velocity).to(dtype)
        gain = to_gain(knob["level"]) * (1.0 - knob["velocity_to_level"] * (1.0 - velocity)) * REFERENCE
        gain = gain * voices.of(notes.mask).to(dtype)
        since, duration = voices.since(notes.onset), voices.of(notes.duration)
        hertz, amplitude = self._wheels(voices, notes, settings, knob)
        fall = torch.zeros_like(hertz)
        fall[:, len(STEPS) :] = (math.log(1000.0) * 1000.0 / knob["percussion_decay"].double())[:, None]

        time = voices.time(notes.onset)
        started = voices.of(notes.beat * notes.beat_length).detach().double()
        swing = torch.sin(2.0 * math.pi * SCANNER * (time + started[:, None]))
        late = time - (knob["vibrato_depth"].double() / 1000.0)[:, None] * (1.0 + swing)
        bank = hertz, fall * (self.hop / self.sample_rate), since * (self.sample_rate / self.hop), self.hop
        sound = self._bank(late, gain[:, None] * amplitude / (1.0 + knob["chorus"])[:, None], *bank)
        if knob["chorus"].requires_grad or bool(knob["chorus"].any()):
            share = knob["chorus"] / (1.0 + knob["chorus"])
            sound = sound + self._bank(time, gain[:, None] * amplitude * share[:, None], *bank)
        sound = sound + self._click(voices, notes, knob, gain, clicks, time)
        full, soon = torch.ones_like(gain), torch.full_like(gain, 0.001)
        release = knob["release"] / 1000.0
        return sound * adsr(since, duration, soon, full, full, release, self.sample_rate, voices.span)

    @staticmethod
    def _bank(phase: Tensor, amplitude: Tensor, hertz: Tensor, fall: Tensor, offset: Tensor, hop: int) -> Tensor:
        return oscillators.harmonic_bank(phase, hertz, amplitude, fall, offset, hop)

    def _wheels(
        self, voices: Voices, notes: Notes, settings: Settings, knob: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Frequency [Hz] and amplitude of each drawbar's sine, then of both percussions': (voices, 11)."""
        steps = torch.tensor([*STEPS, 12, 19], dtype=torch.float64, device=settings["level"].device)
        key = voices.of(notes.pitch).double()[:, None] + steps
        wheel = torch.round(key.detach())
        cents = torch.tensor(_off_pitch(), dtype=torch.float64, device=key.device)[wheel.long() % 12]
        hertz = midi_to_hz(key + cents / 100.0)
        figures = torch.stack([knob[f"drawbar_{name}"] for name in DRAWBARS], dim=1)
        drawn = (1.0 - torch.exp2(-figures)) / (1.0 - 2.0**-8) * to_gain(-NOTCH * (8.0 - figures))
        struck = settings["percussion_harmonic"][voices.row] * knob["percussion"][:, None]
        amplitude = torch.cat([drawn, struck.to(drawn)], dim=1)
        return hertz, amplitude * oscillators.below_nyquist(hertz, self.sample_rate).to(amplitude.dtype)

    def _click(
        self, voices: Voices, notes: Notes, knob: dict[str, Tensor], gain: Tensor, clicks: Tensor, time: Tensor
    ) -> Tensor:
        """Bright noise that dies in milliseconds after the key goes down: (voices, span)."""
        row = torch.zeros_like(voices.row)
        rustle = read(clicks, row, voices.noise_position(notes), voices.span)
        level = gain * to_gain(knob["key_click"])
        return rustle * level[:, None] * torch.exp(-time / CLICK_TIME).to(gain.dtype)


def _off_pitch() -> list[float]:
    """[cents] From equal temperament, of C, C sharp, ... B; A is 440 Hz exactly. A wheel's teeth are powers of 2."""
    octaves = [math.log2(20.0 * ratio / 440.0) - (key - 9) / 12.0 for key, ratio in enumerate(GEARS)]
    return [1200.0 * (octave - round(octave)) for octave in octaves]
