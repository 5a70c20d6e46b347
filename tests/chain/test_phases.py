"""Phases: the steps are shared out whole, what is unlocked stays free, and what is not stands still."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitchain.chain import Knobs, Song
from hitchain.chain.ascent import Ascent, split_settings
from hitchain.chain.commands import optimizer_of
from hitchain.chain.config import compose
from hitchain.chain.objective import Objective
from hitchain.chain.phases import GROUPS, columns_of, group_of, phases
from hitchain.chain.report.along import phases as phases_section
from hitchain.chain.report.along import spread, stretches
from hitchain.errors import UserError

LEARN = ["lead.notes.*", "lead.instrument.*", "lead.effects.*", "*.fader.*", "mastering.equaliser.*"]
SMALL = ["lead.fader.level", "mastering.equaliser.*"]
FAST = {"batch": 2, "window": 1.0, "evaluate_every": 2, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def knobs(demo: Song) -> Knobs:
    return Knobs(demo, LEARN)


def brightness(audio: Tensor, sample_rate: int) -> Tensor:
    power = audio.square().mean(dim=(-1, -2)) + 1e-9
    return (audio[..., 1:] - audio[..., :-1]).square().mean(dim=(-1, -2)) / power


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(0, 500), unlock=st.lists(st.sampled_from(list(GROUPS)), unique=True, min_size=1))
def test_unlocking_shares_out_all_steps_and_never_locks_again(knobs: Knobs, steps: int, unlock: list[str]) -> None:
    found = phases(knobs, steps, unlock)
    assert [phase.name for phase in found] == unlock  # every group has knobs here
    assert sum(phase.steps for phase in found) == steps
    assert max(phase.steps for phase in found) - min(phase.steps for phase in found) <= 1
    reached = torch.zeros(knobs.size, dtype=torch.bool)
    for phase in found:
        own = columns_of(knobs, [phase.name])
        assert bool(own.any())
        assert torch.equal(phase.columns, reached | own)
        reached = phase.columns


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(0, 200), sweeps=st.integers(1, 4))
def test_sweeps_take_turns_over_every_group(knobs: Knobs, steps: int, sweeps: int) -> None:
    found = phases(knobs, steps, (), sweeps)
    assert [phase.name for phase in found] == list(GROUPS) * sweeps
    assert sum(phase.steps for phase in found) == steps
    for phase in found:
        assert torch.equal(phase.columns, columns_of(knobs, [phase.name]))


def test_every_knob_belongs_to_one_group(knobs: Knobs) -> None:
    together = torch.stack([columns_of(knobs, [name]) for name in GROUPS])
    assert bool((together.sum(dim=0) == 1).all())
    for path, group in (("mastering.limiter", "mastering"), ("lead.fader", "mix"), ("lead.sends.room", "mix"),
                        ("lead.amp", "effects"), ("effects.reverb", "effects"), ("bass.instrument", "instrument"),
                        ("notes", "notes"), ("plate.effects.plate", "effects")):  # fmt: skip
        assert group_of(path) == group


def test_groups_without_a_freed_knob_are_passed_over(demo: Song) -> None:
    found = phases(Knobs(demo, SMALL), 10, list(GROUPS))
    assert [phase.name for phase in found] == ["mastering", "mix"]
    with pytest.raises(UserError, match="none of the freed knobs"):
        phases(Knobs(demo, SMALL), 10, ["notes"])
    with pytest.raises(UserError, match="mastering"):
        phases(Knobs(demo, SMALL), 10, ["masterin"])


def test_what_is_locked_stands_still(demo: Song) -> None:
    """Step by step: only the columns of the present phase move, and each phase begins where the last one stood."""
    schedule, own = split_settings("adam", {"steps": 6, "unlock": ["mastering", "mix"], "patience": 99, **FAST})
    ascent = Ascent(demo, Objective([brightness]), SMALL, schedule, 7, None, "adam", own)
    level = columns_of(ascent.knobs, ["mix"])
    start = ascent.knobs.unbounded(demo.start)
    for step in range(6):
        row = ascent.advance()
        assert row["phase"] == ("mastering" if step < 3 else "mix")
        leaders = ascent._leaders()
        assert torch.equal(leaders[:, level], start[:, level].expand(2, -1)) == (step < 2)
        assert not torch.equal(leaders[:, ~level], start[:, ~level].expand(2, -1))
    assert ascent.state.stopped == "all steps taken"
    drawn = stretches(ascent.state.history)
    assert [(name, len(rows)) for name, rows in drawn] == [("mastering", 3), ("mix", 3)]
    page = phases_section(ascent.state.history)
    assert page.count("<svg") == 2
    assert "1. mastering, steps 1 to 3" in page
    assert "2. mix, steps 4 to 6" in page
    assert spread(ascent.state.history).count("<svg") == 1
    assert phases_section([{"step": 1, "rating": 0.1}]) == ""


def test_a_whole_song_is_a_ready_choice() -> None:
    name, schedule, _ = optimizer_of(compose("optimize", ["optimizer=whole"]))
    assert name == "adam"
    assert list(schedule.unlock) == ["mastering", "mix", "effects", "instrument", "notes"] == list(GROUPS)


@pytest.mark.parametrize(
    ("words", "steps", "seconds"),
    [([], 60, None), (["optimizer.budget=10m"], 60, 600.0), (["optimizer.budget=200steps"], 200, None)],
)
def test_a_budget_is_of_time_or_of_steps(words: list[str], steps: int, seconds: float | None) -> None:
    _, schedule, _ = optimizer_of(compose("optimize", words))
    assert (schedule.steps, schedule.budget) == (steps, seconds)
