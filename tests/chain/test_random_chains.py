"""Two thousand random chains of random blocks with every knob at random: no NaN, no inf, no crash."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.block import Block, Instrument, NoteBlock
from hitchain.blocks.certificate import example
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Choice
from hitchain.blocks.row import run_row

CHAINS, SHARDS = 2000, 20
SECONDS = 0.15
INSTRUMENTS = blocks.names("instruments")
AUDIO = [name for name in blocks.names() if not issubclass(blocks.get(name), Instrument | NoteBlock)]


def _settings(block: Block, draw: random.Random) -> dict[str, Tensor]:
    settings = {SEED: torch.tensor(draw.randrange(2**31))}
    for parameter in block.parameters:
        if isinstance(parameter, Choice):
            weights = torch.tensor([draw.random() ** 4 + 1e-6 for _ in parameter.options])
            settings[parameter.name] = (weights / weights.sum())[None]
        else:
            position = draw.choice((draw.random(), draw.random(), draw.random(), 0.0, 1.0))
            value = parameter.from_unit(torch.tensor([position]))
            settings[parameter.name] = value.clamp(parameter.low, parameter.high)
    return settings


def _played(name: str, draw: random.Random) -> Tensor:
    block = example(name)
    drums = bool(getattr(block, "plays_drums", False))
    pitches = [float(draw.choice((36, 38, 42, 46, 49)) if drums else draw.uniform(28.0, 96.0)) for _ in range(4)]
    onsets = sorted(draw.uniform(-0.02, SECONDS) for _ in range(4))
    notes = Notes.of(onsets, [draw.uniform(0.005, 0.2) for _ in range(4)], pitches, [draw.random() for _ in range(4)])
    return torch.as_tensor(block(notes.with_(length=SECONDS), _settings(block, draw)))


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_chain_breaks(shard: int) -> None:
    for chain in range(shard * CHAINS // SHARDS, (shard + 1) * CHAINS // SHARDS):
        draw = random.Random(chain)
        instrument = draw.choice(INSTRUMENTS)
        names = [draw.choice(AUDIO) for _ in range(draw.randint(1, 4))]
        with torch.no_grad():
            audio = _played(instrument, draw)
            row = [(block, _settings(block, draw)) for block in map(example, names)]
            output = run_row(row, audio)
        assert torch.isfinite(output).all(), f"chain {chain}: {instrument}, {', '.join(names)}"
        assert output.shape[-1] == audio.shape[-1]
