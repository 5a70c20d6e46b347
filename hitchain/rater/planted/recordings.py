"""Songs cut from real recordings: stretched, filtered, drums mixed in, sections repeated. A recording is an artist."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.files import read_audio
from hitchain.rater.planted import synth
from hitchain.rater.planted.corpus import Make, Plan

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
SHORTEST = 30.0
"""Seconds that a recording must have for pieces of it to be songs."""
STRETCH = 2.0**0.35
"""Pieces are played up to so many times as fast or as slow, at their own pitch."""
FADE = 0.02
"""Seconds in which a section gives way to the next."""


def recordings_in(folder: str | Path) -> list[Path]:
    """The sound files under a folder that are long enough.

    Raises:
        UserError: there is no such folder, or it holds fewer than four: two to train on, one each to validate and test.
    """
    import soundfile

    place = Path(folder)
    if not place.is_dir():
        raise UserError(f"recordings={place} is no folder.")
    files = []
    for file in sorted(file for file in place.rglob("*") if file.suffix.lower() in SOUNDS):
        try:
            info = soundfile.info(str(file))
        except (soundfile.SoundFileError, RuntimeError, OSError):
            continue
        if info.frames >= SHORTEST * info.samplerate:
            files.append(file)
    if len(files) < 4:
        raise UserError(f"recordings={place} holds {len(files)} of {SHORTEST:g} s or more; 4 are needed.")
    return files


def plan_of(files: list[Path], songs: tuple[int, int, int], seed: int, source: str) -> Plan:
    """Whole recordings for training, validation and test: about six tenths, and the rest halved."""
    validation = max(1, len(files) // 5)
    test = max(1, len(files) // 4)
    return Plan(songs, (len(files) - validation - test, validation, test), seed, source, fresh=0)


def cutter(files: list[Path], plan: Plan) -> Make:
    """The songs of recordings, dealt to the plan's artists in an order of chance."""
    order = np.random.default_rng([plan.seed, 4]).permutation(len(files))
    places = plan.places()

    def make(number: int) -> NDArray[np.float32]:
        random = np.random.default_rng([plan.seed, 5, number])
        return song(_decoded(files[order[places[number][1]]]), random)

    return make


@lru_cache(maxsize=16)
def _decoded(file: Path) -> NDArray[np.float32]:
    audio, _ = read_audio(file, synth.RATE)
    return audio.numpy() if audio.shape[0] == 2 else np.repeat(audio.numpy(), 2, axis=0)


def song(audio: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """A song of `synth.SECONDS` from a recording (2, samples) at `synth.RATE`."""
    import librosa

    speed = STRETCH ** random.uniform(-1.0, 1.0)
    form = str(random.choice(synth.FORMS))
    letters = sorted(set(form))
    length = round(synth.SECONDS * synth.RATE / len(form))
    fade = round(FADE * synth.RATE)
    needed = round((length + fade) * len(letters) * speed) + synth.RATE // 8
    start = int(random.integers(0, max(1, audio.shape[1] - needed)))
    piece = np.stack([librosa.effects.time_stretch(row, rate=speed) for row in audio[:, start : start + needed]])
    sections = {letter: piece[:, place * length : (place + 1) * length + fade] for place, letter in enumerate(letters)}
    stereo = _joined([sections[letter] for letter in form], length, fade)
    if random.random() < 0.5:
        beat = 60.0 / (synth.SLOWEST * (synth.FASTEST / synth.SLOWEST) ** random.random())
        kit = synth.Artist.of(random).kit
        loudness = 10.0 ** (random.uniform(-8.0, 6.0) / 20.0) * float(np.sqrt(np.mean(stereo**2)))
        stereo = stereo + loudness * synth.drums(beat, kit, random, stereo.shape[1])
    return synth.finish(stereo, random)


def _joined(sections: list[NDArray[np.float32]], length: int, fade: int) -> NDArray[np.float64]:
    """Sections (2, length + fade or less) one after another, crossfaded."""
    out = np.zeros((2, length * len(sections) + fade))
    ramp = np.linspace(0.0, 1.0, fade)
    for place, section in enumerate(sections):
        part = np.zeros((2, length + fade))
        part[:, : section.shape[1]] = section
        if place:
            part[:, :fade] *= ramp
        part[:, length:] *= ramp[::-1]
        out[:, place * length : place * length + length + fade] += part
    return out[:, : length * len(sections)]
