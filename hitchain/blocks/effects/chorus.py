"""Chorus: one player made to sound like several."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.modulated_delay import modulated_delay
from hitchain.blocks.dsp.movement import cosine, sine, turns
from hitchain.blocks.movement import synced_rate
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

MOST_VOICES = 8


@register("effects/chorus")
class Chorus(Block):
    """Chorus: several copies, each through a delay that swings at its own place in the cycle, spread over the stereo.

        y = cos(pi/2 mix) x + sin(pi/2 mix) / sqrt(voices) sum_v g_v x(t - m_v(t))
        m_v(t) = delay + depth sin(2 pi (rate t + v / voices))

    after the industry-standard chorus of J. Dattorro, "Effect design part 2: delay-line modulation and chorus" (JAES
    45(10), 1997). Voices are panned from left to right by `spread` at equal power; a mono input becomes stereo.

    Args:
        sample_rate: [Hz].
        voices: 1 to 8.
        sync: a note value ("1/1", "1/2." dotted, "1/4t" triplet) for one swing; otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        Parameter("rate", 0.05, 8.0, default=0.8, unit="Hz", scale="log", description="swings a second"),
        Parameter("depth", 0.05, 5.0, default=1.5, unit="ms", scale="log", varying=True, description="of the swing"),
        Parameter("delay", 6.0, 40.0, default=14.0, unit="ms", scale="log", description="in the middle of the swing"),
        Parameter("spread", 0.0, 1.0, default=0.8, varying=True, description="of the voices: 0 middle, 1 wide"),
        Parameter("mix", 0.0, 1.0, default=0.4, varying=True, description="0 dry, 1 voices only"),
    )
    presets: ClassVar = {
        "gentle": {"rate": 0.4, "depth": 1.0, "mix": 0.3},
        "eighties": {"rate": 0.9, "depth": 2.5, "spread": 1.0, "mix": 0.5},
        "ensemble": {"rate": 3.0, "depth": 0.6, "delay": 9.0, "mix": 0.7},
    }

    def __init__(
        self, sample_rate: int = 44100, voices: int = 3, sync: str | None = None, tempo: float = 120.0
    ) -> None:
        super().__init__(sample_rate)
        if isinstance(voices, bool) or not isinstance(voices, int) or not 1 <= voices <= MOST_VOICES:
            raise UserError(f"voices={voices!r} should be a whole number from 1 to {MOST_VOICES}.")
        self.voices = voices
        self.parameters = (synced_rate(type(self).parameters[0], sync, tempo), *type(self).parameters[1:])  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        batch, channels, samples = audio.shape
        delays = self.delays(settings, samples)
        sources = audio.unsqueeze(1).expand(-1, self.voices, -1, -1)
        moved = delays.unsqueeze(2).expand(-1, -1, channels, -1)
        heard = modulated_delay(sources.flatten(0, 2), moved.flatten(0, 2)).view(batch, self.voices, channels, samples)
        angle = over_audio(settings["mix"], samples) * (math.pi / 2.0)
        wet = self._panned(heard, settings["spread"])
        return torch.cos(angle) * audio + torch.sin(angle) * wet

    def tail(self, settings: Settings) -> float:
        return float((settings["delay"].detach().max() + settings["depth"].detach().max()) / 1000.0)

    def delays(self, settings: Settings, samples: int) -> Tensor:
        """The delay of each voice [samples]: float64 (batch, voices, samples)."""
        cycles = turns(settings["rate"], samples, self.sample_rate, settings.get(START, 0.0))
        depth = over_audio(settings["depth"], samples)[:, 0] * (self.sample_rate / 1000.0)
        middle = settings["delay"].double().unsqueeze(-1) * (self.sample_rate / 1000.0)
        swing, quarter = depth * sine(cycles, dtype=depth.dtype), depth * cosine(cycles, dtype=depth.dtype)
        angles = [2.0 * math.pi * voice / self.voices for voice in range(self.voices)]
        return torch.stack([middle + swing * math.cos(a) + quarter * math.sin(a) for a in angles], dim=1)

    def _panned(self, heard: Tensor, spread: Tensor) -> Tensor:
        """The sum of the voices (batch, voices, channels, samples), each at its place: (batch, 2, samples)."""
        samples = heard.shape[-1]
        width = over_audio(spread, samples) * (math.pi / 4.0)
        left, right = heard[:, :, 0], heard[:, :, -1]
        sides = []
        for sign, source in ((-1.0, left), (1.0, right)):
            total = torch.zeros_like(source[:, :1])
            for voice in range(self.voices):
                place = 2.0 * voice / max(self.voices - 1, 1) - 1.0 if self.voices > 1 else 0.0
                gain = math.sqrt(2.0) * torch.sin(math.pi / 4.0 + sign * place * width)
                total = total + gain * source[:, voice : voice + 1]
            sides.append(total)
        return torch.cat(sides, dim=1) / math.sqrt(self.voices)
