"""Filters whose cutoff moves: wah, auto-wah, and a synthesiser's filter swept by an oscillator and by the sound."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.dynamics import fitted
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.following import follow
from hitchain.blocks.dsp.movement import sine, turns
from hitchain.blocks.dsp.state_variable import Output, prewarp, state_variable_filter
from hitchain.blocks.movement import synced_rate
from hitchain.blocks.parameter import SIDECHAIN, START, Choice, Parameter, Settings
from hitchain.blocks.registry import register

LOWEST, HIGHEST = 20.0, 20000.0
"""[Hz] Between which a swept cutoff stays."""


def swept(audio: Tensor, cutoff: Tensor, q: Tensor, sample_rate: int, output: Output) -> Tensor:
    """Audio (batch, channels, samples) through a state-variable filter with its cutoff [Hz] (batch, samples)."""
    g = prewarp(bounded_frequency(cutoff, sample_rate), sample_rate).unsqueeze(1).expand(audio.shape)
    damping = (1.0 / q).repeat_interleave(audio.shape[1])
    return state_variable_filter(audio.flatten(0, 1), g.flatten(0, 1), damping, output).view(audio.shape)


def _loudness(audio: Tensor, settings: Settings, sample_rate: int) -> Tensor:
    """What the follower of a block makes of its audio, or of another track's, 0 to 1: (batch, samples)."""
    heard = fitted(settings.get(SIDECHAIN), audio)
    return follow(
        audio if heard is None else heard, settings["sensitivity"], settings["attack"], settings["release"], sample_rate
    )


@register("effects/wah")
class Wah(Block):
    """Wah: a resonant band-pass that a foot moves, beside the dry signal.

        y = (1 - mix) x + mix 10^(level/20) B(x),  B(s) = (s/Q) / (s^2 + s/Q + 1) at heel^(1 - pedal) toe^pedal

    The pedal's range is by default that of the CryBaby as measured by J. O. Smith ("Virtual electric guitars and
    effects using Faust and Octave", LAC 2008): 450 Hz to 450 2^2.3 = 2216 Hz. The filter is a state-variable one by the
    topology-preserving transform, exact while it moves. Turn the pedal by a modulator or an automation lane.
    """

    parameters = (
        Parameter("pedal", 0.0, 1.0, default=0.45, varying=True, description="0 heel down, 1 toe down"),
        Parameter("heel", 200.0, 800.0, default=450.0, unit="Hz", scale="log", description="with the heel down"),
        Parameter("toe", 1000.0, 5000.0, default=2216.0, unit="Hz", scale="log", description="with the toe down"),
        Parameter("resonance", 1.0, 15.0, default=5.0, scale="log", description="Q of the band-pass"),
        Parameter("level", -12.0, 18.0, default=9.0, unit="dB", varying=True, description="of the filtered signal"),
        Parameter("mix", 0.0, 1.0, default=0.9, varying=True, description="0 dry, 1 filtered"),
    )
    presets: ClassVar = {
        "cocked": {"pedal": 0.5, "resonance": 7.0},
        "heel": {"pedal": 0.1, "resonance": 6.0},
        "toe": {"pedal": 0.95, "resonance": 3.0},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        heel, toe = (settings[key].log().unsqueeze(-1) for key in ("heel", "toe"))
        pedal = over_audio(settings["pedal"], samples)[:, 0].expand(-1, samples)
        cutoff = torch.exp(heel + pedal * (toe - heel))
        wet = swept(audio, cutoff, settings["resonance"], self.sample_rate, "band")
        wet = over_audio(to_gain(settings["level"]), samples) * wet
        return audio + over_audio(settings["mix"], samples) * (wet - audio)

    def tail(self, settings: Settings) -> float:
        return 10.4 * float(settings["resonance"].detach().max()) / (math.pi * float(settings["heel"].detach().min()))


@register("effects/auto_wah")
class AutoWah(Block):
    """Auto-wah: a resonant filter that opens as one plays louder (an envelope filter).

        e = peak of x, through attack and release, times 10^(sensitivity/20)
        y = (1 - mix) x + mix 10^(level/20) F(x),  F at frequency 2^(range e / (1 + e))

    F is a low-pass or a band-pass with its resonance. It is half way up at a peak of -sensitivity dB; with a range
    below 0 it closes instead. With a sidechain it follows another track.
    """

    takes_sidechain = True
    parameters = (
        Parameter("sensitivity", 0.0, 40.0, default=14.0, unit="dB", description="half way up at this far below 0 dB"),
        Parameter("attack", 0.5, 100.0, default=5.0, unit="ms", scale="log", description="time constant of opening"),
        Parameter(
            "release", 10.0, 1000.0, default=120.0, unit="ms", scale="log", description="time constant of closing"
        ),
        Parameter("frequency", 80.0, 2000.0, default=250.0, unit="Hz", scale="log", description="in silence"),
        Parameter("range", -4.0, 5.0, default=3.5, unit="octaves", varying=True, description="from silence to loud"),
        Parameter("resonance", 0.5, 15.0, default=4.0, scale="log", description="Q of the filter"),
        Choice("shape", ("band", "low"), "band", description="of the filter"),
        Parameter("level", -12.0, 18.0, default=9.0, unit="dB", varying=True, description="of the filtered signal"),
        Parameter("mix", 0.0, 1.0, default=0.9, varying=True, description="0 dry, 1 filtered"),
    )
    presets: ClassVar = {
        "funk": {"sensitivity": 18.0, "attack": 3.0, "release": 90.0, "resonance": 6.0},
        "bass quack": {"frequency": 120.0, "range": 3.0, "resonance": 3.0, "shape": "low", "level": 0.0},
        "closing": {"frequency": 1800.0, "range": -2.5, "release": 250.0},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        loudness = _loudness(audio, settings, self.sample_rate)
        octaves = over_audio(settings["range"], samples)[:, 0] * loudness
        cutoff = (settings["frequency"].unsqueeze(-1) * torch.exp2(octaves)).clamp(LOWEST, HIGHEST)
        shape = settings["shape"]
        wet = torch.zeros_like(audio)
        for index, output in enumerate(("band", "low")):
            if shape.requires_grad or bool((shape[:, index] != 0).any()):
                filtered = swept(audio, cutoff, settings["resonance"], self.sample_rate, output)  # type: ignore[arg-type]
                wet = wet + shape[:, index, None, None] * filtered
        wet = over_audio(to_gain(settings["level"]), samples) * wet
        return audio + over_audio(settings["mix"], samples) * (wet - audio)


@register("effects/filter_sweep")
class FilterSweep(Block):
    """Filter sweep: a state-variable filter, its cutoff moved by an oscillator and by the sound's own loudness.

        cutoff = frequency 2^(depth sin(2 pi rate t) + follow e / (1 + e)),  e the peak followed by attack and release

    Low-, band- and high-pass (12 dB per octave) are blended by `shape`; the band-pass is 0 dB at its centre. Time is
    the song's. The cutoff stays within 20 Hz to 20 kHz. With a sidechain it follows another track's loudness.

    Args:
        sample_rate: [Hz].
        sync: a note value ("1/1", "1/2." dotted, "1/4t" triplet) for one sweep; otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    takes_sidechain = True
    parameters = (
        Parameter("rate", 0.02, 20.0, default=0.25, unit="Hz", scale="log", description="sweeps a second"),
        Parameter(
            "frequency",
            40.0,
            12000.0,
            default=900.0,
            unit="Hz",
            scale="log",
            varying=True,
            description="in the middle of the sweep",
        ),
        Parameter("resonance", 0.5, 15.0, default=2.0, scale="log", description="Q of the filter"),
        Parameter("depth", 0.0, 4.0, default=1.5, unit="octaves", varying=True, description="of the sweep, either way"),
        Parameter("follow", -5.0, 5.0, default=0.0, unit="octaves", varying=True, description="up with the loudness"),
        Parameter("sensitivity", 0.0, 40.0, default=14.0, unit="dB", description="half way up at this far below 0 dB"),
        Parameter("attack", 0.5, 100.0, default=5.0, unit="ms", scale="log", description="of the follower"),
        Parameter("release", 10.0, 1000.0, default=150.0, unit="ms", scale="log", description="of the follower"),
        Choice("shape", ("low", "band", "high"), "low", description="of the filter"),
        Parameter("mix", 0.0, 1.0, default=1.0, varying=True, description="0 dry, 1 filtered"),
    )
    presets: ClassVar = {
        "slow rise": {"rate": 0.06, "depth": 2.5, "resonance": 3.0},
        "pulse": {"rate": 4.0, "frequency": 700.0, "depth": 1.2, "resonance": 4.0},
        "thin": {"frequency": 1500.0, "shape": "high", "depth": 2.0},
    }
    probe: ClassVar = {"follow": 1.0, "mix": 0.8}

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.parameters = (synced_rate(type(self).parameters[0], sync, tempo), *type(self).parameters[1:])  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        wet = self._filtered(audio, self.cutoff(audio, settings), settings)
        return audio + over_audio(settings["mix"], samples) * (wet - audio)

    def cutoff(self, audio: Tensor, settings: Settings) -> Tensor:
        """[Hz], (batch, samples)."""
        samples = audio.shape[-1]
        cycles = turns(settings["rate"], samples, self.sample_rate, settings.get(START, 0.0))
        loudness = _loudness(audio, settings, self.sample_rate)
        frequency, depth, upward = (
            over_audio(settings[key], samples)[:, 0] for key in ("frequency", "depth", "follow")
        )
        octaves = depth * sine(cycles, dtype=audio.dtype) + upward * loudness
        return (frequency * torch.exp2(octaves)).clamp(LOWEST, HIGHEST)

    def _filtered(self, audio: Tensor, cutoff: Tensor, settings: Settings) -> Tensor:
        """The blend of the three: high = x - low - band, so that two filters give all of them."""
        low, band, high = (settings["shape"][:, index, None, None] for index in range(3))
        blend = high * audio
        outputs: tuple[tuple[Output, Tensor], ...] = (("low", low - high), ("band", band - high))
        for output, weight in outputs:
            if weight.requires_grad or bool((weight != 0).any()):
                blend = blend + weight * swept(audio, cutoff, settings["resonance"], self.sample_rate, output)
        return blend
