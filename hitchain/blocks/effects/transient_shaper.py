"""A transient shaper: more or less attack and sustain, at any level."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import dynamics, gating
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.moving_peaks import share
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

FLOOR = -70.0
"""[dB] What is fainter counts as this, so that noise between notes has no transients."""

QUICK, STEADY = 0.3, 30.0
"""[ms] Time constants of a follower that jumps up at once, and of letting go where nothing is sustained."""

HOLD = 12.5
"""[ms] From one peak of a sound at 40 Hz to the next: so long a peak counts, that a steady tone is left as it is."""


@register("effects/transient_shaper")
class TransientShaper(Block):
    """Transient shaper: gain from the differences of envelopes, so that soft and loud notes are shaped alike.

    After the differential envelopes of the SPL Transient Designer (1998). With L the peak level of the last 12.5 ms,
    linked across channels, and E(up, down) its follower of these time constants:

        onset = E(0.3 ms, 30 ms) - E(attack_time, 30 ms)        above 0 while a note begins
        decay = E(0.3 ms, sustain_time) - E(0.3 ms, 30 ms)      above 0 while it dies away
        gain = attack s(onset) + sustain s(decay) + level,      s(d) = d / (d + 6 dB)
    """

    parameters = (
        Parameter("attack", -18.0, 18.0, default=0.0, unit="dB", varying=True, description="gain as notes begin"),
        Parameter("sustain", -24.0, 24.0, default=0.0, unit="dB", varying=True, description="gain as they die away"),
        Parameter("attack_time", 2.0, 100.0, 25.0, "ms", "log", description="how long a note counts as beginning"),
        Parameter("sustain_time", 60.0, 2000.0, 400.0, "ms", "log", description="how long it counts as dying away"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", varying=True, description="of the output"),
    )
    presets: ClassVar = {
        "snap": {"attack": 9.0, "sustain": -3.0},
        "dry room": {"sustain": -14.0, "sustain_time": 300.0},
        "long and soft": {"attack": -9.0, "sustain": 8.0, "sustain_time": 700.0},
    }
    probe: ClassVar[dict[str, float]] = {"attack": 6.0, "sustain": -8.0, "attack_time": 5.0}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        window = torch.full_like(settings["attack_time"], HOLD * self.sample_rate / 1000.0)
        level = gating.held_maximum(dynamics.peak_level(audio, FLOOR), window)
        onset, decay = self.differences(level, settings["attack_time"], settings["sustain_time"])
        samples = audio.shape[-1]
        attack, sustain, out = (over_audio(settings[key], samples) for key in ("attack", "sustain", "level"))
        return audio * to_gain(attack * share(onset).unsqueeze(1) + sustain * share(decay).unsqueeze(1) + out)

    def differences(self, level: Tensor, attack_time: Tensor, sustain_time: Tensor) -> tuple[Tensor, Tensor]:
        """How far a sound is from what it was, and from what it will be [dB, >= 0]: (batch, samples) each."""
        quick, steady = (torch.full_like(attack_time, time) for time in (QUICK, STEADY))

        def envelope(up: Tensor, down: Tensor) -> Tensor:
            rise, fall = (dynamics.time_coefficient(time, self.sample_rate) for time in (up, down))
            return ballistics(level, rise, fall, initial=FLOOR)

        now = envelope(quick, steady)
        onset, decay = now - envelope(attack_time, steady), envelope(quick, sustain_time) - now
        return onset.clamp_min(0.0), decay.clamp_min(0.0)  # which rounding may take below 0
