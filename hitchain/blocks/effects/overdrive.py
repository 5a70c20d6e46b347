"""Overdrive: soft clipping between a bass cut and a treble cut."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import distortion, waveshaping
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

NOMINAL = 0.125
"""The level that leaves as loud as it came: -18 dBFS RMS, a guitar's."""

BLOCKING, TAIL = 10.0, 0.2
"""Corner of the high-pass that takes out DC [Hz], and the seconds in which it dies away."""


@register("effects/overdrive")
class Overdrive(Block):
    """Soft clipping of what is above a bass cut, evenly or unevenly, then a treble cut.

        y = x + mix (level low_pass(f(g high_pass(x) + b) - f(b)) / gain - x),      f(u) = u / sqrt(1 + u^2)

    with g the drive, b = 0.9 asymmetry, which adds even harmonics, and `gain` by how much f raises Gaussian noise at
    -18 dBFS: the drive hardly changes the loudness. f is antialiased (`waveshaping`); both filters are of one pole.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the clipping runs; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("drive", 0.0, 48.0, 20.0, "dB", description="level into the curve"),
        Parameter("asymmetry", 0.0, 1.0, 0.3, description="even harmonics: none to many"),
        Parameter("tight", 20.0, 1000.0, 120.0, "Hz", "log", description="bass cut before the clipping"),
        Parameter("tone", 500.0, 16000.0, 5000.0, "Hz", "log", description="treble cut after it"),
        Parameter("level", -24.0, 12.0, 0.0, "dB", varying=True, description="output level"),
        Parameter("mix", 0.0, 1.0, 1.0, varying=True, description="0 clean, 1 overdriven"),
    )
    probe: ClassVar[dict[str, float]] = {"mix": 0.7}
    presets: ClassVar = {
        "edge of breakup": {"drive": 10.0, "asymmetry": 0.5, "tight": 60.0, "tone": 7000.0},
        "mid push": {"drive": 26.0, "tight": 500.0, "tone": 3000.0},
        "bass grit": {"drive": 30.0, "tight": 300.0, "tone": 2500.0, "mix": 0.5},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples, gain, bias = audio.shape[-1], to_gain(settings["drive"]), 0.9 * settings["asymmetry"]
        raised = distortion.noise_gain(
            lambda noise: waveshaping.clip(gain[:, None] * noise + bias[:, None]), like=gain, nominal=NOMINAL
        )

        def after(hertz: Tensor) -> Tensor:
            return distortion.low_pass(hertz, settings["tone"]) * distortion.blocking(hertz, BLOCKING)

        driven = distortion.distort(
            audio,
            lambda level: waveshaping.clip_mean(level, gain, bias),
            self.sample_rate,
            self.oversampling,
            before=lambda hertz: distortion.high_pass(hertz, settings["tight"]),
            after=after,
            means=1,
            tail=TAIL,
        )
        level = over_audio(to_gain(settings["level"]), samples) / raised[:, None, None]
        return audio + over_audio(settings["mix"], samples) * (level * driven - audio)
