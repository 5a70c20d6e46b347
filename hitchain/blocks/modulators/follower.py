"""A follower of the loudness of what enters the block."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.dsp.following import at_times, follow
from hitchain.blocks.modulation import AMOUNT, Cue, Modulator
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError


@register("modulators/follower")
class Follower(Modulator):
    """Envelope follower: up with the loudness of the audio that enters the block; 0 to 1.

        control = e / (1 + e),  e = 10^(sensitivity/20) times the peak, through attack and release

    Half way at a peak of -sensitivity dB. An instrument is entered by notes, not by audio: use `modulators/envelope`.
    """

    parameters = (
        AMOUNT,
        Parameter("sensitivity", 0.0, 40.0, default=14.0, unit="dB", description="half way up at this far below 0 dB"),
        Parameter("attack", 0.5, 200.0, default=5.0, unit="ms", scale="log", description="time constant of rising"),
        Parameter(
            "release", 5.0, 2000.0, default=150.0, unit="ms", scale="log", description="time constant of falling"
        ),
    )
    presets: ClassVar = {
        "fast": {"attack": 1.0, "release": 40.0, "amount": 0.4},
        "smooth": {"attack": 60.0, "release": 600.0, "amount": 0.4},
        "duck": {"attack": 2.0, "release": 200.0, "sensitivity": 20.0, "amount": -0.25},
    }

    def control(self, cue: Cue, settings: Settings) -> Tensor:
        if cue.audio is None:
            raise UserError(
                "modulators/follower follows the audio that enters a block, and an instrument is entered by notes; "
                "attach modulators/envelope instead."
            )
        if not cue.audio.shape[-1]:
            return settings["amount"].new_zeros(len(settings["amount"]), len(cue.times))
        names = ("sensitivity", "attack", "release")
        sensitivity, attack, release = (settings[key] for key in names)
        values = follow(cue.audio, sensitivity, attack, release, self.sample_rate)
        return at_times(values, (cue.times - cue.times[0]) * self.sample_rate)
