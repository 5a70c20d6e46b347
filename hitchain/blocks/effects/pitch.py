"""Other pitches at the same speed: a shifter, a harmoniser and an octaver."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import filters
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.formants import with_formants_of
from hitchain.blocks.dsp.grains import transposed
from hitchain.blocks.dsp.section_filter import filter_sections
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register


def _shifted(audio: Tensor, semitones: Tensor, sample_rate: int, settings: Settings) -> Tensor:
    start = float(settings[START]) if START in settings else 0.0
    return transposed(audio, torch.exp2(semitones.double() / 12.0), sample_rate, start)


@register("effects/pitch_shifter")
class PitchShifter(Block):
    """Pitch shifter in the time domain: y = (1 - mix) x + mix shifted(x).

    The input is cut into grains of 40 ms, each read 2^(semitones / 12) times as fast and taken from where its wave
    fits the one before (Verhelst and Roelands 1993; see `dsp.grains`). Best for one voice at a time; chords and drums
    keep their attacks but waver. Nothing is late: grains look up to 20 ms ahead.

    Args:
        sample_rate: [Hz].
        keep_formants: the envelope of the spectrum stays where it was, by its cepstrum: a voice keeps its vowels.
    """

    parameters = (
        Parameter("semitones", -12.0, 12.0, default=7.0, unit="semitones", description="up or down"),
        Parameter("mix", 0.0, 1.0, default=0.5, varying=True, description="0 dry, 1 shifted only"),
    )
    presets: ClassVar = {
        "fifth above": {"semitones": 7.0, "mix": 0.4},
        "octave below": {"semitones": -12.0, "mix": 0.5},
        "detune": {"semitones": 0.12, "mix": 0.5},
    }

    def __init__(self, sample_rate: int = 44100, keep_formants: bool = False) -> None:
        super().__init__(sample_rate)
        self.keep_formants = bool(keep_formants)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        wet = _shifted(audio, settings["semitones"], self.sample_rate, settings)
        if self.keep_formants:
            wet = with_formants_of(audio, wet, self.sample_rate)
        return audio + over_audio(settings["mix"], audio.shape[-1]) * (wet - audio)

    def tail(self, settings: Settings) -> float:
        return 0.1


@register("effects/harmoniser")
class Harmoniser(Block):
    """Two voices at fixed intervals beside the dry one: y = x + sum over voices of 10^(level / 20) pan shifted(x).

    The first voice stands to the left and the second to the right by `spread`, at equal power: with
    a = pi/4 (1 +- spread), gains sqrt(2) (cos a, sin a). Voices are transposed as by effects/pitch_shifter.
    """

    parameters = (
        Parameter("interval_1", -12.0, 12.0, default=4.0, unit="semitones", description="of the first voice"),
        Parameter("interval_2", -12.0, 12.0, default=7.0, unit="semitones", description="of the second voice"),
        Parameter("level_1", -48.0, 6.0, default=-9.0, unit="dB", varying=True, description="of the first voice"),
        Parameter("level_2", -48.0, 6.0, default=-9.0, unit="dB", varying=True, description="of the second voice"),
        Parameter("spread", 0.0, 1.0, default=0.6, description="voices 0 in the middle, 1 hard left and right"),
    )
    presets: ClassVar = {
        "major": {"interval_1": 4.0, "interval_2": 7.0},
        "octaves": {"interval_1": -12.0, "interval_2": 12.0, "level_2": -14.0},
        "double track": {"interval_1": -0.09, "interval_2": 0.11, "spread": 1.0, "level_1": -4.0, "level_2": -4.0},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        output = audio
        for voice, side in ((1, -1.0), (2, 1.0)):
            shifted = _shifted(audio, settings[f"interval_{voice}"], self.sample_rate, settings)
            angle = (math.pi / 4.0) * (1.0 + side * settings["spread"])[:, None, None]
            gains = torch.cat([torch.cos(angle), torch.sin(angle)], dim=1) * math.sqrt(2.0)
            output = output + over_audio(to_gain(settings[f"level_{voice}"]), audio.shape[-1]) * gains * shifted
        return output

    def tail(self, settings: Settings) -> float:
        return 0.1


@register("effects/octaver")
class Octaver(Block):
    """An octave below and an octave above: y = dry x + down low_pass(x / 2) + up (2 x), gains in dB.

    The octaves are transposed as by effects/pitch_shifter; the lower one goes through a low-pass of 12 dB per octave at
    `tone`.
    """

    parameters = (
        Parameter("down", -48.0, 6.0, default=-6.0, unit="dB", varying=True, description="level of the lower octave"),
        Parameter("up", -48.0, 6.0, default=-15.0, unit="dB", varying=True, description="level of the upper octave"),
        Parameter("dry", -48.0, 6.0, default=-1.5, unit="dB", varying=True, description="level of the input"),
        Parameter("tone", 100.0, 8000.0, 1200.0, "Hz", "log", "low-pass of the lower octave"),
    )
    presets: ClassVar = {
        "sub bass": {"down": 0.0, "up": -48.0, "dry": -3.0, "tone": 400.0},
        "twelve strings": {"down": -48.0, "up": -7.0, "dry": 0.0},
        "organ": {"down": -3.0, "up": -6.0, "dry": -3.0, "tone": 4000.0},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples, octave = audio.shape[-1], torch.full_like(settings["tone"], 12.0)
        up = _shifted(audio, octave, self.sample_rate, settings)
        down = _shifted(audio, -octave, self.sample_rate, settings)
        tone = settings["tone"].double()[:, None]
        low_pass = filters.low_pass(tone, torch.full_like(tone, math.sqrt(0.5)), self.sample_rate)
        parts = {"dry": audio, "up": up, "down": filter_sections(down, *low_pass)}
        return torch.stack([over_audio(to_gain(settings[key]), samples) * part for key, part in parts.items()]).sum(0)

    def tail(self, settings: Settings) -> float:
        return 0.15
