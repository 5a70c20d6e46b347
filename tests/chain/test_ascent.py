"""The climb: it climbs, it stops for the right reason, and a killed climb ends where it would have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hitchain.chain import Knobs, Song, Window, checkpoint, climb
from hitchain.chain.ascent import Ascent, State, split_settings
from hitchain.chain.objective import Objective
from hitchain.errors import UserError

LEARN = ["*.fader.*", "mastering.equaliser.*", "mastering.width.*"]
FAST = {"batch": 2, "window": 1.0, "evaluate_every": 2, "learning_rate": 0.1}


def brightness(audio: Tensor, sample_rate: int) -> Tensor:
    """Share of the power that a first difference passes: a rating with a known way up (more treble)."""
    power = audio.square().mean(dim=(-1, -2)) + 1e-9
    return (audio[..., 1:] - audio[..., :-1]).square().mean(dim=(-1, -2)) / power


def dullness(audio: Tensor, sample_rate: int) -> Tensor:
    """The opposite judge."""
    return -brightness(audio, sample_rate)


def test_it_climbs_a_known_rating(demo: Song) -> None:
    best = climb(demo, brightness, learn=LEARN, steps=12, seed=1, neutral=0.0, **FAST)
    with torch.no_grad():
        before, after = brightness(demo(demo.start), 44100), brightness(demo(best.patch), 44100)
    assert float(after) > 1.5 * float(before)
    assert best.stopped == "all steps taken"
    gains = best.patch.settings["mastering.equaliser"]["high_shelf_gain"]
    assert float(gains) > float(demo.start.settings["mastering.equaliser"]["high_shelf_gain"])


def test_frozen_knobs_stay(demo: Song) -> None:
    best = climb(demo, brightness, learn=["lead.fader.level"], steps=2, **FAST)
    for path, values in best.patch.settings.items():
        for key, value in values.items():
            same = torch.equal(value, demo.start.settings[path][key])
            assert same or (path, key) == ("lead.fader", "level"), f"{path}.{key} moved"


def ascend(song: Song, steps: int, state: State | None = None, until: int | None = None) -> State:
    schedule, settings = split_settings("adam", {"steps": steps, "patience": 99, **FAST})
    ascent = Ascent(song, Objective([brightness], dullness), LEARN, schedule, 7, state, "adam", settings)
    while not ascent.finished and (until is None or ascent.state.step < until):
        ascent.advance()
    return ascent.state


def test_a_killed_climb_ends_where_it_would_have(demo: Song, tmp_path: Path) -> None:
    whole = ascend(demo, 6)
    checkpoint.save(tmp_path, ascend(demo, 6, until=3))
    restored = checkpoint.load(tmp_path)
    resumed = ascend(demo, 6, restored)
    for key in State.TENSORS:
        assert torch.equal(getattr(whole, key), getattr(resumed, key)), key
    for ours, theirs in zip(whole.history, resumed.history, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_it_stops_where_the_held_out_judge_parts(demo: Song) -> None:
    best = climb(demo, brightness, LEARN, heldout=dullness, steps=60, patience=2, neutral=0.0, **FAST)
    assert "held-out" in best.stopped
    assert len(best.history) < 60


def test_it_stops_on_a_plateau(demo: Song) -> None:
    def constant(audio: Tensor, sample_rate: int) -> Tensor:
        return audio.sum(dim=(-1, -2)) * 0.0

    best = climb(demo, constant, LEARN, steps=60, patience=2, **FAST)
    assert best.stopped == "plateau"


def test_a_rating_that_is_not_finite_stops_it_with_the_last_good_state(demo: Song) -> None:
    def broken(audio: Tensor, sample_rate: int) -> Tensor:
        return audio.sum(dim=(-1, -2)) * float("nan")

    best = climb(demo, broken, LEARN, steps=5, **FAST)
    assert "not finite" in best.stopped
    for values in best.patch.settings.values():
        assert all(bool(torch.isfinite(value).all()) for value in values.values())


def test_budget_ends_it(demo: Song) -> None:
    best = climb(demo, brightness, LEARN, steps=1000, budget=0.5, **FAST)
    assert best.stopped == "budget spent"


@pytest.mark.parametrize("key", ["steps", "batch", "window", "learning_rate", "spread", "patience"])
def test_a_schedule_out_of_range_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=f"optimizer.{key}"):
        split_settings("adam", {key: -1})


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"not a checkpoint at all"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / checkpoint.NAME).write_bytes(damage)
    with pytest.raises(UserError, match="checkpoint"):
        checkpoint.load(tmp_path)


def test_the_gradient_reaches_into_the_notes(solo: Song) -> None:
    """Timing and velocity of each note that sounds, and the weight of each transposition."""
    knobs = Knobs(solo, ["notes.timing", "notes.velocity", "notes.transpose"])
    z = knobs.unbounded(solo.start).requires_grad_(True)
    audio = solo(knobs.apply(z, solo.start), Window(1.0, 1.0))
    (gradient,) = torch.autograd.grad(brightness(audio, 44100).sum(), z)
    assert bool(torch.isfinite(gradient).all())
    notes = solo.tracks["solo"].notes
    sounding = int(((notes.onset > 1.0) & (notes.onset < 1.9)).sum())
    assert sounding > 3
    for knob in knobs.knobs:
        alive = int((gradient[0, knob.first : knob.first + knob.size] != 0).sum())
        assert alive >= (9 if knob.parameter.name == "transpose" else sounding), knob.name
