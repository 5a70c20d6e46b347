"""Knobs: patterns, and the way between unbounded z and physical values."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks.parameter import Choice
from hitchain.chain import Knobs, Song
from hitchain.errors import UserError


def test_patterns_free_and_take_away(demo: Song) -> None:
    names = {knob.name for knob in Knobs(demo, ["mastering.*", "lead.fader.level", "!mastering.limiter.*"]).knobs}
    assert "lead.fader.level" in names
    assert any(name.startswith("mastering.") for name in names)
    assert not any(name.startswith("mastering.limiter.") for name in names)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["lead.fader.levle"], "lead.fader.level"),
        (["master.*"], "did you mean 'mast"),
        ([], "no parameter"),
        (["*", "!*"], "no parameter"),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_nearest(demo: Song, patterns: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        Knobs(demo, patterns)


def test_there_and_back(demo: Song) -> None:
    knobs = Knobs(demo, ["*"])
    z = knobs.unbounded(demo.patch(batch=3, seed=5, spread=0.1, learn=["*"]))  # ends of ranges move inside
    patch = demo.start
    again = knobs.unbounded(knobs.apply(z, patch))
    assert torch.allclose(knobs.positions(z), knobs.positions(again), atol=2e-3)


@given(scale=st.floats(0.1, 40.0), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_any_z_is_a_valid_patch(demo: Song, scale: float, seed: int) -> None:
    knobs = Knobs(demo, ["*"])
    z = torch.randn(2, knobs.size, generator=torch.Generator().manual_seed(seed)) * scale
    patch = knobs.apply(z, demo.start)
    for path, block in demo.blocks().items():
        block.check(patch.settings[path])


def test_hardening_decides_choices(demo: Song) -> None:
    knobs = Knobs(demo, ["*"])
    patch = knobs.harden(knobs.apply(torch.randn(2, knobs.size), demo.start))
    for knob in knobs.knobs:
        if isinstance(knob.parameter, Choice):
            weights = patch.settings[knob.path][knob.parameter.name]
            assert sorted(weights[0].tolist())[-1] == 1.0
            assert float(weights[0].sum()) == 1.0
