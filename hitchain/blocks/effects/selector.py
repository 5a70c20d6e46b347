"""A choice among audio blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.parameter import Settings
from hitchain.blocks.registry import register
from hitchain.blocks.row import run_block
from hitchain.blocks.selecting import Selector


@register("effects/selector")
class BlockSelector(Selector):
    """One of several blocks, or none of them: y = none x + sum of weight_i level_i block_i(x).

    For any stage that takes audio: which pedal, which amp, which cabinet, which microphone. A row of blocks is one of
    the options as an `effects/serial`.

    Args:
        sample_rate: [Hz].
        blocks: {name: a block with its knobs and options}; the first is selected unless told otherwise.
        tempo: [beats per minute], for the blocks inside.
    """

    example: ClassVar = {
        "blocks": {"soft": {"block": "effects/soft_clip"}, "quieter": {"block": "effects/gain", "level": -6.0}}
    }

    def __init__(self, sample_rate: int = 44100, blocks: Mapping[str, Any] | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.hold_options(blocks, {"tempo": tempo}, "a bypass")

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return self.blend(audio, settings, none=audio)

    def run_option(self, block: Block, source: Any, settings: Settings) -> Tensor:
        return torch.as_tensor(run_block(block, source, settings))
