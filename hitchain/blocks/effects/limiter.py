"""A limiter for a track."""

from __future__ import annotations

from typing import ClassVar

from hitchain.blocks.mastering.peak_limiter import PeakLimiter
from hitchain.blocks.parameter import Parameter
from hitchain.blocks.registry import register


@register("effects/limiter")
class TrackLimiter(PeakLimiter):
    """Look-ahead limiter for a track: `mastering/peak_limiter`, on samples instead of true peaks, at less cost.

        y = x 10^((gain - reduction(level(x) + gain)) / 20)

    Args:
        lookahead: [ms] over which the gain falls before a peak; it adds no delay.
        oversampling: points of the peak detector for each sample; 4 keeps true peaks under the ceiling too.
    """

    parameters = (
        Parameter("gain", 0.0, 24.0, default=0.0, unit="dB", description="into the limiter"),
        Parameter("ceiling", -24.0, 0.0, default=-3.0, unit="dB", description="peak of the output at most"),
        Parameter("release", 10.0, 1000.0, default=80.0, unit="ms", scale="log", description="time constant"),
    )
    presets: ClassVar = {
        "catch peaks": {"ceiling": -6.0},
        "dense": {"gain": 9.0, "ceiling": -6.0, "release": 150.0},
        "pumping": {"gain": 15.0, "ceiling": -9.0, "release": 400.0},
    }
    probe: ClassVar[dict[str, float]] = {"gain": 18.0, "ceiling": -6.0}  # so that it has something to do

    def __init__(self, sample_rate: int = 44100, lookahead: float = 2.0, oversampling: int = 1) -> None:
        super().__init__(sample_rate, lookahead, oversampling)
