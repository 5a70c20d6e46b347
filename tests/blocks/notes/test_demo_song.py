"""The demo song is music: in its key, in time, its bass on the roots, its end an end; and it can be made again."""

from __future__ import annotations

import runpy
import sys
from importlib.resources import as_file, files
from pathlib import Path

import pytest
import torch

from hitchain.blocks.notes.midi import Part, Score, read_midi

REPOSITORY = Path(__file__).parents[3]
GROOVE = REPOSITORY.parent / "shared" / "data" / "notes" / "groove"


@pytest.fixture(scope="module")
def demo() -> Score:
    with as_file(files("hitchain") / "data" / "demo" / "demo.mid") as path:
        return read_midi(path, dtype=torch.float64)


def part(score: Score, name: str) -> Part:
    return next(part for part in score.parts if part.name == name)


def beats(of: Part) -> torch.Tensor:
    """Onsets in quarter notes from where the tune begins, after two beats of drums."""
    return of.notes.beat[0] - 2.0


def sounding(of: Part, beat: float) -> set[int]:
    """Pitch classes that sound just after a beat."""
    notes = of.notes
    at = (beat + 2.01) * 60.0 / 132.0
    return {int(p) % 12 for p in notes.pitch[0][(notes.onset[0] <= at) & (notes.onset[0] + notes.duration[0] > at)]}


def test_parts_tempo_and_length(demo: Score) -> None:
    names = [(part.name, part.channel, part.is_drums) for part in demo.parts]
    assert names == [("lead", 0, False), ("bass", 1, False), ("chords", 2, False), ("drums", 9, True)]
    assert demo.title == "Drowsy Maggie"
    assert demo.tempo_map.tempo == pytest.approx(132.0, abs=1e-3)
    assert 30.0 < demo.length < 32.0


def test_density_and_range(demo: Score) -> None:
    """A reel runs in eighth notes; nobody leaves his instrument's range; the bass stays under the chords."""
    per_bar = {part.name: part.notes.count / 16 for part in demo.parts}
    assert 6 < per_bar["lead"] < 8
    assert 5 < per_bar["bass"] < 8
    assert 8 < per_bar["drums"] < 24
    reach = {part.name: (part.notes.pitch.min().item(), part.notes.pitch.max().item()) for part in demo.parts}
    assert reach["lead"] == (62.0, 81.0)
    assert reach["bass"][0] >= 28
    assert reach["bass"][1] < reach["chords"][0] < reach["lead"][0]


def test_all_parts_share_a_key_and_the_lead_fits_the_chords(demo: Score) -> None:
    lead, bass, chords = (part(demo, name) for name in ("lead", "bass", "chords"))
    for of in (lead, bass, chords):
        assert {int(p) % 12 for p in of.notes.pitch[0]} <= {0, 1, 2, 4, 6, 7, 9, 11}  # E minor, C or C sharp
    assert 1 not in {int(p) % 12 for p in chords.notes.pitch[0]}
    strong = [beat for beat in range(0, 64, 2) if sounding(lead, beat) <= sounding(chords, beat) | {4}]
    assert len(strong) >= 26  # of 32 half bars begin on a note of the chord (or on the tune's drone, E)


def test_the_bass_is_on_the_root_where_the_chord_changes(demo: Score) -> None:
    roots = {frozenset({4, 7, 11}): 4, frozenset({2, 6, 9}): 2, frozenset({11, 2, 6}): 11}
    roots |= {frozenset({7, 11, 2}): 7, frozenset({0, 4, 7}): 0, frozenset({9, 0, 4}): 9}
    chords, bass = part(demo, "chords"), part(demo, "bass")
    changes = 0
    before: frozenset[int] = frozenset()
    for beat in range(0, 65, 2):
        chord = frozenset(sounding(chords, beat))
        if chord != before:
            assert sounding(bass, beat) == {roots[chord]}
            changes += 1
        before = chord
    assert changes > 20


def test_one_line_at_a_time(demo: Score) -> None:
    """Lead and bass never sound two notes at once."""
    for name in ("lead", "bass"):
        notes = part(demo, name).notes
        assert bool((notes.onset[0, 1:] >= notes.onset[0, :-1] + notes.duration[0, :-1] - 1e-3).all())


def test_drums_are_human_and_in_time(demo: Score) -> None:
    """General MIDI notes only; round the grid by milliseconds, not on it, and centred on it; many velocities."""
    drums = part(demo, "drums").notes
    assert set(drums.pitch[0].int().tolist()) <= {36, 38, 42, 43, 44, 46, 49, 51, 53, 57}
    grid = drums.beat[0] * 4
    deviation = (grid - grid.round()) / 4 * 60_000.0 / 132.0
    assert abs(deviation.median().item()) < 8.0
    assert 5.0 < deviation.std().item() < 30.0
    assert drums.velocity.unique().numel() > 40
    snare = beats(part(demo, "drums"))[drums.pitch[0] == 38]
    backbeats = [beat for beat in range(1, 64, 2) if (snare - beat).abs().min() < 0.1]
    assert len(backbeats) >= 28  # of 32


def test_it_ends_on_the_tonic_together(demo: Score) -> None:
    assert sounding(part(demo, "chords"), 64.0) == {4, 7, 11}
    assert sounding(part(demo, "bass"), 64.0) == sounding(part(demo, "lead"), 64.0) == {4}
    last = {
        int(p) for p, b in zip(part(demo, "drums").notes.pitch[0], beats(part(demo, "drums")), strict=True) if b > 63.9
    }
    assert last == {36, 49}


@pytest.mark.skipif(not GROOVE.exists(), reason="the Groove MIDI data is not beside the repository")
def test_it_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make_demo_song.py", str(GROOVE), "--out", str(tmp_path / "demo.mid")])
    runpy.run_path(str(REPOSITORY / "tools" / "make_demo_song.py"), run_name="__main__")
    assert (tmp_path / "demo.mid").read_bytes() == (REPOSITORY / "hitchain/data/demo/demo.mid").read_bytes()
