"""A real amplifier or pedal, captured by a network that somebody trained on it."""

from __future__ import annotations

import math
import os
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitchain.blocks.amps import capture_files
from hitchain.blocks.block import Block
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.resampling import PADDING, resample
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError
from hitchain.files import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE

KNOBS = 4
"""The most knobs that a capture may have been trained with."""


@register("amps/capture")
class Capture(Block):
    """A captured amplifier or pedal from a .nam file, or from the JSON of GuitarML, Proteus, RTNeural or AIDA-X.

        y = (1 - mix) x + mix output (network(input x) - network(0))

    Silence stays silence: what a network says to it, a small constant as a rule, is taken off. The network is frozen:
    gradients flow through it to what is played into it. Where it was trained with knobs, they are parameters: `knob`
    (`knob_2`, ...), 0 to 1. Where the session's rate is not the capture's, the audio is resampled on the way in and
    out. A stereo signal goes through two of them.

    Known are WaveNet, LSTM, ConvNet and Linear (S. Atkinson, neural-amp-modeler, versions 0.5 and later) and LSTM and
    GRU (A. Wright et al., "Real-time guitar amplifier emulation with deep learning", Applied Sciences 10(3), 2020).

    Args:
        sample_rate: of the session [Hz].
        file: the name of a shipped capture, or the path of a .nam or JSON file.
        rate: the sample rate at which the capture was trained [Hz], where its file does not tell, or tells wrongly.

    Raises:
        UserError: the file is missing, malformed, too large, or of a kind that is not known.
    """

    open_parameters = True
    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("input", -24.0, 24.0, default=0.0, unit="dB", description="level into the amplifier", varying=True),
        Parameter("output", -24.0, 24.0, default=0.0, unit="dB", description="level out of it", varying=True),
        Parameter("mix", 0.0, 1.0, default=1.0, description="0 without the amplifier, 1 through it", varying=True),
    )
    presets: ClassVar = {
        "as captured": {},
        "softer": {"input": -9.0, "output": 6.0},
        "pushed": {"input": 9.0, "output": -3.0},
    }

    def __init__(
        self, sample_rate: int = 44100, file: str | os.PathLike[str] = "plain", rate: int | None = None
    ) -> None:
        super().__init__(sample_rate)
        capture = capture_files.load(file)
        if rate is not None and not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
            raise UserError(f"capture rate={rate}: it can be {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz.")
        self.network, self.rate = capture.network, rate or capture.sample_rate
        if self.network.knobs > KNOBS:
            raise UserError(f"capture {file} has {self.network.knobs} knobs; at most {KNOBS} can be turned.")
        self.knobs = ["knob" if index == 0 else f"knob_{index + 1}" for index in range(self.network.knobs)]
        turned = [
            Parameter(name, 0.0, 1.0, default=0.5, description="of the captured device", varying=True)
            for name in self.knobs
        ]
        self.parameters = (*type(self).parameters, *turned)  # type: ignore[misc]

    def tail(self, settings: Settings) -> float:
        return 0.1

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        mix = over_audio(settings["mix"], samples)
        through = self._through(audio * to_gain(over_audio(settings["input"], samples)), settings)
        return audio + mix * (through * to_gain(over_audio(settings["output"], samples)) - audio)

    def _through(self, audio: Tensor, settings: Settings) -> Tensor:
        """The network at its own rate. What resampling rings before the first sample must pass it, too."""
        batch, channels, samples = audio.shape
        lead = 0
        if self.rate != self.sample_rate:
            step = self.sample_rate // math.gcd(self.rate, self.sample_rate)  # both rates meet at multiples of it
            lead = step * math.ceil(PADDING * max(1.0, self.sample_rate / self.rate) / step)
        played = resample(pad(audio, (lead, lead)), self.sample_rate, self.rate).flatten(0, 1)
        knobs = [over_audio(settings[name], played.shape[-1]) for name in self.knobs]
        turned = torch.cat(knobs, dim=1) if knobs else played.new_zeros(batch, 0, 1)
        heard = self.network(played, turned.repeat_interleave(channels, dim=0)).view(batch, channels, -1)
        heard = heard - self.network.rest(played.shape[-1], turned).unsqueeze(1)
        back = resample(heard, self.rate, self.sample_rate)
        return back[..., lead : lead + samples]
