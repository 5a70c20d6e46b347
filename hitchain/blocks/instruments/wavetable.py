"""The wavetable synthesiser, and its bank of waveforms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import oscillators, wavetable
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

REFERENCE = 10.0 ** (-18.0 / 20.0)
"""RMS of a note at a level of 0 dB and full velocity: -18 dBFS leaves room for chords."""

SIZE, HARMONICS, FRAMES = 4096, 512, 8
LEVELS_AN_OCTAVE = 3
LEVELS = LEVELS_AN_OCTAVE * 9 + 1
"""Each level of the bank keeps fewer harmonics than the one before: 512, 406, 323, ... down to the first alone."""

TABLES = ("analog", "vocal", "digital")
UNISON_PHASES = (0.0, 0.37, 0.71)
"""[turns] Where the oscillators begin, so that they do not all start together."""

FORMANTS = (
    *((300.0, 870.0, 2240.0), (440.0, 1020.0, 2240.0), (570.0, 840.0, 2410.0), (730.0, 1090.0, 2440.0)),
    *((660.0, 1720.0, 2410.0), (530.0, 1840.0, 2480.0), (390.0, 1990.0, 2550.0), (270.0, 2290.0, 3010.0)),
)
"""[Hz] of English vowels, from "who'd" to "heed" (G. E. Peterson and H. L. Barney, JASA 24, 1952, men's means)."""


def _analog(number: Tensor) -> list[Tensor]:
    """Sine, triangle, darker saw, saw, saw and square, square, pulses of a quarter and of a tenth: sine amplitudes."""
    saw, odd = 1.0 / number, number % 2
    square, corner = odd / number, odd * (2.0 - number % 4) / number.square()
    pulses = [torch.sin(math.pi * number * width) / number for width in (0.25, 0.1)]
    dark = saw * torch.exp(-((number / 8.0) ** 2))
    return [(number == 1).double(), corner, dark, saw, saw + 2.0 * square, square, *pulses]


def _vocal(number: Tensor) -> list[Tensor]:
    """Vowels sung on a pitch of 110 Hz: a source that falls by 12 dB an octave through three resonances."""
    hertz, frames = 110.0 * number, []
    for formants in FORMANTS:
        width = hertz.new_tensor([[60.0], [90.0], [120.0]])
        centre = hertz.new_tensor(formants)[:, None]
        resonance = 1.0 / torch.sqrt((1.0 - (hertz / centre) ** 2) ** 2 + (width * hertz / centre**2) ** 2)
        frames.append(resonance.prod(dim=0) / number)
    return frames


def _digital(number: Tensor) -> list[Tensor]:
    """sin(x + i sin 3x), by its series, for eight depths of modulation i."""
    x = torch.arange(SIZE, dtype=torch.float64) * (2.0 * math.pi / SIZE)
    waves = [torch.sin(x + 0.7 * depth * torch.sin(3.0 * x)) for depth in range(FRAMES)]
    return [-2.0 / SIZE * torch.fft.rfft(wave).imag[1 : len(number) + 1] for wave in waves]


@lru_cache(maxsize=8)
def bank(table: str, dtype: torch.dtype) -> Tensor:
    """A table's waveforms at every level: (LEVELS, FRAMES, SIZE), each whole one of unit RMS. Do not write into it."""
    number = torch.arange(1, HARMONICS + 1, dtype=torch.float64)
    frames = torch.stack({"analog": _analog, "vocal": _vocal, "digital": _digital}[table](number))
    frames = frames * math.sqrt(2.0) / frames.square().sum(dim=1, keepdim=True).sqrt()
    kept = HARMONICS * 2.0 ** (-torch.arange(LEVELS, dtype=torch.float64) / LEVELS_AN_OCTAVE)
    series = frames * (number <= kept[:, None, None] + 1e-6)
    spectrum = torch.zeros(LEVELS, FRAMES, SIZE // 2 + 1, dtype=torch.complex128)
    spectrum[..., 1 : HARMONICS + 1] = -0.5j * SIZE * series
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        waves: Tensor = torch.fft.irfft(spectrum, n=SIZE).to(dtype)
    return waves


@register("instruments/wavetable")
class Wavetable(Instrument):
    """Oscillators that read a bank of waveforms at a place that an envelope moves.

        y(t) = gain * adsr(t) * sum over three oscillators of g_u wave(place(t), f 2^(detune_u / 1200) t)
        place(t) = position + (envelope_position - position) * position_adsr(t)

    Each table has eight waveforms, given by formulas: `analog` from sine to narrow pulse, `vocal` from oo to ee by
    published formants, `digital` a frequency modulation growing deeper. Places between are linear blends, and so are
    blends of tables. A note reads the level of the bank whose harmonics stay below the Nyquist frequency, three levels
    an octave, so that nothing folds. The two other oscillators are detuned up and down. The bank is fixed.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of a note at full velocity"),
        Choice("table", TABLES, default="analog", description="which waveforms"),
        Parameter("position", 0.0, 1.0, default=0.3, description="in the table, where the note begins and ends"),
        Parameter("envelope_position", 0.0, 1.0, default=0.6, description="in the table, where its envelope leads"),
        Parameter("position_attack", 1.0, 5000.0, default=150.0, unit="ms", scale="log"),
        Parameter("position_decay", 10.0, 10000.0, default=1200.0, unit="ms", scale="log"),
        Parameter("position_sustain", 0.0, 1.0, default=0.3),
        Parameter("unison", 0.0, 1.0, default=0.5, description="level of the two detuned oscillators"),
        Parameter("detune", 0.0, 50.0, default=9.0, unit="cents", description="of those two, up and down"),
        Parameter("attack", 1.0, 2000.0, default=6.0, unit="ms", scale="log"),
        Parameter("decay", 10.0, 10000.0, default=1500.0, unit="ms", scale="log"),
        Parameter("sustain", 0.0, 1.0, default=0.7, description="level held after the decay"),
        Parameter("release", 5.0, 5000.0, default=250.0, unit="ms", scale="log"),
        Parameter("velocity_to_level", 0.0, 1.0, default=0.8, description="0 all notes alike, 1 follows velocity"),
    )
    presets: ClassVar = {
        "singing pad": {
            "table": "vocal",
            "position": 0.1,
            "envelope_position": 0.55,
            "position_attack": 1500.0,
            "attack": 400.0,
            "release": 900.0,
            "unison": 0.9,
            "detune": 14.0,
            "sustain": 0.9,
        },
        "digital bell": {
            "table": "digital",
            "position": 0.05,
            "envelope_position": 0.9,
            "position_attack": 1.0,
            "position_decay": 500.0,
            "position_sustain": 0.0,
            "sustain": 0.0,
            "decay": 2500.0,
            "unison": 0.2,
        },
        "pulse bass": {
            "position": 0.45,
            "envelope_position": 0.95,
            "position_attack": 1.0,
            "position_decay": 300.0,
            "unison": 0.0,
            "attack": 2.0,
            "release": 60.0,
            "position_sustain": 0.1,
        },
    }

    def tail(self, settings: Settings) -> float:
        return float(settings["release"].detach().max()) / 1000.0

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        weights = settings["table"]
        needed = weights.requires_grad | (weights.detach() != 0.0).any(dim=0)
        chosen = {index: name for index, name in enumerate(TABLES) if bool(needed[index])}

        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, settings, chosen)

        return render(notes, self.sample_rate, settings["release"] / 1000.0, voice, settings["level"].dtype)

    def _voice(self, voices: Voices, notes: Notes, settings: Settings, chosen: Mapping[int, str]) -> Tensor:
        """(voices, span)."""
        knob = {p.name: voices.of(settings[p.name]) for p in self.parameters if isinstance(p, Parameter)}
        dtype = knob["level"].dtype
        velocity = voices.of(notes.velocity).to(dtype)
        loudness = 1.0 - knob["velocity_to_level"] * (1.0 - velocity)
        gain = to_gain(knob["level"]) * loudness * voices.of(notes.mask).to(dtype) * REFERENCE
        since, duration = voices.since(notes.onset), voices.of(notes.duration)
        moving, swelling = (
            adsr(since, duration, attack / 1000.0, decay / 1000.0, sustain, release, voices.sample_rate, voices.span)
            for attack, decay, sustain, release in (
                (*(knob[f"position_{name}"] for name in ("attack", "decay", "sustain")), knob["release"] / 1000.0),
                (*(knob[name] for name in ("attack", "decay", "sustain")), knob["release"] / 1000.0),
            )
        )
        way = knob["envelope_position"] - knob["position"]
        place = (FRAMES - 1.0) * (knob["position"][:, None] + way[:, None] * moving)

        turned = knob["detune"].double()[:, None] * torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64).to(gain.device)
        frequency = midi_to_hz(voices.of(notes.pitch).double())[:, None] * torch.exp2(turned / 1200.0)
        share = torch.stack([torch.ones_like(gain), knob["unison"], knob["unison"]], dim=1)
        share = share / torch.sqrt(1.0 + 2.0 * knob["unison"].square())[:, None]
        share = share * oscillators.below_nyquist(frequency, self.sample_rate).to(dtype)
        phase = torch.tensor(UNISON_PHASES, dtype=torch.float64, device=gain.device)
        sound = torch.zeros_like(place)
        for index, name in chosen.items():
            loud = (gain * settings["table"][voices.row, index].to(dtype))[:, None] * share
            waves = bank(name, dtype).to(gain.device)
            sound = sound + wavetable.scan(waves, self._level(frequency), since, frequency, phase, loud, place, voices)
        return sound * swelling

    def _level(self, frequency: Tensor) -> Tensor:
        """The first level whose highest harmonic is below the Nyquist frequency: int64 (voices,)."""
        highest = frequency.detach().amax(dim=1) * (HARMONICS / (0.499 * self.sample_rate))
        octaves = torch.log2(highest.clamp_min(1.0))
        return torch.ceil(LEVELS_AN_OCTAVE * octaves - 1e-9).clamp(0, LEVELS - 1).to(torch.int64)
