"""A tape recorder."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import distortion, tape
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.modulated_delay import modulated_delay
from hitchain.blocks.dsp.noise import noise
from hitchain.blocks.parameter import SEED, START, Parameter, Settings
from hitchain.blocks.registry import register

WOW, FLUTTER = 0.55, 7.3
"""How often a capstan and a motor turn unevenly [Hz]."""


@register("effects/tape")
class Tape(Block):
    """A tape recorder: hysteresis, head losses, wow and flutter, and the noise that rides on the signal.

        m = hysteresis(3.01 drive x, bias)                     J. Chowdhury, DAFx-19; see `hysteresis`
        y = level (1 + noise n) playback(m / gain) at t - d(t),   d = sum of (share / (2 pi f)) sin(2 pi f t)

    f is 0.55 Hz (wow) and 7.3 Hz (flutter), the share is the largest deviation of the speed, and t the song's time, so
    that any window moves in step. The playback head loses treble and lifts bass, both in proportion to the tape's
    speed. `bias` stands for the bias current: with less, small signals stick and crackle. n is seeded white noise: what
    a tape's grain adds to what is recorded; there is no hiss in silence. `gain` keeps noise at -14 dBFS about level.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the hysteresis is solved; by default what takes it to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("drive", -12.0, 18.0, 3.0, "dB", description="level onto the tape"),
        Parameter("bias", 0.0, 1.0, 0.6, description="bias current: crackling to clean"),
        Parameter("speed", 3.75, 30.0, 15.0, "in/s", "log", description="of the tape: dark and boomy to open"),
        Parameter("wow", 0.0, 1.0, 0.08, "%", description="slow deviation of the speed"),
        Parameter("flutter", 0.0, 0.5, 0.04, "%", description="fast deviation of the speed"),
        Parameter("noise", -80.0, -30.0, -60.0, "dB", description="noise that rides on the signal"),
        Parameter("level", -24.0, 12.0, 0.0, "dB", varying=True, description="output level"),
    )
    presets: ClassVar = {
        "studio": {"drive": 2.0, "bias": 0.8, "speed": 30.0, "wow": 0.02, "flutter": 0.01, "noise": -70.0},
        "hot": {"drive": 12.0, "bias": 0.5, "speed": 15.0},
        "cassette": {"drive": 6.0, "bias": 0.3, "speed": 3.75, "wow": 0.3, "flutter": 0.12, "noise": -42.0},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or distortion.default_oversampling(sample_rate)

    def tail(self, settings: Settings) -> float:
        return tape.TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        batch, channels, samples = audio.shape
        played = tape.record(
            audio,
            to_gain(settings["drive"]),
            settings["bias"],
            settings["speed"],
            self.sample_rate,
            self.oversampling,
        )
        start = float(settings.get(START, torch.zeros(())))
        delay = self._delay(settings, start, samples).unsqueeze(1).expand(-1, channels, -1)
        moved = modulated_delay(played.flatten(0, 1), delay.flatten(0, 1)).view(batch, channels, samples)
        seed = settings.get(SEED, torch.tensor(0))
        grain = noise(seed, samples, round(start * self.sample_rate), dtype=audio.dtype, device=audio.device)
        riding = 1.0 + to_gain(settings["noise"])[:, None, None] * grain
        return moved * riding * over_audio(to_gain(settings["level"]), samples)

    def _delay(self, settings: Settings, start: float, samples: int) -> Tensor:
        """Around 0 [samples]: float64 (batch, samples)."""
        device = settings["wow"].device
        time = start + torch.arange(samples, dtype=torch.float64, device=device) / self.sample_rate
        delay = torch.zeros((), dtype=torch.float64, device=device)
        for key, hertz in (("wow", WOW), ("flutter", FLUTTER)):
            reach = settings[key].double() * (0.01 * self.sample_rate / (2.0 * math.pi * hertz))
            delay = delay + reach.unsqueeze(-1) * torch.sin(2.0 * math.pi * hertz * time)
        return delay
