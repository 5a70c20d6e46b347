"""Phaser: notches that sweep."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.all_pass_cascade import all_pass_cascade
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.movement import sine, turns
from hitchain.blocks.movement import synced_rate
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

FEWEST, MOST = 2, 12


@register("effects/phaser")
class Phaser(Block):
    """Phaser: all-pass stages in series, mixed with the dry signal, their corner swept up and down.

        v[t] = x[t] + feedback A(v)[t-1],    y = cos(pi/4 mix) x + sin(pi/4 mix) A(v)
        A = ((1 - s/w) / (1 + s/w))^stages,  w = 2 pi frequency 2^(depth sin(2 pi rate t))

    A pair of stages makes one notch, where it has turned the phase by 180 degrees (W. M. Hartmann, "Flanging and
    phasers", JAES 26(6), 1978; J. O. Smith, "An allpass approach to digital phasing and flanging", 1982). The loop is
    a sample late, as in digital units. The right side is `stereo` degrees ahead of the left. Time is the song's.

    Args:
        sample_rate: [Hz].
        stages: of the all-pass, an even number from 2 to 12; 4 is a classic pedal, 12 a lush rack.
        sync: a note value ("1/1", "1/2." dotted, "1/4t" triplet) for one sweep; otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        Parameter("rate", 0.02, 10.0, default=0.4, unit="Hz", scale="log", description="sweeps a second"),
        Parameter(
            "frequency",
            100.0,
            4000.0,
            default=700.0,
            unit="Hz",
            scale="log",
            varying=True,
            description="in the middle of the sweep",
        ),
        Parameter("depth", 0.0, 3.0, default=1.5, unit="octaves", varying=True, description="of the sweep, either way"),
        Parameter(
            "feedback", -0.95, 0.95, default=0.3, varying=True, description="of the phased signal: sharper peaks"
        ),
        Parameter("stereo", 0.0, 180.0, default=30.0, unit="degrees", description="from the left sweep to the right"),
        Parameter(
            "mix", 0.0, 1.0, default=1.0, varying=True, description="0 dry, 1 both equally loud, notches deepest"
        ),
    )
    presets: ClassVar = {
        "script": {"rate": 0.3, "depth": 1.6, "feedback": 0.0, "stereo": 0.0},
        "syrup": {"rate": 0.12, "depth": 2.4, "feedback": 0.6, "stereo": 90.0},
        "fast spin": {"rate": 4.5, "depth": 0.8, "frequency": 900.0, "feedback": 0.4},
    }
    probe: ClassVar = {"mix": 0.8}

    def __init__(
        self, sample_rate: int = 44100, stages: int = 4, sync: str | None = None, tempo: float = 120.0
    ) -> None:
        super().__init__(sample_rate)
        if stages not in range(FEWEST, MOST + 1, 2) or isinstance(stages, bool):
            raise UserError(f"stages={stages!r} should be an even number from {FEWEST} to {MOST}.")
        self.stages = int(stages)
        self.parameters = (synced_rate(type(self).parameters[0], sync, tempo), *type(self).parameters[1:])  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        stereo = audio.expand(-1, 2, -1)
        g = torch.tan(self.corners(settings, samples) * (math.pi / self.sample_rate))
        gain = (g / (1.0 + g)).to(audio.dtype)
        feedback = over_audio(settings["feedback"], samples).expand(-1, 2, -1)
        turned = all_pass_cascade(stereo.flatten(0, 1), gain.flatten(0, 1), feedback.flatten(0, 1), self.stages)
        angle = over_audio(settings["mix"], samples) * (math.pi / 4.0)
        return torch.cos(angle) * stereo + torch.sin(angle) * turned.view(stereo.shape)

    def corners(self, settings: Settings, samples: int) -> Tensor:
        """The corner of each side's stages [Hz]: (batch, 2, samples)."""
        cycles = turns(settings["rate"], samples, self.sample_rate, settings.get(START, 0.0))
        ahead = settings["stereo"].double().unsqueeze(-1) / 360.0
        dtype = settings["depth"].dtype
        waves = torch.stack([sine(cycles, offset, dtype) for offset in (0.0, ahead)], dim=1)
        octaves = over_audio(settings["depth"], samples) * waves
        return bounded_frequency(over_audio(settings["frequency"], samples) * torch.exp2(octaves), self.sample_rate)

    def tail(self, settings: Settings) -> float:
        most = float(settings["feedback"].detach().abs().max().clamp(1e-6, 0.999))
        lowest = float((settings["frequency"].detach() * torch.exp2(-settings["depth"].detach())).min())
        rounds = math.log(10.0**-4.5) / math.log(most)
        return (rounds + 4.0) * self.stages / (math.pi * lowest)
