"""Polyphony: each voice where it belongs, however the notes are grouped."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks.dsp import voices as polyphony
from hitchain.blocks.dsp.voices import Voices
from hitchain.blocks.notes.notes import Notes

RATE = 8000
TAIL = 0.02


def _play(notes: Notes, chosen: torch.Tensor | None = None) -> torch.Tensor:
    """Every note a burst whose samples are velocity * (1 + time), in float64."""

    def voice(voices: Voices) -> torch.Tensor:
        return voices.of(notes.velocity)[:, None] * (1.0 + voices.time(notes.onset))

    return polyphony.render(notes, RATE, TAIL, voice, dtype=torch.float64, chosen=chosen)


def _play_one_by_one(notes: Notes, length: float) -> np.ndarray:
    samples = np.arange(round(length * RATE)) / RATE
    audio = np.zeros((notes.batch, len(samples)))
    for item in range(notes.batch):
        for note in range(notes.count):
            onset, duration = float(notes.onset[item, note]), float(notes.duration[item, note])
            sounds = (samples >= onset) & (samples < onset + duration + TAIL) & bool(notes.mask[item, note] > 0)
            audio[item] += sounds * float(notes.velocity[item, note]) * (1.0 + samples - onset)
    return audio


@settings(max_examples=25, deadline=None)
@given(data=st.data(), count=st.integers(0, 6), batch=st.integers(1, 3))
def test_equals_notes_played_one_by_one(data: st.DataObject, count: int, batch: int) -> None:
    def draw(low: float, high: float) -> torch.Tensor:
        values = data.draw(st.lists(st.floats(low, high), min_size=batch * count, max_size=batch * count))
        return torch.tensor(values, dtype=torch.float64).reshape(batch, count) + 1.234567e-5  # on no sample exactly

    notes = Notes(
        onset=draw(-0.5, 0.6),
        duration=draw(0.001, 0.8),
        pitch=draw(30, 90),
        velocity=draw(0, 1),
        mask=(draw(0, 1) > 0.3).double(),
        beat=draw(0, 4),
        beat_length=torch.full((batch, count), 0.5, dtype=torch.float64),
        length=0.5,
    )
    audio = _play(notes)
    assert audio.shape == (batch, 1, 4000)
    np.testing.assert_allclose(audio[:, 0].numpy(), _play_one_by_one(notes, 0.5), atol=1e-12)


def test_only_the_chosen_are_played() -> None:
    notes = Notes.of([0.0101, 0.0101], [0.1, 0.2], [60, 64], [0.5, 0.7], length=0.4, dtype=torch.float64)
    chosen = torch.tensor([[True, False]])
    rest = _play(notes, ~chosen)
    torch.testing.assert_close(_play(notes, chosen) + rest, _play(notes))
    assert rest.abs().sum() > 0


def test_gradients_of_adding_and_reading() -> None:
    notes = Notes.of([-0.001, 0.0005, 0.0021], [0.003, 0.001, 0.004], [60, 61, 62], length=0.005)
    (voices,) = list(polyphony.allocate(notes.expand(2), RATE, 0.0))
    audio = torch.randn(len(voices.row), voices.span, dtype=torch.float64, requires_grad=True)
    onto = torch.randn(2, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, y: polyphony.overlap_add(x.clone(), y, voices), (onto, audio))
    tables = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    row, position = torch.tensor([1, 0, 1]), torch.tensor([-3, 5, 100])
    assert torch.autograd.gradcheck(lambda x: polyphony.read(x, row, position, 17), tables)
    expected = tables[row[:, None], (position[:, None] + torch.arange(17)) % 7]
    assert torch.equal(polyphony.read(tables, row, position, 17), expected)


def test_noise_follows_the_note_through_every_window() -> None:
    whole = Notes.of([0.3, 0.3, 0.55], [0.5, 0.5, 0.4], [60, 64, 67], length=1.0, dtype=torch.float64)

    def place(notes: Notes, start: float) -> dict[float, int]:
        return {
            float(pitch): int(position) - int(begin) - round(start * RATE)
            for voices in polyphony.allocate(notes, RATE, TAIL)
            for pitch, position, begin in zip(
                voices.of(notes.pitch), voices.noise_position(notes), voices.start, strict=True
            )
        }

    seen, windowed = place(whole, 0.0), place(whole.window(0.4, 0.5, TAIL), 0.4)
    assert windowed == seen
    assert len(set(seen.values())) == 3
