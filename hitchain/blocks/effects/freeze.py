"""Infinite sustain."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.fft import fast_length, frequencies
from hitchain.blocks.dsp.spectral_hold import HEARD, OVERLAP, held
from hitchain.blocks.effects.delay import note_length
from hitchain.blocks.parameter import SEED, START, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

PERIODS, GRAINS = (0.05, 60.0), (0.02, 0.5)
"""Shortest and longest [s]."""


@register("effects/freeze")
class Freeze(Block):
    """Infinite sustain: at every step of a grid, what sounds is captured and held until the next capture.

        y(t) = cos(pi/2 mix) x(t) + sin(pi/2 mix) sum_k (s_k(t) - s_{k+1}(t)) 10^(-3 (t - b_k) / decay) hold_k(t)

    Capture k stands at k periods of the song's time, hears 1.25 grains from there, and is held from their end b_k on;
    s_k is a step 3 u^2 - 2 u^3, u = (t - b_k) / fade, so that holds cross with gains that sum to 1. A hold keeps the
    magnitudes of the spectrum and lets each phase go on at the pace at which it was heard to go (`dsp.spectral_hold`):
    a steady sine goes on as the same sine. Magnitudes are taken off by a low-pass of first order at `tone`.

    The grid is that of the song: a window of it is the same audio from the first capture on that lies within the
    window and its pre-roll. Before that, nothing is held. The gradient with respect to the audio grows with the time
    held, since a change of frequency does.

    Args:
        sample_rate: [Hz].
        sync: a note value ("1/2", "1/1", "1/4." dotted, "1/4t" triplet): the period is then its length at `tempo`.
        tempo: quarter notes per minute.
        period: between captures [s], where there is no `sync`.
        grain: length of a window [s]. Long ones tell apart low notes of a chord, short ones follow attacks.
    """

    parameters = (
        Parameter("decay", 0.2, 60.0, 30.0, "s", "log", "in which a hold falls by 60 dB"),
        Parameter("fade", 5.0, 1000.0, 120.0, "ms", "log", "crossing from one hold to the next"),
        Parameter("smear", 0.0, 1.0, 0.15, description="0 steady as captured, 1 a wash of the same spectrum"),
        Parameter("tone", 200.0, 18000.0, 6000.0, "Hz", "log", "low-pass of what is held"),
        Parameter("mix", 0.0, 1.0, 0.4, varying=True, description="0 dry, 1 held only"),
    )
    presets: ClassVar = {
        "sustain": {"smear": 0.0, "fade": 60.0, "mix": 0.4},
        "pad": {"smear": 0.5, "fade": 500.0, "tone": 2500.0, "mix": 0.5},
        "wash": {"smear": 1.0, "fade": 250.0, "decay": 3.0, "tone": 9000.0, "mix": 0.6},
    }
    probe: ClassVar[dict[str, float]] = {"decay": 2.0, "fade": 20.0, "mix": 0.6}
    example: ClassVar = {"period": 0.05, "grain": 0.03}

    def __init__(
        self,
        sample_rate: int = 44100,
        sync: str | None = None,
        tempo: float = 120.0,
        period: float = 2.0,
        grain: float = 0.15,
    ) -> None:
        super().__init__(sample_rate)
        given = f"period={period}" if sync is None else f"sync='{sync}' at {tempo:g} beats per minute"
        self.period = float(period) if sync is None else note_length(sync, tempo) / 1000.0
        if not PERIODS[0] <= self.period <= PERIODS[1]:
            raise UserError(f"effects/freeze: {given}: a period takes {PERIODS[0]:g} to {PERIODS[1]:g} s.")
        if not GRAINS[0] <= grain <= GRAINS[1]:
            raise UserError(f"effects/freeze: grain={grain} must be within {GRAINS[0]:g} to {GRAINS[1]:g} s.")
        self.hop = fast_length(round(grain * sample_rate / OVERLAP))

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        angle = over_audio(settings["mix"], audio.shape[-1]) * (math.pi / 2.0)
        dry = torch.cos(angle) * audio
        first = round(float(settings[START]) * self.sample_rate) if START in settings else 0
        captures = self._captures(first, audio.shape[-1])
        return dry + torch.sin(angle) * self._held(audio, settings, captures, first) if captures else dry

    def _place(self, capture: int) -> int:
        """Of a capture, in the song [samples]."""
        return round(capture * self.period * self.sample_rate)

    def _captures(self, first: int, samples: int) -> list[int]:
        """The numbers of those that hear some of the audio, and whose hold begins within it."""
        step, heard = self.period * self.sample_rate, HEARD * self.hop
        numbers = range(math.floor((first - heard) / step), math.ceil((first + samples) / step) + 1)
        return [k for k in numbers if first < self._place(k) + heard < first + samples]

    def _held(self, audio: Tensor, settings: Settings, captures: list[int], first: int) -> Tensor:
        """What is held, faded and crossed: the shape of the audio."""
        samples, heard, device = audio.shape[-1], HEARD * self.hop, audio.device
        begins = torch.tensor([self._place(k) + heard - first for k in (*captures, captures[-1] + 1)], device=device)
        frames = torch.nn.functional.pad(audio, (heard, 0))[..., begins[:-1, None] + torch.arange(heard, device=device)]
        fade = settings["fade"].double() * (self.sample_rate / 1000.0)
        step = self.period * self.sample_rate
        longest = min(samples, math.ceil(step + float(fade.detach().max())) + 1)
        count, numbers = -(-longest // self.hop), torch.tensor(captures, device=device)
        gain = self._low_pass(settings["tone"])
        holds = held(frames, self.hop, count, settings["smear"], gain, settings.get(SEED, 0), numbers).flatten(-2)

        length, time = count * self.hop, torch.arange(samples, device=device)
        latest = torch.searchsorted(begins[:-1], time, right=True) - 1
        wet = torch.zeros_like(audio)
        for back in range(math.ceil(longest / step)):
            chosen = (latest - back).clamp_min(0)
            age = time - begins[chosen]
            sounds = (latest >= back) & (age < length)
            gap = begins[chosen + 1] - begins[chosen]
            gate = _step(age / fade[:, None]) - _step((age - gap) / fade[:, None])
            fall = torch.exp(age * (-3.0 * math.log(10.0) / self.sample_rate) / settings["decay"].double()[:, None])
            gate = torch.where(sounds, gate * fall, 0.0).to(audio.dtype)
            read = holds.index_select(-1, chosen * length + age.clamp(0, length - 1))
            wet = wet + gate.unsqueeze(1) * read
        return wet

    def _low_pass(self, tone: Tensor) -> Tensor:
        hertz = frequencies(OVERLAP * self.hop, self.sample_rate, tone)
        return torch.rsqrt(1.0 + (hertz / tone[:, None]).square())

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        until_next = self.period + settings["fade"].double() / 1000.0
        longest = torch.minimum(until_next, 1.5 * settings["decay"].double())
        return HEARD * self.hop / self.sample_rate + float(longest.max())


def _step(position: Tensor) -> Tensor:
    """From 0 at 0 to 1 at 1, smoothly, and level beyond."""
    within = position.clamp(0.0, 1.0)
    return within.square() * (3.0 - 2.0 * within)
