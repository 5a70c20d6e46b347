"""Pitch choices: keys of known tunes, steps against scales written out, and what is played while nothing is decided."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hitchain.blocks.notes.melody import STEPS, Melody
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.notes.scales import KEYS, key_of, neighbours
from hitchain.errors import UserError

ODE_TO_JOY = [64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62]  # Beethoven, in C major
GREENSLEEVES = [69, 72, 74, 76, 77, 76, 74, 71, 67, 69, 71, 72, 69, 69, 68, 69, 71, 68, 64]  # in A minor
C_MAJOR = [48, 50, 52, 53, 55, 57, 59, 60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81, 83, 84]


def tune(pitches: list[int], up: int = 0) -> Notes:
    onsets = [0.4 * index for index in range(len(pitches))]
    return Notes.of(onsets, [0.4] * len(pitches), [float(pitch + up) for pitch in pitches])


def step(block: Melody, option: str, count: int) -> torch.Tensor:
    choice = next(parameter for parameter in block.parameters if parameter.name == "step")
    return choice.weights(option).expand(1, count, -1).clone()  # type: ignore[union-attr]


@given(up=st.integers(-12, 12))
def test_the_key_of_a_known_tune(up: int) -> None:
    for pitches, key in ((ODE_TO_JOY, 0), (GREENSLEEVES, 12 + 9)):
        scale, tonic = divmod(key, 12)
        assert int(key_of(tune(pitches, up))) == 12 * scale + (tonic + up) % 12


@given(pitch=st.integers(52, 80))
def test_steps_are_those_of_the_scale(pitch: int) -> None:
    moved = (pitch + neighbours(tune([pitch]), torch.tensor([KEYS.index("C major")]), STEPS)[0, 0]).tolist()
    above, below = [p for p in C_MAJOR if p > pitch], [p for p in reversed(C_MAJOR) if p < pitch]
    assert moved == [below[1], below[0], pitch, above[0], above[1]]


def test_a_decided_note_is_one_note_at_its_pitch() -> None:
    block = Melody(key="C major")
    weights = step(block, "0", 4)
    weights[0, 1], weights[0, 2] = step(block, "1", 1)[0, 0], step(block, "rest", 1)[0, 0]
    played = block(tune([60, 64, 67, 72]), {**block.defaults(), "step": weights})
    assert played.pitch.tolist() == [[60.0, 65.0, 67.0, 72.0]]
    assert played.mask.tolist() == [[1.0, 1.0, 0.0, 1.0]]


def test_a_blended_note_is_all_its_candidates_as_loud_as_their_weights() -> None:
    block = Melody(key="A minor")
    weights = torch.tensor([[[0.1, 0.2, 0.3, 0.15, 0.05, 0.2], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]], requires_grad=True)
    played = block(tune([69, 72]), {**block.defaults(), "step": weights})
    assert played.pitch[0, :5].tolist() == [65.0, 67.0, 69.0, 71.0, 72.0]
    assert torch.equal(played.mask[0, :5], weights[0, 0, :5])
    assert played.mask[0, 5:].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    sounding = played.window(0.0, 1.0, 0.0)
    assert sounding.count == 6  # candidates without weight cost nothing


def test_as_written_it_is_the_performance_it_was() -> None:
    notes, block = tune(GREENSLEEVES), Melody()
    assert torch.equal(block(notes, block.defaults()).pitch, notes.pitch)
    assert not {"step", "transpose"} & {parameter.name for parameter in Melody(drums=True).parameters}


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'C major'"):
        Melody(key="C majr")
