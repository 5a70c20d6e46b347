"""Every preset of every block: its values are in range, it sounds, and it sounds different from the others."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.block import Block, Instrument, NoteBlock
from hitchain.blocks.certificate import SAMPLE_RATE, example
from hitchain.blocks.modulation import Modulator
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Choice

NAMES = [name for name in blocks.names() if not issubclass(blocks.get(name), NoteBlock)]
PRESETS = [(name, preset) for name in NAMES for preset in blocks.get(name).presets]
LOUDEST = 4.0


def _settings(block: Block, name: str, preset: str) -> dict[str, Tensor]:
    prefix = "modulator." if issubclass(blocks.get(name), Modulator) else ""
    known = {parameter.name: parameter for parameter in block.parameters}
    settings = {**block.defaults(), SEED: torch.tensor(0)}
    for key, value in blocks.get(name).presets[preset].items():
        parameter = known[f"{prefix}{key}"]
        where = f"{name}: preset {preset}: {key}"
        if isinstance(parameter, Choice):
            settings[parameter.name] = parameter.check(value, where)[None]
        else:
            settings[parameter.name] = torch.tensor([parameter.check(value, where)])
    return settings


def _sound(block: Block, settings: dict[str, Tensor]) -> Tensor:
    if isinstance(block, Instrument):
        drums = bool(getattr(block, "plays_drums", False))
        pitches = [36.0, 42.0, 38.0] if drums else [45.0, 52.0, 57.0]
        notes = Notes.of([0.0, 0.25, 0.5], [0.22, 0.22, 0.4], pitches, [0.8] * 3, length=1.0)
        return torch.as_tensor(block(notes, settings))
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    hits = torch.exp(-((time * 4.0) % 1.0) * 6.0)
    tone = sum(torch.sin(2 * math.pi * 110.0 * k * time) / k for k in range(1, 12))
    noise = torch.randn(1, 2, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    return torch.as_tensor(block(hits * (0.15 * tone + 0.05 * noise), settings))


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_preset_is_in_range_and_of_sane_level(name: str, preset: str) -> None:
    block = example(name)
    output = _sound(block, _settings(block, name, preset))
    assert torch.isfinite(output).all()
    loudness = 20.0 * math.log10(float(output.square().mean().sqrt()) + 1e-12)
    assert -60.0 < loudness < 0.0
    assert float(output.abs().max()) < LOUDEST


@pytest.mark.parametrize("name", sorted({name for name, _ in PRESETS}))
def test_presets_differ(name: str) -> None:
    block = example(name)
    sounds = [_sound(block, _settings(block, name, preset)) for preset in blocks.get(name).presets]
    for index, one in enumerate(sounds):
        for other in sounds[:index]:
            assert float((one - other).abs().max()) > 1e-4
