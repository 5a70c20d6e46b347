"""Two cabinets at once, blended."""

from __future__ import annotations

import os
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.cabs import impulse
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.delays import delay_response
from hitchain.blocks.dsp.fft import fast_length, frequencies, rfft
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

LONGEST_DELAY = 10.0
"""[ms], by which the second response may be put behind the first."""

FARTHEST = 0.01
"""Two responses are brought into step if they are at most so far apart [s]."""

FINE = 16
"""Steps to a sample in which they are."""


@register("cabs/blend")
class Blend(LinearBlock):
    """Two impulse responses of cabinets, in step with each other and mixed.

        H = (1 - blend) first + blend polarity e^(-j w delay) second

    Two microphones' recordings differ in when the sound arrives: added as they are, they comb. So the second is moved
    by where their cross-correlation is largest in magnitude, to a sixteenth of a sample, after which `delay` puts it
    behind on purpose. Each is read and levelled as in `cabs/impulse`: pink noise leaves as loud as it came.

    Args:
        sample_rate: of the session [Hz].
        first, second: names of shipped impulse responses, or paths of WAV, FLAC, OGG or MP3 files of at most 20 s.
        align: whether to bring the second into step with the first.

    Raises:
        UserError: a file is missing, empty, not audio, silent or too long, or align is neither true nor false.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("blend", 0.0, 1.0, default=0.5, description="0 the first cabinet, 1 the second"),
        Parameter("delay", 0.0, LONGEST_DELAY, default=0.0, unit="ms", description="of the second behind the first"),
        Choice("polarity", ("normal", "inverted"), default="normal", description="of the second"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )
    presets: ClassVar = {
        "both": {},
        "mostly first": {"blend": 0.25},
        "hollow": {"polarity": "inverted", "delay": 0.4},
    }

    def __init__(
        self,
        sample_rate: int = 44100,
        first: str | os.PathLike[str] = "closed_4x12",
        second: str | os.PathLike[str] = "open_1x12",
        align: bool = True,
    ) -> None:
        super().__init__(sample_rate)
        if not isinstance(align, bool):
            raise UserError(f"cabs/blend: align={align!r} is neither true nor false.")
        self.leads = []
        for index, file in enumerate((first, second)):
            kernel, lead = impulse._load(impulse._find(file), sample_rate)
            self.register_buffer(f"kernel_{index}", kernel, persistent=False)
            self.leads.append(lead)
        self.shift = self._out_of_step() if align else 0.0

    def _kernel(self, index: int, n_fft: int, hertz: Tensor) -> Tensor:
        """(channels, bins), from its onset on."""
        kernel = self.get_buffer(f"kernel_{index}").to(hertz)
        late = 2.0 * torch.pi * hertz * (self.leads[index] + (self.shift if index == 1 else 0.0))
        return rfft(kernel, n_fft) * torch.polar(torch.ones_like(late), late)

    def _out_of_step(self) -> float:
        """By how much the second comes after the first [s]."""
        self.shift = 0.0
        longest = max(self.get_buffer(f"kernel_{index}").shape[-1] for index in range(2))
        n_fft = fast_length(2 * longest)
        hertz = frequencies(n_fft, self.sample_rate, torch.zeros((), dtype=torch.float64))
        one, other = (self._kernel(index, n_fft, hertz).mean(dim=0) for index in range(2))
        correlation = torch.fft.irfft(torch.nn.functional.pad(other * one.conj(), (0, (FINE - 1) * n_fft // 2)))
        reach = round(FARTHEST * self.sample_rate * FINE)
        near = torch.cat([correlation[-reach:], correlation[: reach + 1]]).abs()
        return (int(near.argmax()) - reach) / (FINE * self.sample_rate)

    def tail(self, settings: Settings) -> float:
        longest = max(self.get_buffer(f"kernel_{index}").shape[-1] for index in range(2))
        return longest / self.sample_rate + FARTHEST + LONGEST_DELAY / 1e3

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        level, blend = settings["level"], settings["blend"][:, None, None]
        hertz = frequencies(n_fft, self.sample_rate, like=level)
        first, second = (self._kernel(index, n_fft, hertz)[None] for index in range(2))
        late = delay_response(settings["delay"].double() * (self.sample_rate / 1e3), n_fft, level.dtype)
        sign = settings["polarity"][:, :1] - settings["polarity"][:, 1:]
        mixed = (1.0 - blend) * first + blend * (sign * late)[:, None] * second
        return mixed * to_gain(level)[:, None, None]
