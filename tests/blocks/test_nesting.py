"""Racks: what they hold, how knobs reach in, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hitchain import blocks
from hitchain.blocks.nesting import make
from hitchain.blocks.parameter import SIDECHAIN
from hitchain.errors import UserError


def _rack(inner: dict[str, Any], **keys: Any) -> blocks.Block:
    return make({"block": "effects/serial", "blocks": inner, **keys}, "lead.effects.rack", 44100)[0]


def test_a_rack_of_gains_adds_their_levels() -> None:
    rack = _rack({"a": {"block": "effects/gain", "level": -4.0}, "b": {"block": "effects/gain", "level": -2.0}})
    audio = torch.randn(1, 2, 100)
    torch.testing.assert_close(rack(audio, rack.defaults()), audio * 10 ** (-6 / 20))
    turned = {**rack.defaults(), "b.level": torch.tensor([-8.0])}
    torch.testing.assert_close(rack(audio, turned), audio * 10 ** (-12 / 20))


def test_racks_nest_and_presets_reach_in() -> None:
    inner = {"block": "effects/serial", "blocks": {"glue": {"block": "effects/compressor", "preset": "glue"}}}
    rack = _rack({"inner": inner})
    names = {parameter.name: parameter for parameter in rack.parameters}
    assert names["inner.glue.ratio"].default == blocks.get("effects/compressor").presets["glue"]["ratio"]


def test_a_rack_of_linear_blocks_is_their_row() -> None:
    entries: dict[str, dict[str, Any]] = {
        "eq": {"block": "effects/parametric_eq", "peak1_gain": 6.0},
        "echo": {"block": "effects/delay"},
    }
    rack = _rack(entries)
    audio = torch.randn(1, 2, 4000, generator=torch.Generator().manual_seed(0))
    expected = audio
    for entry in entries.values():
        block = blocks.create(str(entry["block"]))
        knobs = {key: torch.tensor([float(value)]) for key, value in entry.items() if key != "block"}
        expected = block(expected, {**block.defaults(), **knobs})
    torch.testing.assert_close(rack(audio, rack.defaults()), expected, rtol=0, atol=1e-4)


def test_what_a_rack_listens_to_reaches_its_blocks() -> None:
    rack = _rack({"duck": {"block": "effects/compressor", "threshold": -40.0, "ratio": 10.0}})
    audio = 0.01 * torch.ones(1, 1, 20000)
    loud = {**rack.defaults(), SIDECHAIN: torch.ones(1, 1, 20000)}
    assert float(rack(audio, loud)[..., -1]) < 0.1 * float(rack(audio, rack.defaults())[..., -1])


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"a": {"block": "effects/gian"}}, "did you mean 'effects/gain'"),
        ({"a": {"block": "effects/gain", "levle": 3}}, "did you mean 'level'"),
        ({"a": {"block": "effects/gain", "level": 99}}, "out of range"),
        ({"a": {"block": "effects/gain", "preset": "nope"}}, "no preset 'nope'"),
        ({"a": {"block": "instruments/additive"}}, "a rack holds audio blocks"),
        ({"a": {"block": "effects/compressor", "sidechain": "drums"}}, "set on the rack itself"),
        ({"a b": {"block": "effects/gain"}}, "is no name"),
        ({}, "at least one block"),
        (None, "at least one block"),
        ({"a": 3}, "should be a block"),
    ],
)
def test_mistakes_are_told(inner: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _rack(inner)
