"""A limiter and nothing else: peaks kept under a ceiling."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import limiting
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("mastering/peak_limiter")
class PeakLimiter(Block):
    """Gain into a look-ahead limiter; the loudness is whatever comes out (`mastering/limiter` brings it to a target).

        y = x * 10^((gain - reduction(level(x) + gain)) / 20)

    Level and reduction: `hitchain.blocks.dsp.limiting`, the same two stages.

    Args:
        lookahead: [ms] over which the gain falls before a peak; it adds no delay.
        oversampling: points of the peak detector for each sample: 4 keeps true peaks under the ceiling, 1 the samples
            alone, as most plain limiters do, at less cost.
    """

    parameters = (
        Parameter("gain", 0.0, 24.0, default=0.0, unit="dB", description="into the limiter"),
        Parameter("ceiling", -12.0, 0.0, default=-1.0, unit="dBTP", description="peak of the output at most"),
        Parameter("release", 10.0, 1000.0, default=100.0, unit="ms", scale="log", description="time constant"),
    )
    presets: ClassVar = {
        "safety": {"gain": 0.0, "ceiling": -1.0, "release": 150.0},
        "gentle": {"gain": 4.0, "ceiling": -1.0, "release": 250.0},
        "loud": {"gain": 10.0, "ceiling": -0.5, "release": 60.0},
    }
    probe: ClassVar[dict[str, float]] = {"gain": 18.0, "ceiling": -6.0}  # so that it has something to do

    def __init__(self, sample_rate: int = 44100, lookahead: float = 5.0, oversampling: int = 4) -> None:
        super().__init__(sample_rate)
        self.lookahead = lookahead
        self.oversampling = oversampling

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        if audio.shape[-1] == 0:
            return audio
        slow, fast = limiting.stages(settings["release"], self.lookahead, self.sample_rate)
        level = limiting.excess(audio, settings["ceiling"], self.oversampling) + settings["gain"][:, None]
        reduction = limiting.gain_reduction(level, limiting.hold(level, slow.lookahead), slow, fast)
        return limiting.amplify(audio, settings["gain"], reduction)
