"""Bit depth and sample rate, reduced."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/bit_crusher")
class BitCrusher(Block):
    """Fewer bits and fewer samples, without the filters of a good converter: grit and aliases are what it is for.

        held[t] = x at the last of the times n / rate that is not after t      (n whole, from the song's start)
        y = x + mix (round(2^bits held) / 2^bits - x)

    Between samples x is taken from the straight line. Rounding has a gradient of 0 almost everywhere: the one to the
    audio is the straight-through estimate, 1, and that to `bits` follows from it, -ln 2 (y - held). The gradient of
    `rate` is that of how long samples are held, in proportion, without the jumps from one to the next: an estimate.
    """

    parameters = (
        Parameter("bits", 1.0, 16.0, 8.0, "bits", description="bits a unit of full scale", estimate=True),
        Parameter("rate", 250.0, 44100.0, 11025.0, "Hz", "log", description="new sample rate", estimate=True),
        Parameter("mix", 0.0, 1.0, 1.0, varying=True, description="0 clean, 1 crushed"),
    )
    probe: ClassVar[dict[str, float]] = {"bits": 5.0, "mix": 0.7}
    estimated_inputs: ClassVar[tuple[str, ...]] = ("audio",)
    presets: ClassVar = {
        "sampler": {"bits": 12.0, "rate": 26040.0},
        "eight bits": {"bits": 7.0, "rate": 11025.0},
        "wrecked": {"bits": 3.0, "rate": 3000.0, "mix": 0.8},
    }

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        held = self._hold(audio, settings)
        steps = torch.exp2(settings["bits"])[:, None, None]
        exact = steps * held
        crushed = (exact + (torch.round(exact) - exact).detach()) / steps
        return audio + over_audio(settings["mix"], audio.shape[-1]) * (crushed - audio)

    def _hold(self, audio: Tensor, settings: Settings) -> Tensor:
        start, samples = settings.get(START), audio.shape[-1]
        begin = 0.0 if start is None else float(start)
        times = begin + torch.arange(samples, dtype=torch.float64, device=audio.device) / self.sample_rate
        rate = settings["rate"].double().unsqueeze(-1)
        turns = (times * rate).detach() + 1e-9  # a whole number stays one
        late = (turns - turns.floor()) / rate
        position = ((times - begin - late) * self.sample_rate).clamp(0.0, samples - 1)
        lower = position.detach().floor().clamp(max=max(samples - 2, 0)).long()
        share = (position - lower).to(audio.dtype).unsqueeze(1)
        index = lower.unsqueeze(1).expand(-1, audio.shape[1], -1)
        one, other = audio.gather(-1, index), audio.gather(-1, (index + 1).clamp(max=samples - 1))
        return torch.lerp(one, other, share)
