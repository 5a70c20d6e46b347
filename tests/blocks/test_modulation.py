"""Knobs turned through time: by a parameter that follows, and by cross-fading one that does not."""

from __future__ import annotations

import math

import pytest
import torch

from hitchain import blocks
from hitchain.blocks.modulation import Modulator, modulated
from hitchain.blocks.nesting import make
from hitchain.blocks.parameter import START, Parameter
from hitchain.errors import UserError

RATE = 44100


def _with_lfo(block: str, target: str, **knobs: float | str) -> blocks.Block:
    entry = {"block": "modulators/lfo", "target": target, **knobs}
    return make({"block": block, "modulators": {"wobble": entry}}, "here", RATE)[0]


def test_a_level_follows_a_sine() -> None:
    block = _with_lfo("effects/gain", "level", rate=2.0, amount=0.1)
    audio = torch.ones(1, 1, RATE, dtype=torch.float64)
    output = block.double()(audio, block.defaults(1, torch.float64))[0, 0]
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    level = 0.1 * 84.0 * torch.sin(2 * math.pi * 2.0 * time)  # the knob travels from -60 to 24 dB
    torch.testing.assert_close(output, 10 ** (level / 20), rtol=2e-3, atol=0)


def test_a_window_is_in_step_with_the_song() -> None:
    block = _with_lfo("effects/gain", "level", rate=3.3, amount=0.2)
    audio = torch.ones(1, 1, 2 * RATE)
    whole = block(audio, block.defaults())
    start = {START: torch.tensor(0.5, dtype=torch.float64)}
    part = block(audio[..., : RATE // 2], {**block.defaults(), **start})
    torch.testing.assert_close(part, whole[..., RATE // 2 : RATE], rtol=0, atol=2e-3)


def test_a_knob_that_cannot_follow_stands_where_it_is_turned_to() -> None:
    """With a nearly still LFO at its peak, the equaliser sounds as with its knob set there."""
    block = _with_lfo("effects/parametric_eq", "peak2_gain", rate=0.02, phase=90.0, amount=0.25)
    audio = torch.randn(1, 2, RATE // 4, generator=torch.Generator().manual_seed(0))
    plain = blocks.create("effects/parametric_eq", sample_rate=RATE)
    expected = plain(audio, {**plain.defaults(), "peak2_gain": torch.tensor([9.0])})  # a quarter of 36 dB above 0
    torch.testing.assert_close(block(audio, block.defaults()), expected, rtol=0, atol=2e-3)


def test_an_instrument_is_modulated_too() -> None:
    block = _with_lfo("instruments/additive", "brightness", rate=4.0, amount=0.3)
    notes = blocks.Notes.of([0.0], [0.5], [57.0], [0.8], length=0.6)
    still = blocks.create("instruments/additive", sample_rate=RATE)
    assert isinstance(block, blocks.Instrument)
    assert not torch.allclose(block(notes, block.defaults()), still(notes, still.defaults()), atol=1e-3)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"block": "modulators/lfo", "target": "levle"}, "did you mean 'level'"),
        ({"block": "modulators/lfo", "target": "level", "rat": 2.0}, "did you mean 'rate'"),
        ({"block": "effects/gain", "target": "level"}, "is no modulator"),
        ({"target": "level"}, "should be a block"),
        (3, "should be a modulator"),
    ],
)
def test_mistakes_are_told(entry: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        modulated(blocks.create("effects/gain"), {"m": entry}, "lead.effects.gain", 44100)


def test_every_modulator_declares_its_amount() -> None:
    for name in blocks.names("modulators"):
        block = blocks.get(name)
        assert issubclass(block, Modulator)
        assert any(isinstance(item, Parameter) and item.name == "amount" for item in block.parameters)
