"""Discrete choices: blended, decided before the end, climbed on around, told, and gone on with bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitchain.chain import Knobs, Song, checkpoint, climb
from hitchain.chain import patch as patches
from hitchain.chain.ascent import Ascent, State, split_settings
from hitchain.chain.decision import choices_of, told_of_choices
from hitchain.chain.objective import Objective
from hitchain.chain.outcome import judge_whole
from hitchain.chain.phases import phases
from hitchain.errors import UserError

SONG = [
    "song.length=2.0", "sample_rate=16000", "mastering=none", "notes=melody", "effects=none", "instrument=additive",
    "effects.pedal.block=effects/selector", "effects.pedal.selected=dull",
    "effects.pedal.blocks={dull: {block: effects/tilt_eq, tilt: -6.0}, bright: {block: effects/tilt_eq, tilt: 6.0}}",
]  # fmt: skip
LEARN = ["effects.pedal.*", "fader.*", "instrument.brightness"]
FAST: dict[str, Any] = {"batch": 2, "window": 1.0, "evaluate_every": 3, "patience": 99}


@pytest.fixture(scope="module")
def pedals() -> Song:
    """A plain tone through one of two tone controls, the dull one to begin with."""
    return Song.load("solo", overrides=SONG)


def brightness(audio: Tensor, sample_rate: int) -> Tensor:
    """Share of the power that a first difference passes: the bright pedal is the right choice."""
    power = audio.square().mean(dim=(-1, -2)) + 1e-9
    return (audio[..., 1:] - audio[..., :-1]).square().mean(dim=(-1, -2)) / power


@pytest.mark.parametrize(("optimizer", "own"), [("adam", {"gumbel": True}), ("cma", {}), ("hybrid", {"evolve": 0.5})])
def test_the_right_option_is_chosen(pedals: Song, optimizer: str, own: dict[str, Any]) -> None:
    more = {"learning_rate": 0.4} if optimizer == "adam" else {}
    best = climb(pedals, brightness, LEARN, optimizer=optimizer, steps=12, neutral=0.0, **FAST, **own, **more)
    weights = best.patch.settings["effects.pedal"]["selected"]
    assert weights.tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_decision_keeps_the_gain_of_the_blend(pedals: Song, seed: int) -> None:
    schedule, own = split_settings("adam", {"steps": 12, "gumbel": True, "learning_rate": 0.2, **FAST})
    ascent = Ascent(pedals, Objective([brightness], neutral=0.0), LEARN, schedule, seed, None, "adam", own)
    before = judge_whole(ascent, pedals.start)
    while not ascent.finished:
        ascent.advance()
    climbed = ascent.result()
    assert climbed.relaxed is not None
    told = choices_of(ascent, climbed, before, judge_whole(ascent, climbed.patch))["choices"]
    assert told["options"] == {"effects.pedal.selected": "bright"}
    blended = float(brightness(pedals(climbed.relaxed), 16000))
    decided = float(brightness(pedals(climbed.patch), 16000))
    assert told["relaxed_rating"] == pytest.approx(blended)
    assert told["kept"] == pytest.approx((decided - before.rating) / (blended - before.rating))
    assert told["kept"] >= 0.9
    assert any("% of the blend's gain is kept" in line for line in told_of_choices({"choices": told}))


def test_choices_stand_still_once_decided(pedals: Song) -> None:
    schedule, own = split_settings("adam", {"steps": 10, "decide_at": 0.5, "learning_rate": 0.3, **FAST})
    ascent = Ascent(pedals, Objective([brightness]), LEARN, schedule, 0, None, "adam", own)
    choices = ascent.knobs.choices()
    while ascent.state.step < 5:
        ascent.advance()
    decided = ascent.state.base[:, choices].clone()
    while not ascent.finished:
        asked = ascent.ask()
        weights = asked.patch.settings["effects.pedal"]["selected"]
        assert sorted(weights.unique().tolist()) == [0.0, 1.0]
        assert torch.equal(asked.z[:, choices], decided)
        row = ascent.advance()
        assert row["phase"] == "decided"
    assert len(ascent.state.history) == 10


@given(steps=st.integers(0, 60), decide_at=st.floats(0.0, 1.0), sweeps=st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_phases_share_the_steps_and_decided_ones_move_no_choice(
    pedals: Song, steps: int, decide_at: float, sweeps: int
) -> None:
    knobs = Knobs(pedals, LEARN)
    found = phases(knobs, steps, sweeps=sweeps, decide_at=decide_at)
    assert sum(phase.steps for phase in found) == steps
    assert [phase.decided for phase in found[:-1]] == [False] * (len(found) - 1)
    assert found[-1].decided == (round(decide_at * steps) < steps)
    if found[-1].decided:
        assert not bool((found[-1].columns & knobs.choices()).any())
    plain = Knobs(pedals, ["fader.*"])
    assert not any(phase.decided for phase in phases(plain, steps, decide_at=decide_at))


RESUMED: dict[str, dict[str, Any]] = {
    "adam": {"gumbel": True, "noise": 0.2, "restarts": 1},
    "adam unlocked": {"gumbel": True, "unlock": ["mix", "effects", "instrument"]},
    "adam in turn": {"sweeps": 2},
    "lbfgs": {"refresh": 3},
    "cma": {},
    "random": {},
    "hybrid": {"evolve": 0.5},
}


@pytest.mark.parametrize("case", RESUMED)
def test_it_goes_on_bit_for_bit_from_any_step(pedals: Song, case: str, tmp_path: Path) -> None:
    def begin(state: State | None = None) -> Ascent:
        name = case.partition(" ")[0]
        schedule, own = split_settings(name, {"steps": 8, **FAST, **RESUMED[case]})
        return Ascent(pedals, Objective([brightness]), LEARN, schedule, 3, state, name, own)

    whole, killed = begin(), begin()
    while not whole.finished:
        whole.advance()
    while not killed.finished:  # killed after every single step
        killed.advance()
        checkpoint.save(tmp_path, killed.state)
        if not killed.finished:
            killed = begin(checkpoint.load(tmp_path))
    for key in State.TENSORS:
        assert torch.equal(getattr(whole.state, key), getattr(killed.state, key)), key
    for ours, theirs in zip(whole.state.history, killed.state.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    one, other = whole.result().patch, killed.result().patch
    for path, values in one.settings.items():
        assert all(torch.equal(value, other.settings[path][key]) for key, value in values.items())


def test_a_choice_for_each_note_goes_to_a_file_and_back(pedals: Song, tmp_path: Path) -> None:
    knobs = Knobs(pedals, ["notes.step"])
    count = pedals.tracks["solo"].notes.count
    assert knobs.size == 6 * count
    z = torch.randn(1, knobs.size, generator=torch.Generator().manual_seed(0))
    blend = knobs.apply(z, pedals.start)
    assert blend.settings["notes"]["step"].shape == (1, count, 6)
    assert torch.allclose(knobs.positions(knobs.unbounded(blend)).reshape(1, count, 6).sum(-1), torch.ones(1, count))
    for patch in (blend, knobs.harden(blend)):
        patches.save(tmp_path / "patch.json", patch, pedals.blocks())
        again = patches.load(tmp_path / "patch.json", pedals.blocks(), pedals.start)
        assert torch.allclose(again.settings["notes"]["step"], patch.settings["notes"]["step"], atol=1e-6)
    decided = knobs.harden(blend).settings["notes"]["step"]
    assert sorted(decided.unique().tolist()) == [0.0, 1.0]
    assert torch.equal(decided.argmax(-1), blend.settings["notes"]["step"].argmax(-1))


def test_choices_per_note_are_checked(pedals: Song) -> None:
    block = pedals.blocks()["notes"]
    assert patches.from_data(block, {"step": ["rest", "1"]}, "notes")["step"].argmax(-1).tolist() == [5, 3]
    with pytest.raises(UserError, match="'3' is not an option"):
        patches.from_data(block, {"step": ["0", "3"]}, "notes")
    with pytest.raises(UserError, match="has 2 values"):
        Song.load("solo", overrides=["notes=melody", "notes.step=[rest,rest]", "song.length=1.0"])
