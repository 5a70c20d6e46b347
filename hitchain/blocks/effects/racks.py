"""Racks: blocks that hold other blocks, in series, in parallel, or on mid and side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.nesting import Nest
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/serial")
class Serial(Nest):
    """Blocks one after the other, with dry signal beside them: y = (1 - mix) x + mix blocks(x).

    Args:
        sample_rate: [Hz].
        blocks: {name: a block with its knobs and options, as in a config}.
        tempo: [beats per minute], for the blocks inside.
    """

    parameters = (Parameter("mix", 0.0, 1.0, default=1.0, varying=True, description="0 dry, 1 through the blocks"),)
    presets: ClassVar = {"dry": {"mix": 0.0}, "half": {"mix": 0.5}}
    example: ClassVar = {"blocks": {"quieter": {"block": "effects/gain", "level": -6.0}}}
    probe: ClassVar = {"mix": 0.7}

    def __init__(self, sample_rate: int = 44100, blocks: Mapping[str, Any] | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.hold("", blocks, {"tempo": tempo})

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        wet = self.through("", audio, settings)
        return audio + over_audio(settings["mix"], audio.shape[-1]) * (wet - audio)


@register("effects/parallel")
class Parallel(Nest):
    """Rows of blocks side by side, each with a level, and the dry signal: y = dry x + sum of level_i row_i(x).

    Args:
        sample_rate: [Hz].
        rows: {name: {block name: a block with its knobs and options}}.
        tempo: [beats per minute], for the blocks inside.
    """

    parameters = (
        Parameter("dry", -60.0, 12.0, default=0.0, unit="dB", varying=True, description="level of the input itself"),
    )
    presets: ClassVar = {"wet only": {"dry": -60.0}, "beside the dry": {"dry": 0.0}}
    example: ClassVar = {
        "rows": {"a": {"gain": {"block": "effects/gain"}}, "b": {"gain": {"block": "effects/gain", "level": -12.0}}}
    }

    def __init__(self, sample_rate: int = 44100, rows: Mapping[str, Any] | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        for name, entries in (rows or {}).items():
            level = Parameter(f"{name}_level", -60.0, 12.0, -6.0, "dB", varying=True, description=f"of the row {name}")
            self.declare(level)
            self.hold(str(name), entries, {"tempo": tempo})

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        output = over_audio(to_gain(settings["dry"]), samples) * audio
        for name in self.rows:
            output = output + over_audio(to_gain(settings[f"{name}_level"]), samples) * self.through(
                name, audio, settings
            )
        return output


@register("effects/mid_side")
class MidSide(Nest):
    """Blocks on the middle and on the sides: (m, s) = (l + r, l - r) / sqrt(2), each through its row, and back.

    A mono input has no sides; it comes out with both channels equal.

    Args:
        sample_rate: [Hz].
        mid, side: {name: a block with its knobs and options}; one of them may be left out.
        tempo: [beats per minute], for the blocks inside.
    """

    parameters = (
        Parameter("mid_level", -60.0, 12.0, 0.0, "dB", varying=True, description="of the middle"),
        Parameter("side_level", -60.0, 12.0, 0.0, "dB", varying=True, description="of the sides"),
    )
    presets: ClassVar = {"narrow": {"side_level": -9.0}, "wide": {"side_level": 4.0}}
    example: ClassVar = {
        "mid": {"gain": {"block": "effects/gain", "level": -3.0}},
        "side": {"gain": {"block": "effects/gain", "level": 2.0}},
    }

    def __init__(
        self,
        sample_rate: int = 44100,
        mid: Mapping[str, Any] | None = None,
        side: Mapping[str, Any] | None = None,
        tempo: float = 120.0,
    ) -> None:
        super().__init__(sample_rate)
        for name, entries in (("mid", mid), ("side", side)):
            if entries or not (mid or side):  # where both are missing, say what should stand there
                self.hold(name, entries, {"tempo": tempo})

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        left, right = audio[:, :1], audio[:, -1:]
        turned = {"mid": (left + right) * math.sqrt(0.5), "side": (left - right) * math.sqrt(0.5)}
        for name, signal in turned.items():
            processed = self.through(name, signal, settings) if name in self.rows else signal
            level = over_audio(to_gain(settings[f"{name}_level"]), audio.shape[-1])
            turned[name] = processed[:, :1] * level
        mid, side = turned["mid"], turned["side"]
        return torch.cat([mid + side, mid - side], dim=1) * math.sqrt(0.5)
