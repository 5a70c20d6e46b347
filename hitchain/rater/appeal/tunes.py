"""Public-domain tunes as small arrangements: melody, bass, chords and a human drum take, written as MIDI.

The tunes are the reels, jigs and airs of O'Neill's *Music of Ireland* (1903) and Ryan's *Mammoth Collection* (1883),
read from the ABC files that come with the package music21. They are played by any General MIDI synthesiser. Faults at
the level of the notes (wrong pitches, scrambled timing, a broken balance, machine-gun velocities) are made here, before
the sound exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mido
import numpy as np

from hitchain.errors import UserError

TICKS_PER_SECOND = 960  # 480 ticks a beat at 120 beats a minute
DRUM_CHANNEL = 9

MELODY_PROGRAMS = (
    0,
    4,
    11,
    21,
    22,
    24,
    25,
    26,
    40,
    56,
    60,
    64,
    65,
    66,
    68,
    71,
    73,
    74,
    75,
    79,
    80,
    81,
    82,
    84,
    85,
    105,
    110,
)
CHORD_PROGRAMS = (0, 1, 2, 4, 5, 16, 18, 19, 21, 24, 25, 26, 27, 48, 49, 50, 51, 52, 61, 80, 81, 88, 89, 90, 91, 46, 6)
BASS_PROGRAMS = (32, 33, 34, 35, 36, 38, 39, 43, 58)
GUITAR_PROGRAMS = (24, 25, 26, 27, 28, 29, 30)
PAD_PROGRAMS = (48, 50, 52, 88, 89, 91, 94, 95, 19)


@dataclass(frozen=True)
class Tune:
    """A melody: rows (onset [quarter notes], duration [quarter notes], MIDI pitch), and its key and bar."""

    title: str
    melody: tuple[tuple[float, float, int], ...]
    tonic: int
    minor: bool
    bar: float


@dataclass(frozen=True)
class Part:
    """One instrument's notes: rows (onset [s], duration [s], pitch, velocity 1..127), and its General MIDI settings."""

    notes: np.ndarray
    channel: int
    program: int
    volume: int
    pan: int
    reverb: int


def read_tunes(per_book: int = 12) -> list[Tune]:
    """The usable tunes of the first ABC files of both books, in a fixed order.

    Args:
        per_book: how many files to read of O'Neill (20 to 100 tunes each); ten times as many of Ryan (one tune each).

    Raises:
        UserError: the package music21 is not installed.
    """
    try:
        import music21  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UserError("the tunes come from the package music21: pip install music21") from error
    folder = Path(music21.__file__).parent / "corpus"
    tunes = []
    files = [path for book, share in _BOOKS for path in sorted(folder.glob(f"{book}/*.abc"))[: per_book * share]]
    for path in files:
        parsed = music21.converter.parse(path, format="abc", forceSource=True, storePickle=False)
        for score in getattr(parsed, "scores", None) or [parsed]:
            tune = _tune(score, path.stem)
            if tune is not None:
                tunes.append(tune)
    return tunes


def _tune(score: Any, book: str) -> Tune | None:
    """A tune of 24 or more notes in 2/4, 4/4, 3/4 or 6/8; None for the rest."""
    flat = score.flatten()
    notes = [n for n in flat.notes if n.isNote and n.quarterLength > 0]
    metres = {m.ratioString for m in flat.getElementsByClass("TimeSignature") if m.ratioString in _BARS}
    if len(notes) < 24 or len(metres) != 1:
        return None
    rows = tuple((float(n.offset), float(n.quarterLength), int(n.pitch.midi)) for n in notes)
    title = re.sub(r"\s+", " ", str(score.metadata.title if score.metadata else "") or book)
    tonic, minor = _key(rows)
    return Tune(title, rows, tonic, minor, _BARS[metres.pop()])


def _key(rows: tuple[tuple[float, float, int], ...]) -> tuple[int, bool]:
    """Tonic and mode: a traditional tune ends on its tonic, and its third says the mode."""
    tonic = rows[-1][2] % 12
    weight = {third: sum(d for _, d, pitch in rows if (pitch - tonic) % 12 == third) for third in (3, 4)}
    return tonic, weight[3] > weight[4]


_BOOKS = (("oneills1850", 1), ("ryansMammoth", 10))
_BARS = {"2/4": 2.0, "4/4": 4.0, "2/2": 4.0, "3/4": 3.0, "6/8": 3.0}


def arrange(
    tune: Tune, drums: np.ndarray | None, beats_per_minute: float, seconds: float, random: np.random.Generator
) -> list[Part]:
    """A small arrangement of a tune.

    Args:
        drums: a drum take, rows (onset [s], duration [s], pitch, velocity) at the song's tempo; None leaves drums out.
        beats_per_minute: quarter notes a minute.
        seconds: how much of the song to write.
        random: chooses instruments, key, patterns, levels and pans.
    """
    beat = 60.0 / beats_per_minute
    beats = seconds / beat
    transpose = int(random.integers(-5, 7))
    melody = [(o, d, p + transpose) for o, d, p in _repeated(tune, beats)]
    chords = _harmony(melody, (tune.tonic + transpose) % 12, tune.minor, tune.bar, beats)
    parts = [_part(_human(melody, beat, 92, random), 0, random.choice(MELODY_PROGRAMS), 104, random)]
    if random.random() < 0.9:
        parts.append(
            _part(
                _human(_bass(chords, tune.bar, random), beat, 88, random),
                1,
                random.choice(BASS_PROGRAMS),
                100,
                random,
                8,
            )
        )
    if random.random() < 0.92:
        parts.append(
            _part(
                _human(_comping(chords, tune.bar, random), beat, 74, random),
                2,
                random.choice(CHORD_PROGRAMS),
                84,
                random,
                40,
            )
        )
    if random.random() < 0.35:
        pad = [(o, length * 0.98, p) for o, length, triad in chords for p in triad]
        parts.append(_part(_human(pad, beat, 62, random), 3, random.choice(PAD_PROGRAMS), 70, random, 40))
    if random.random() < 0.3:
        octave = 12 if random.random() < 0.5 else -12
        doubled = [(o, d, p + octave) for o, d, p in melody]
        parts.append(_part(_human(doubled, beat, 70, random), 4, random.choice(MELODY_PROGRAMS), 72, random, 50))
    if drums is not None and len(drums):
        kit = int(random.choice([0, 0, 8, 16, 24, 25, 32, 40]))
        parts.append(replace(_part(drums[drums[:, 0] < seconds], DRUM_CHANNEL, kit, 100, random, 0), pan=64))
    return parts


def alone(parts: list[Part], random: np.random.Generator) -> Part:
    """One part of an arrangement by itself; every other time a guitar or a bass, in the middle of the image."""
    part = parts[int(random.integers(len(parts)))]
    if part.channel != DRUM_CHANNEL and random.random() < 0.5:
        part = replace(part, program=int(random.choice(BASS_PROGRAMS if part.channel == 1 else GUITAR_PROGRAMS)))
    return replace(part, pan=64)


def _repeated(tune: Tune, beats: float) -> list[tuple[float, float, int]]:
    length = np.ceil((tune.melody[-1][0] + tune.melody[-1][1]) / tune.bar) * tune.bar
    passes = int(np.ceil(beats / length))
    return [(o + k * length, d, p) for k in range(passes) for o, d, p in tune.melody if o + k * length < beats]


def _harmony(
    melody: list[tuple[float, float, int]], tonic: int, minor: bool, bar: float, beats: float
) -> list[tuple[float, float, tuple[int, ...]]]:
    """The diatonic triad that holds most of each bar's melody: rows (onset, duration, pitches)."""
    degrees = ((0, 3, 7), (5, 8, 12), (7, 11, 14), (8, 12, 15), (3, 7, 10), (10, 14, 17)) if minor else (
        (0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16), (2, 5, 9))  # fmt: skip
    preference = (0.5, 0.25, 0.3, 0.1, 0.0, 0.1)
    chords = []
    for start in np.arange(0.0, beats, bar):
        weights = np.zeros(12)
        for onset, duration, pitch in melody:
            overlap = min(onset + duration, start + bar) - max(onset, start)
            if overlap > 0:
                weights[(pitch - tonic) % 12] += overlap * (1.5 if abs(onset - start) < 0.1 else 1.0)
        scores = [sum(weights[d % 12] for d in triad) + p for triad, p in zip(degrees, preference, strict=False)]
        triad = degrees[int(np.argmax(scores))]
        chords.append(
            (float(start), bar, tuple(48 + (tonic + d) % 12 + (12 if (tonic + d) % 12 < 4 else 0) for d in triad))
        )
    return chords


def _bass(
    chords: list[tuple[float, float, tuple[int, ...]]], bar: float, random: np.random.Generator
) -> list[tuple[float, float, int]]:
    pattern = int(random.integers(3))
    notes = []
    for onset, length, triad in chords:
        root, fifth = (
            36 + triad[0] % 12 - (12 if triad[0] % 12 > 8 else 0),
            36 + triad[2] % 12 - (12 if triad[2] % 12 > 8 else 0),
        )
        if pattern == 0:
            notes += [(onset, length / 2, root), (onset + length / 2, length / 2, fifth)]
        elif pattern == 1:
            notes.append((onset, length * 0.95, root))
        else:
            steps = round(length * 2)
            notes += [(onset + k / 2, 0.45, root if k % 4 != 3 else fifth) for k in range(steps)]
    return notes


def _comping(
    chords: list[tuple[float, float, tuple[int, ...]]], bar: float, random: np.random.Generator
) -> list[tuple[float, float, int]]:
    pattern = int(random.integers(4))
    notes = []
    for onset, length, triad in chords:
        if pattern == 0:
            notes += [(onset, length * 0.95, p) for p in triad]
        elif pattern == 1:
            notes += [(onset + k + 0.5, 0.4, p) for k in range(int(length)) for p in triad]
        elif pattern == 2:
            notes += [(onset + k / 2, 0.6, triad[(0, 1, 2, 1)[k % 4]] + 12) for k in range(round(length * 2))]
        else:
            notes += [(onset + k, 0.8, p) for k in range(int(length)) for p in triad]
    return notes


def _human(
    notes: list[tuple[float, float, int]], beat: float, velocity: float, random: np.random.Generator
) -> np.ndarray:
    """Beats to seconds, with a player's spread of timing (8 ms) and velocity, accents on the beat."""
    rows = np.array(notes, np.float64).reshape(-1, 3)
    onset = np.maximum(rows[:, 0] * beat + 0.008 * random.standard_normal(len(rows)), 0.0)
    accent = 8.0 * (np.abs(rows[:, 0] - np.round(rows[:, 0])) < 0.05)
    played = np.clip(velocity - 6.0 + accent + 6.0 * random.standard_normal(len(rows)), 20, 127)
    return np.stack([onset, rows[:, 1] * beat * 0.95, rows[:, 2], played], axis=1)


def _part(
    notes: np.ndarray, channel: int, program: int, volume: int, random: np.random.Generator, spread: int = 14
) -> Part:
    return Part(
        notes=notes,
        channel=channel,
        program=int(program),
        volume=int(np.clip(volume + random.integers(-10, 11), 1, 127)),
        pan=int(np.clip(64 + random.integers(-spread, spread + 1), 0, 127)),
        reverb=int(random.integers(15, 70)),
    )


def degrade_notes(parts: list[Part], strength: float, random: np.random.Generator) -> list[Part]:
    """One or two faults of playing or balance at the given strength, 0 to 1. A single part has no balance to break."""
    shares = {"pitch": 0.32, "timing": 0.3, "balance": 0.18, "velocity": 0.1, "missing": 0.1}
    if len(parts) == 1:
        shares["pitch"] += shares.pop("balance")
    if parts[0].channel == DRUM_CHANNEL:
        shares["timing"] += shares.pop("pitch")
    names = random.choice(list(shares), size=int(random.integers(1, 3)), replace=False, p=list(shares.values()))
    loudest = int(random.integers(len(parts)))
    out = []
    for index, part in enumerate(parts):
        notes = part.notes.copy()
        count = len(notes)
        if "pitch" in names and part.channel != DRUM_CHANNEL:
            wrong = random.random(count) < 0.08 + 0.55 * strength
            notes[:, 2] += wrong * random.choice([-6, -2, -1, 1, 2, 3, 6], size=count)
        if "timing" in names:
            notes[:, 0] = np.maximum(notes[:, 0] + 0.16 * strength * random.standard_normal(count), 0.0)
        if "velocity" in names:
            uneven = 127.0 * random.random(count) if random.random() < 0.5 else np.full(count, 110.0)
            notes[:, 3] += min(1.0, 1.2 * strength) * (uneven - notes[:, 3])
        if "missing" in names:
            notes = notes[random.random(count) > 0.7 * strength]
        volume = part.volume
        if "balance" in names:
            swing = 1.0 if index == loudest else -1.0
            volume = int(np.clip(volume * 10.0 ** (swing * 14.0 * strength / 20.0), 2, 127))
        out.append(replace(part, notes=notes, volume=volume))
    return out


def write_midi(versions: list[list[Part]], spacing: float, path: Path) -> None:
    """Versions of a song after one another, each starting a multiple of `spacing` seconds in."""
    events: list[tuple[int, int, mido.Message]] = []
    for version, parts in enumerate(versions):
        start = round(version * spacing * TICKS_PER_SECOND)
        for part in parts:
            channel = part.channel
            events.append((start, 0, mido.Message("program_change", channel=channel, program=part.program)))
            for control, value in ((7, part.volume), (10, part.pan), (91, part.reverb)):
                events.append((start, 0, mido.Message("control_change", channel=channel, control=control, value=value)))
            for onset, duration, pitch, velocity in part.notes:
                begin = start + round(onset * TICKS_PER_SECOND)
                end = min(
                    begin + max(1, round(duration * TICKS_PER_SECOND)),
                    start + round((spacing - 1.5) * TICKS_PER_SECOND),
                )
                if begin >= end:
                    continue
                note = int(np.clip(pitch, 0, 127))
                events.append(
                    (
                        begin,
                        2,
                        mido.Message("note_on", channel=channel, note=note, velocity=int(np.clip(velocity, 1, 127))),
                    )
                )
                events.append((end, 1, mido.Message("note_off", channel=channel, note=note)))
    track = mido.MidiTrack()
    now = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_SECOND // 2, tracks=[track]).save(str(path))


def read_drums(path: Path) -> np.ndarray:
    """A drum take as rows (onset [s], duration [s], pitch, velocity)."""
    rows, now = [], 0.0
    for message in mido.MidiFile(str(path)):
        now += message.time
        if message.type == "note_on" and message.velocity > 0:
            rows.append((now, 0.1, message.note, message.velocity))
    return np.array(rows, np.float64).reshape(-1, 4)
