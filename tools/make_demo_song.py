"""Make the demo song, hitchain/data/demo/demo.mid.

    python tools/make_demo_song.py GROOVE_FOLDER [--out demo.mid]

GROOVE_FOLDER is the unpacked Groove MIDI Dataset. The tune is the reel "Drowsy Maggie" as printed in O'Neill's Music of
Ireland (Chicago, 1903), no. 1425, in the public domain. Bass and chords are arranged here. The drums are a human
performance with its timing kept. Form: two beats of drums leading in, A A B B of four bars each, a closing chord.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import pairwise
from pathlib import Path

import torch

from hitchain.blocks.notes.midi import Part, read_midi, write_midi
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.notes.tempo import TempoMap

TITLE = "Drowsy Maggie"
TEMPO = 132.0
LEAD_IN = 2.0
"""Quarter notes before the tune begins: the drummer's fill."""
BEATS = 64
ENDING = 4.0
"""Quarter notes for which the last chord sounds."""

TUNE = """
E2 BE dEBE | E2 BE AFDF | E2 BE dEBE | BAB^c dAFD |
E2 BE dEBE | E2 BE AFDF | E2 BE dEBE | BAB^c dAFA |
d2 fd c2 ec | defg afge | d2 fd c2 ec | BABc dAFA |
d2 fd c2 ec | defg afge | afge fdec | BABc dAFD |
"""
"""ABC notation, E minor (F sharp), in eighth notes; a lower-case letter is an octave up."""

CHORDS = """
Em Em | Em D | Em Em | Bm D |
Em Em | G D | C C | G D |
D C | D Am | D C | G D |
D C | D Am | D Bm | G D |
"""
"""Two to the bar."""

TRIADS = {"Em": (4, 7, 11), "D": (2, 6, 9), "Bm": (11, 2, 6), "G": (7, 11, 2), "C": (0, 4, 7), "Am": (9, 0, 4)}
"""Pitch classes, root first."""

DORIAN, AEOLIAN = (1, 2, 4, 6, 7, 9, 11), (0, 2, 4, 6, 7, 9, 11)
"""Pitch classes of the two strains (C sharp in the first, C in the second), from which passing notes are taken."""

PERFORMANCE = "drummer7/session2/104_pop_132_beat_4-4.mid"
TO_GENERAL_MIDI = {22: 42, 26: 46, 40: 38, 48: 50, 45: 47, 58: 43, 55: 49, 52: 57, 59: 51}
"""The Roland TD-11's notes where they differ from General MIDI: edges, rims and the toms of a five-piece kit."""

Line = list[tuple[float, float, int, int]]
"""Notes as (beat, length in beats, pitch, MIDI velocity), beat 0 being where the tune begins."""


def lead() -> Line:
    """The tune: slurred pairs lean on the beat, and the long notes breathe before the next."""
    natural = {"C": 60, "D": 62, "E": 64, "F": 66, "G": 67, "A": 69, "B": 71}
    line: Line = []
    beat, sharp = 0.0, 0
    for sign in "".join(TUNE.replace("|", "").split()):
        if sign == "^":
            sharp = 1
        elif sign == "2":
            at, _, pitch, velocity = line.pop()
            line.append((at, 0.85, pitch, velocity))
            beat += 0.5
        else:
            pitch = natural[sign.upper()] + sharp + (12 if sign.islower() else 0)
            line.append((beat, 0.45, pitch, accent(beat)))
            beat, sharp = beat + 0.5, 0
    return [*line, (float(BEATS), ENDING - 0.5, 64, 108)]


def accent(beat: float) -> int:
    """How hard the tune is played: the bar, then the half bar, then the beat; the second strain a little harder."""
    place = 106 if beat % 4 == 0 else 100 if beat % 2 == 0 else 92 if beat % 1 == 0 else 82
    return place + (6 if beat >= BEATS / 2 else 0)


def progression() -> list[tuple[float, float, str]]:
    """(beat, length, chord), equal neighbours joined within a bar."""
    names = CHORDS.replace("|", "").split()
    spans: list[tuple[float, float, str]] = []
    for index, name in enumerate(names):
        if index % 2 and names[index - 1] == name:
            at, length, _ = spans.pop()
            spans.append((at, length + 2.0, name))
        else:
            spans.append((2.0 * index, 2.0, name))
    return [*spans, (float(BEATS), ENDING, "Em")]


def chords() -> Line:
    """Close voicings round middle C, each the nearest to the one before; 3-3-2 in the first strain, pushing later."""
    line: Line = []
    voicing: tuple[int, ...] = (59, 64, 67)
    for at, length, name in progression():
        voicing = nearest_voicing(TRIADS[name], voicing)
        if at >= BEATS:
            hits = [(0.0, ENDING - 0.5, 92)]
        elif at < BEATS / 4:  # the first time through: held, so that the tune is heard
            hits = [(0.0, length - 0.15, 72)]
        elif length == 4.0:
            hits = [(0.0, 1.35, 82), (1.5, 1.35, 76), (3.0, 0.85, 78)]
        else:
            hits = [(0.0, 1.35, 84), (1.5, 0.4, 74)]
        line += [(at + start, held, pitch, velocity) for start, held, velocity in hits for pitch in voicing]
    return line


def nearest_voicing(triad: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    """The close position of a triad between A3 and A4 whose voices move least."""
    candidates = []
    for lowest in range(55, 66):
        if lowest % 12 in triad:
            above = [lowest]
            while len(above) < 3:
                above.append(next(p for p in range(above[-1] + 1, above[-1] + 12) if p % 12 in triad))
            candidates.append(tuple(above))
    return min(candidates, key=lambda voicing: (sum(abs(a - b) for a, b in zip(voicing, before, strict=True)), voicing))


def bass() -> Line:
    """Roots where the chord changes, a fifth or an octave between, and a step of the scale into the next root."""
    line: Line = []
    for (at, length, name), (_, _, following) in pairwise(progression()):
        root, target = low(TRIADS[name][0]), low(TRIADS[following][0])
        fifth = root + 7 if root < 33 else root - 5
        if at >= BEATS / 4:  # eighth notes, with the octave above on the weak ones
            steps = [0, 0, 12, 0, fifth - root, 0, 12] if length == 4.0 else [0, 0, 12]
            for i, step in enumerate(steps):
                line.append((at + 0.5 * i, 0.42, root + step, 100 if i == 0 else 90 if i % 2 == 0 else 80))
        else:  # the first time through: on the beats
            line.append((at, 1.4, root, 98))
            if length == 4.0:
                line += [(at + 1.5, 0.42, root, 84), (at + 2.0, 1.4, fifth, 92)]
        scale = DORIAN if at < BEATS / 2 else AEOLIAN
        line.append((at + length - 0.5, 0.42, approach(root, target, scale), 86))
    return [*line, (float(BEATS), ENDING - 0.5, low(4), 104)]


def low(pitch_class: int) -> int:
    """A bass note from E1 to D sharp 2."""
    return 28 + (pitch_class - 4) % 12


def approach(root: int, target: int, scale: tuple[int, ...]) -> int:
    """The note of the scale a step from the target, on the side one comes from; the fifth above where nothing moves."""
    if target == root:
        return root + 7
    below = next(p for p in range(target - 1, target - 4, -1) if p % 12 in scale)
    above = next(p for p in range(target + 1, target + 4) if p % 12 in scale)
    return below if root < target else above


def drums(groove: Path) -> Part:
    """The performance from its first beat, through sixteen bars, to the crash on the last chord; its timing kept.

    The recording's constant lateness (the median distance of kick and snare from the sixteenth grid) is taken off.
    """
    (part,) = read_midi(groove / PERFORMANCE, dtype=torch.float64).parts
    notes = part.notes
    struck = zip(notes.beat[0].tolist(), notes.duration[0].tolist(), notes.pitch[0].int().tolist(), strict=True)
    hits = [
        (b, d, TO_GENERAL_MIDI.get(p, p), v) for (b, d, p), v in zip(struck, notes.velocity[0].tolist(), strict=True)
    ]
    late = statistics.median(b - round(4 * b) / 4 for b, _, pitch, _ in hits if pitch in (36, 38))
    seconds = 60.0 / TEMPO
    kept = []
    for beat, duration, pitch, velocity in hits:
        place = max(beat - late, 0.0)
        last = LEAD_IN + BEATS
        closing = abs(place - last) < 0.2 and pitch in (36, 49, 57)
        if place < last - 0.1 or closing:
            kept.append((place * seconds, duration, float(pitch), velocity))
    onset, duration, pitches, velocity = (list(column) for column in zip(*kept, strict=True))
    return Part("drums", Notes.of(onset, duration, pitches, velocity, dtype=torch.float64), 9, is_drums=True)


def part(name: str, line: Line, channel: int, program: int) -> Part:
    """A line in seconds."""
    seconds = 60.0 / TEMPO
    notes = Notes.of(
        [(LEAD_IN + beat) * seconds for beat, _, _, _ in line],
        [length * seconds for _, length, _, _ in line],
        [float(pitch) for _, _, pitch, _ in line],
        [velocity / 127.0 for _, _, _, velocity in line],
        dtype=torch.float64,
    )
    return Part(name, notes, channel, program)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demo song.")
    parser.add_argument("groove", type=Path, help="folder of the Groove MIDI Dataset")
    default = Path(__file__).parent.parent / "hitchain" / "data" / "demo" / "demo.mid"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    parts = [
        part("lead", lead(), 0, 81),
        part("bass", bass(), 1, 38),
        part("chords", chords(), 2, 4),
        drums(arguments.groove),
    ]
    write_midi(arguments.out, parts, TempoMap.of(TEMPO), TITLE)


if __name__ == "__main__":
    main()
