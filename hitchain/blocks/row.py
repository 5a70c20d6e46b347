"""Audio through a row of blocks: linear neighbours fused, latency taken back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitchain.blocks.block import Block, Instrument, LinearBlock, NoteBlock
from hitchain.blocks.dsp import linear
from hitchain.blocks.parameter import Settings


def run_row(row: Iterable[tuple[Block, Settings]], audio: Tensor) -> Tensor:
    """Audio (batch, channels, samples) through blocks, each with its settings, one after the other.

    Neighbouring linear blocks are one filter, which pays for one FFT pair.
    """
    for fusible, group in groupby(row, key=lambda member: isinstance(member[0], LinearBlock)):
        members = list(group)
        if fusible and len(members) > 1:  # one alone may know a better way than its response
            responses = [block.as_response(settings) for block, settings in members if isinstance(block, LinearBlock)]
            audio = linear.apply_responses(audio, responses)
            continue
        for block, settings in members:
            audio = run_block(block, audio, settings)
    return audio


def run_block(block: Block, audio: Tensor, settings: Settings) -> Tensor:
    """One block, its latency taken back: it is fed that many samples more, and as many are dropped at the start."""
    if isinstance(block, Instrument | NoteBlock):
        raise TypeError(f"block '{block.name}' plays or makes notes; it cannot process audio")
    if block.latency == 0:
        return torch.as_tensor(block(audio, settings))
    return torch.as_tensor(block(pad(audio, (0, block.latency)), settings))[..., block.latency :]
