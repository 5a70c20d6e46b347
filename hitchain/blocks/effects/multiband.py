"""The multiband rack: other blocks on three bands of the spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.crossovers import crossover_tail, linkwitz_riley
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.effects.multiband_compressor import BANDS, CROSSOVERS
from hitchain.blocks.nesting import Nest
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/multiband")
class Multiband(Nest):
    """Blocks on three bands, by Linkwitz-Riley crossovers of fourth order: y = sum of level_i row_i(x_i).

    The sum of untouched bands has the input's level at every frequency. A band without blocks goes past them. With a
    sidechain, the blocks inside that can listen hear the other track, whole.

    Args:
        sample_rate: [Hz].
        low, mid, high: {name: a block with its knobs and options}; at least one of the three.
        tempo: [beats per minute], for the blocks inside.
    """

    takes_sidechain = True
    parameters = (
        *CROSSOVERS,
        *(
            Parameter(f"{band}_level", -60.0, 12.0, 0.0, "dB", varying=True, description="of the band")
            for band in BANDS
        ),
    )
    presets: ClassVar = {
        "as it is": {},
        "middle only": {"low_level": -60.0, "high_level": -60.0, "low_crossover": 300.0},
        "scooped": {"mid_level": -6.0},
    }
    example: ClassVar = {
        "low": {"gain": {"block": "effects/gain", "level": -3.0}},
        "high": {"gain": {"block": "effects/gain", "level": 2.0}},
    }

    def __init__(
        self,
        sample_rate: int = 44100,
        low: Mapping[str, Any] | None = None,
        mid: Mapping[str, Any] | None = None,
        high: Mapping[str, Any] | None = None,
        tempo: float = 120.0,
    ) -> None:
        super().__init__(sample_rate)
        for name, entries in zip(BANDS, (low, mid, high), strict=True):
            if entries or not (low or mid or high):  # where all are missing, say what should stand there
                self.hold(name, entries, {"tempo": tempo})

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        parts = linkwitz_riley(audio, [settings[knob.name] for knob in CROSSOVERS], self.sample_rate)
        output = None
        for name, part in zip(BANDS, parts, strict=True):
            processed = self.through(name, part, settings) if name in self.rows else part
            levelled = over_audio(to_gain(settings[f"{name}_level"]), audio.shape[-1]) * processed
            output = levelled if output is None else output + levelled
        return audio if output is None else output

    def tail(self, settings: Settings) -> float:
        return crossover_tail(settings["low_crossover"]) + super().tail(settings)
