"""A sound file as an instrument, or a folder of them: which note and how hard stands in a file's name.

    piano_C4.wav   flute-A#3.flac   60.wav   strings-Eb2-mf.wav   keys_F3_v100.wav

A note is a letter with an octave (C4 is middle C, 60) or, where there is none, the last number up to 127. A dynamic is
`v` or `vel` with a number up to 127, or one of ppp, pp, p, mp, mf, f, ff, fff between separators.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from hitchain.blocks.samples.zone import LARGEST, Recording, Zone, read
from hitchain.errors import UserError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
MOST_FILES = 1024

_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_NOTE = re.compile(r"(?<![A-Za-z])([A-Ga-g])([#sb]?)(-?\d)(?!\d)")
_VELOCITY = re.compile(r"(?<![A-Za-z])(?:v|vel|velocity)_?(\d{1,3})(?!\d)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<!\d)(\d{1,3})(?!\d)")
_DYNAMICS = {"ppp": 16, "pp": 33, "p": 49, "mp": 64, "mf": 80, "f": 96, "ff": 112, "fff": 127}
_DYNAMIC = re.compile(r"(?:^|[\s_.-])(ppp|pp|p|mp|mf|f|ff|fff)(?=$|[\s_.-])", re.IGNORECASE)


def note(name: str) -> float | None:
    """The MIDI note that a name holds: 'A#3' is 58; None where there is none.

    >>> note("violin_A4_mf"), note("63"), note("thunder")
    (69.0, 63.0, None)
    """
    named = _NOTE.findall(name)
    if named:
        letter, accidental, octave = named[-1]
        step = _STEPS[letter.lower()] + {"#": 1, "s": 1, "b": -1, "": 0}[accidental.lower()]
        return float(step + 12 * (int(octave) + 1))
    numbers = [int(number) for number in _NUMBER.findall(_VELOCITY.sub("", name)) if int(number) <= 127]
    return float(numbers[-1]) if numbers else None


def dynamic(name: str) -> float | None:
    """How hard the note of a file of this name was played, 0 to 127; None where it does not say."""
    number = _VELOCITY.findall(name)
    if number and int(number[-1]) <= 127:
        return float(number[-1])
    word = _DYNAMIC.findall(name)
    return float(_DYNAMICS[word[-1].lower()]) if word else None


def read_file(path: Path, root: float | None = None) -> list[Zone]:
    """One sound file over all keys. Its note is `root`, else what the file says, its name says or is heard in it."""
    recording = read(path)
    own = next((value for value in (root, recording.root, note(path.stem)) if value is not None), None)
    return [_zone(recording, heard(recording) if own is None else own)]


def read_folder(folder: Path) -> list[Zone]:
    """A zone for every sound file; a key plays the nearest note, a velocity the nearest dynamic of that note.

    Raises `UserError` where there is no sound file, or one of several whose name holds no note.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give instrument.folder=FOLDER with sound files in it.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise UserError(f"{folder} holds no sound file ({', '.join(SUFFIXES)}).")
    if len(files) > MOST_FILES:
        raise UserError(f"{folder} holds {len(files)} sound files; an instrument may have {MOST_FILES}.")
    if len(files) == 1:
        return read_file(files[0])
    zones: list[tuple[float, float, Zone]] = []
    total = 0
    for path in files:
        recording = read(path)
        root = note(path.stem) if note(path.stem) is not None else recording.root
        if root is None:
            raise UserError(f"{path.name} in {folder} does not say its note; name it like {path.stem}_C4{path.suffix}.")
        total += recording.audio.numel()
        if total > LARGEST:
            raise UserError(f"the sound files of {folder} hold more than {LARGEST // 2**20} million samples together.")
        zones.append((root, dynamic(path.stem) or 127.0, _zone(recording, root)))
    return _mapped(zones)


def _zone(recording: Recording, root: float) -> Zone:
    return Zone(recording.audio, recording.rate, root, loop=recording.loop, release=0.05)


def _mapped(zones: list[tuple[float, float, Zone]]) -> list[Zone]:
    """Keys are shared out half-way between notes, velocities half-way between the dynamics of a note."""
    roots = sorted({root for root, _, _ in zones})
    keys = _shares(roots)
    mapped = []
    for root in roots:
        layers = sorted(((hardness, zone) for own, hardness, zone in zones if own == root), key=lambda layer: layer[0])
        velocities = _shares(sorted({hardness for hardness, _ in layers}))
        mapped += [replace(zone, keys=keys[root], velocities=velocities[hardness]) for hardness, zone in layers]
    return mapped


def _shares(places: list[float]) -> dict[float, tuple[float, float]]:
    edges = [(one + other) / 2.0 for one, other in pairwise(places)]
    lows, highs = [0.0, *(edge + 1e-6 for edge in edges)], [*edges, 127.0]
    return dict(zip(places, zip(lows, highs, strict=True), strict=True))


def heard(recording: Recording) -> float:
    """The pitch [MIDI semitones] heard in a recording by pYIN (Mauch and Dixon, 2014); 60 where there is none."""
    import librosa

    seconds = 4
    mono = recording.audio[:, : seconds * recording.rate].mean(dim=0).numpy()
    if len(mono) < 2048:
        return 60.0
    lowest, highest = 30.0, min(2000.0, recording.rate / 4.0)
    hertz, voiced, _ = librosa.pyin(mono, fmin=lowest, fmax=highest, sr=recording.rate, frame_length=4096)
    found = torch.from_numpy(hertz[voiced & (hertz > 0)])
    return 60.0 if found.numel() == 0 else float(69.0 + 12.0 * torch.log2(found.median() / 440.0))
