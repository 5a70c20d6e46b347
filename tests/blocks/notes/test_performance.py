"""The performance block: neutral is as written, each knob does what its unit says, every gradient is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitchain.blocks import SEED, Notes, create
from hitchain.blocks.certificate import certify, example
from hitchain.blocks.notes.performance import Performance, soft_floor
from hitchain.errors import UserError


def score(count: int = 8, tempo: float = 120.0) -> Notes:
    """A row of eighth notes a semitone apart, each 0.2 s of the 0.25 it has."""
    step = 30.0 / tempo
    return Notes.of(
        [step * i for i in range(count)],
        [0.8 * step] * count,
        [60.0 + i for i in range(count)],
        [0.5] * count,
        tempo=tempo,
        dtype=torch.float64,
    )


def play(notes: Notes, seed: int = 0, **changes: Tensor | float | str) -> Notes:
    block = create("notes/performance")
    values = block.defaults(notes.batch, torch.float64)
    for key, value in changes.items():
        if isinstance(value, str):
            value = block.parameters[3].weights(value).double().expand(notes.batch, -1)
        values[key] = value if isinstance(value, Tensor) else torch.full((notes.batch,), value, dtype=torch.float64)
    block.check(values)
    return block(notes, {**values, SEED: torch.tensor(seed)})


def test_neutral_settings_leave_notes_as_written() -> None:
    notes = score()
    played = play(notes, seed=5)
    for key, value in notes.tensors().items():
        torch.testing.assert_close(played.tensors()[key], value, rtol=0, atol=1e-15)
    assert played.length == notes.length


def test_timing_velocity_and_duration_note_by_note() -> None:
    notes = score(3)
    timing = torch.tensor([[0.0, 12.5, -30.0]], dtype=torch.float64)
    velocity = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    played = play(notes, timing=timing, velocity=velocity, duration=1.5)
    assert (played.onset - notes.onset)[0].tolist() == pytest.approx([0.0, 0.0125, -0.030])
    assert played.velocity[0].tolist() == pytest.approx([0.6, 0.3, 0.8])
    assert played.duration[0].tolist() == pytest.approx([0.3] * 3)
    assert (play(notes, timing=-8.0).onset - notes.onset)[0, 1:].tolist() == pytest.approx([-0.008] * 2)


@pytest.mark.parametrize(("percent", "ratio"), [(50.0, 1.0), (200.0 / 3.0, 2.0), (75.0, 3.0)])
def test_swing_ratio(percent: float, ratio: float) -> None:
    """The long eighth is to the short as swing to 100 - swing: 2:1 at 66.7 %, 3:1 at 75 %."""
    played = play(score(), swing=percent)
    steps = played.onset[0].diff()
    assert (steps[0::2][:3] / steps[1::2][:3]).tolist() == pytest.approx([ratio] * 3)
    assert played.onset[0, 0::2].tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5])
    ends = played.onset + played.duration
    assert bool((ends[0, :-1] < played.onset[0, 1:]).all())  # what did not overlap still does not


def test_swung_sixteenths() -> None:
    block = create("notes/performance", subdivision=16)
    notes = Notes.of([0.0, 0.125, 0.25, 0.375], [0.1] * 4, [60.0] * 4, tempo=120.0, dtype=torch.float64)
    settings_ = {**block.defaults(1, torch.float64), "swing": torch.tensor([75.0], dtype=torch.float64)}
    assert block(notes, settings_).onset[0].tolist() == pytest.approx([0.0, 0.1875, 0.25, 0.4375])
    with pytest.raises(UserError, match="8 or 16"):
        create("notes/performance", subdivision=12)


def test_humanise_has_the_spread_it_says_and_follows_the_note() -> None:
    count = 2000
    notes = Notes.of(
        [1.0 + 0.1 * i for i in range(count)],
        [0.1] * count,
        [40.0 + i % 37 for i in range(count)],
        [0.5] * count,
        dtype=torch.float64,
    )
    played = play(notes, humanise_timing=10.0, humanise_velocity=0.1)
    moved, louder = (played.onset - notes.onset)[0], (played.velocity - notes.velocity)[0]
    assert moved.std().item() == pytest.approx(0.010, rel=0.05)  # 2000 uniform draws: 1.0 % standard error
    assert louder.std().item() == pytest.approx(0.1, rel=0.05)
    assert abs(moved.mean().item()) < 0.001
    assert abs(torch.corrcoef(torch.stack([moved, louder]))[0, 1].item()) < 0.1
    some = torch.arange(0, count, 7)
    part = play(notes.select(some), humanise_timing=10.0)
    torch.testing.assert_close(part.onset, played.onset[:, some], rtol=0, atol=0)
    other = play(notes, seed=1, humanise_timing=10.0)
    assert not torch.equal(other.onset, played.onset)


def test_it_is_its_formula(accuracy: Callable[..., None]) -> None:
    """Swing as an interpolation of written time to played time, by numpy; away from the limits."""
    generator = np.random.default_rng(3)
    onset, length = np.sort(generator.uniform(0.5, 8.0, 40)), generator.uniform(0.1, 0.4, 40)
    struck, tempo, swing = generator.uniform(0.3, 0.7, 40), 97.0, 63.0
    notes = Notes.of(
        *(x.tolist() for x in (onset, length, np.full(40, 60.0), struck)), tempo=tempo, dtype=torch.float64
    )
    played = play(notes, timing=-11.0, velocity=0.12, duration=0.8, swing=swing)
    eighth = 30.0 / tempo
    written = eighth * np.arange(40)
    heard = written + eighth * (swing / 50.0 - 1.0) * (np.arange(40) % 2)  # every second eighth comes late
    begin, end = (np.interp(x, written, heard) for x in (onset, onset + length))
    expected = {"onset": begin - 0.011, "duration": 0.8 * (end - begin), "velocity": struck + 0.12}
    worst = max(np.abs(played.tensors()[key][0].numpy() - value).max() for key, value in expected.items())
    accuracy("notes/performance", "numpy.interp of written time to swung time", 1e3 * worst, bound=1e-6, unit="ms")


@pytest.mark.parametrize("name", Performance.presets)
@pytest.mark.parametrize("drums", [False, True])
def test_presets_are_in_range_and_played_as_they_say(name: str, drums: bool) -> None:
    block = create("notes/performance", drums=drums)
    known = {parameter.name: parameter for parameter in block.parameters}
    values = block.defaults(1, torch.float64)
    for key, value in Performance.presets[name].items():
        values[key] = torch.tensor([known[key].check(value, name)], dtype=torch.float64)
    block.check(values)
    notes = Notes.of(
        [1.0 + 0.25 * i for i in range(64)], [0.2] * 64, [60.0] * 64, [0.5] * 64, tempo=120.0, dtype=torch.float64
    )
    played = block(notes, {**values, SEED: torch.tensor(0)})
    moved = 1e3 * (played.onset - notes.onset)[0]
    assert moved.abs().max() < 90.0  # never so far that a note sounds misplaced
    assert moved[::2].mean().item() == pytest.approx(
        float(values["timing"]), abs=0.5 * float(values["humanise_timing"])
    )
    assert moved[::2].std().item() == pytest.approx(float(values["humanise_timing"]), rel=0.3)
    assert (moved[1::2].mean() - moved[::2].mean()).item() == pytest.approx(
        250.0 * (float(values["swing"]) / 50.0 - 1.0), abs=float(values["humanise_timing"])
    )


def test_transpose_by_name_moves_the_notes() -> None:
    notes = score()
    assert torch.equal(play(notes, transpose="-7").pitch, notes.pitch - 7.0)


def test_soft_transposition_makes_candidates_and_reaches_every_weight() -> None:
    notes = score(2).with_(mask=torch.tensor([[1.0, 0.5]], dtype=torch.float64))
    weights = torch.zeros(1, 9, dtype=torch.float64)
    weights[0, 4], weights[0, 7] = 0.75, 0.25
    played = play(notes, transpose=weights)
    assert played.count == 18
    heard = played.mask[0] > 0
    assert played.pitch[0, heard].tolist() == [60.0, 67.0, 61.0, 68.0]
    assert played.mask[0, heard].tolist() == [0.75, 0.25, 0.375, 0.125]
    assert played.window(0.0, 10.0, 0.0).count == 4
    one = torch.eye(9, dtype=torch.float64)[4:5].requires_grad_()
    play(notes, transpose=one).mask.square().sum().backward()
    play(notes, transpose=one).mask.sum().backward()
    assert one.grad is not None
    assert bool((one.grad != 0).all())


def test_drums_are_not_transposed() -> None:
    block = create("notes/performance", drums=True)
    assert "transpose" not in {parameter.name for parameter in block.parameters}
    assert "transpose" in {parameter.name for parameter in create("notes/performance").parameters}
    notes = score().with_(pitch=torch.full((1, 8), 36.0, dtype=torch.float64))
    values = block.defaults(1, torch.float64)
    block.check(values)
    assert torch.equal(block(notes, values).pitch, notes.pitch)


@settings(max_examples=50, deadline=None)
@given(st.floats(-40.0, 40.0), st.floats(-0.4, 0.4), st.floats(0.25, 2.0), st.floats(0.0, 1.0), st.floats(1e-4, 1.0))
def test_extremes_stay_sane_and_climbable(
    timing: float, velocity: float, duration: float, struck: float, length: float
) -> None:
    notes = Notes.of([0.0, 0.01], [length] * 2, [60.0, 64.0], [struck] * 2, dtype=torch.float64)
    knobs = {"timing": timing, "velocity": velocity, "duration": duration}
    tensors = {key: torch.tensor([value], dtype=torch.float64, requires_grad=True) for key, value in knobs.items()}
    played = play(notes, **tensors)
    assert bool((played.onset >= -0.005).all())
    assert bool((played.duration >= 0.010).all())
    assert bool(((played.velocity > 0) & (played.velocity < 1)).all())
    (played.onset + played.duration + played.velocity).sum().backward()
    for key, value in tensors.items():
        assert value.grad is not None, key
        assert value.grad.item() > 1e-4 * (length if key == "duration" else 1e-1), key


def test_soft_floor_is_smooth_at_its_knee() -> None:
    at = torch.tensor([0.02 - 1e-9, 0.02, 0.02 + 1e-9], dtype=torch.float64, requires_grad=True)
    value = soft_floor(at, 0.01, 0.02)
    (slope,) = torch.autograd.grad(value.sum(), at)
    torch.testing.assert_close(value, at.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(slope, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-6)


def test_gradient_certificate() -> None:
    failed = [str(gradient) for gradient in certify(example("notes/performance")) if not gradient.passed]
    assert not failed, "\n".join(failed)
