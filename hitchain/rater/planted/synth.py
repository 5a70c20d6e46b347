"""Songs made here, in NumPy: artists with a timbre each, and chance in all that a rating should not depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RATE = 16_000
SECONDS = 12.0
SLOWEST, FASTEST = 70.0, 140.0
"""Tempi [BPM]: within an octave, so that a measured tempo is not one or its double by chance."""
FORMS = ("AAAA", "AABA", "ABAB", "AABB", "ABAC", "ABBC", "ABCA", "ABCD", "ABCD", "ABCD")
"""Four sections a song; as many forms come back to something as go on to the new."""
PARTIALS = 10
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))


@dataclass(frozen=True)
class Artist:
    """What the songs of an artist share.

    Attributes:
        partials: (voices, PARTIALS) amplitudes of chords, bass and melody.
        decays: (voices,) seconds in which a note fades.
        attack: seconds. pans: (voices,) in -1..1. kit: pitch of kick [Hz], colour of snare and hat in 0..1.
    """

    partials: Array
    decays: Array
    attack: float
    pans: Array
    kit: Array

    @classmethod
    def of(cls, random: np.random.Generator) -> Artist:
        slopes = random.uniform(0.8, 2.4, (3, 1))
        order = np.arange(1, PARTIALS + 1)
        odd = np.where(order % 2 == 0, random.uniform(0.1, 1.0, (3, 1)), 1.0)  # a clarinet lacks the even ones
        partials = odd * random.uniform(0.4, 1.0, (3, PARTIALS)) / order**slopes
        kit = np.array([random.uniform(45.0, 70.0), random.uniform(0.2, 0.8), random.uniform(0.3, 0.9)])
        return cls(
            partials / np.linalg.norm(partials, axis=1, keepdims=True), random.uniform(0.12, 0.6, 3),
            random.uniform(0.004, 0.03), random.uniform(-0.7, 0.7, 3), kit,
        )  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A section, the same wherever its letter stands.

    Attributes:
        chords: (beats,) degree of the scale under each beat. melody: (2 * beats,) degrees, NaN for a rest.
        register: octaves added. loudness: of chords, bass and melody, (3,). held: beats that a chord lasts.
    """

    chords: Array
    melody: Array
    register: float
    loudness: Array
    held: int

    @classmethod
    def of(cls, beats: int, random: np.random.Generator) -> Section:
        held = int(random.integers(1, 3))
        changes = random.choice(7, size=-(-beats // 2), replace=True)
        melody = np.cumsum(random.integers(-2, 3, 2 * beats)).astype(np.float64) + float(random.integers(0, 7))
        melody[random.random(2 * beats) < random.uniform(0.2, 0.6)] = np.nan
        register = 0.5 * float(random.integers(-1, 2))
        loudness: Array = 10.0 ** (random.uniform(-9.0, 3.0, 3) / 20.0)
        return cls(np.repeat(changes, 2)[:beats].astype(float), melody, register, loudness, held)


def song(artist: Artist, random: np.random.Generator) -> NDArray[np.float32]:
    """A song of an artist: (2, samples) at `RATE`, peak under full scale."""
    tempo = SLOWEST * (FASTEST / SLOWEST) ** random.random()
    beat = 60.0 / tempo
    form = str(random.choice(FORMS))
    beats = max(3, round(SECONDS / 4.0 / beat))
    sections = {letter: Section.of(beats, random) for letter in sorted(set(form))}
    order = [sections[letter] for letter in form + form]  # more than long enough; the end is cut
    tonic, scale = 43.0 + random.uniform(0.0, 12.0), SCALES[int(random.integers(len(SCALES)))]
    mix = 10.0 ** (random.uniform(-6.0, 3.0, 3) / 20.0)
    voices = [np.zeros(round(SECONDS * RATE)) for _ in range(3)]
    for number, section in enumerate(order):
        _play(voices, section, number * beats * beat, beat, tonic, scale, artist)
    layers = [
        level * np.stack([(1.0 - pan) * voice, (1.0 + pan) * voice])
        for level, pan, voice in zip(mix, artist.pans, voices, strict=True)
    ]
    stereo = np.sum(layers, axis=0)
    if random.random() < 0.6:
        loudness = 10.0 ** (random.uniform(-14.0, 4.0) / 20.0)
        stereo = stereo + loudness * _rms(stereo) * drums(beat, artist.kit, random)
    return finish(stereo, random)


def _play(
    voices: Sequence[Array], section: Section, begin: float, beat: float, tonic: float, scale: Sequence[int],
    artist: Artist,
) -> None:  # fmt: skip
    """Add the notes of a section: chords, a bass on the beat, a melody in halves of it."""

    def pitch(degree: float, octaves: float) -> float:
        octave, step = divmod(int(degree), 7)
        return tonic + scale[step] + 12.0 * (octave + octaves)

    for number, degree in enumerate(section.chords):
        start = begin + number * beat
        if number % section.held == 0:
            for third in (0, 2, 4):
                _note(voices[0], start, section.held * beat, pitch(degree + third, 1.0 + section.register),
                      section.loudness[0] * 0.6, artist.partials[0], artist.decays[0], artist.attack)  # fmt: skip
        _note(voices[1], start, beat, pitch(degree, 0.0), section.loudness[1], artist.partials[1],
              artist.decays[1], artist.attack)  # fmt: skip
    for number, degree in enumerate(section.melody):
        if not np.isnan(degree):
            _note(voices[2], begin + number * beat / 2.0, beat / 2.0, pitch(degree, 2.0 + section.register),
                  section.loudness[2], artist.partials[2], artist.decays[2], artist.attack)  # fmt: skip


def _note(
    voice: Array, start: float, seconds: float, pitch: float, level: float, partials: Array, decay: float,
    attack: float,
) -> None:  # fmt: skip
    """Add a note: harmonic partials under an exponential, each sin(k x) from sin((k-1) x) and sin((k-2) x)."""
    first = round(start * RATE)
    count = min(len(voice) - first, round((seconds + 0.05) * RATE))
    if count <= 0:
        return
    frequency = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    time = np.arange(count) / RATE
    before, now = np.zeros(count), np.sin(2.0 * np.pi * frequency * time)
    twice_cosine = 2.0 * np.cos(2.0 * np.pi * frequency * time)
    tone = partials[0] * now
    for order in range(2, min(PARTIALS, int(0.45 * RATE / frequency)) + 1):
        before, now = now, twice_cosine * now - before  # Chebyshev's recurrence
        tone += partials[order - 1] * now
    fade = np.minimum(1.0, np.maximum(0.0, seconds + 0.05 - time) / 0.05)
    voice[first : first + count] += level * tone * np.minimum(time / attack, 1.0) * np.exp(-time / decay) * fade


def drums(beat: float, kit: Array, random: np.random.Generator, samples: int | None = None) -> Array:
    """A drum part of mean square 1, nearly in mono: (2, samples). Kick, snare and hats in one of many patterns."""
    count = round(SECONDS * RATE) if samples is None else samples
    time = np.arange(round(0.25 * RATE)) / RATE
    pitch = kit[0] * (1.0 + 2.0 * np.exp(-time / 0.03))
    noise = random.standard_normal((2, len(time)))
    kick = np.sin(2.0 * np.pi * np.cumsum(pitch) / RATE) * np.exp(-time / 0.09)
    snare = (np.convolve(noise[0], [1.0, kit[1] - 1.0], "same")) * np.exp(-time / 0.06) * 0.5
    hat = np.diff(noise[1], prepend=0.0) * np.exp(-time / (0.01 + 0.05 * kit[2])) * 0.25
    out = np.zeros(count + len(time))
    hats = random.random(2) < (0.9, 0.6)  # on the beat, off the beat
    extra = random.random(4) < 0.25  # kicks off the beat
    for eighth in range(int(2.0 * count / RATE / beat) + 1):
        first = round(eighth * beat / 2.0 * RATE)
        if first >= count:
            break
        on_beat, place = eighth % 2 == 0, eighth // 2 % 4
        kicks = place % 2 == 0 if on_beat else extra[place]
        for sound, played in ((kick, kicks), (snare, on_beat and place % 2 == 1), (hat, hats[eighth % 2])):
            if played:
                out[first : first + len(time)] += sound
    part = out[:count] / max(_rms(out[:count]), 1e-9)
    pan = random.uniform(-0.15, 0.15)
    return np.stack([(1.0 - pan) * part, (1.0 + pan) * part])


def finish(stereo: Array, random: np.random.Generator) -> NDArray[np.float32]:
    """What differs from one mastering to the next: tilt of the spectrum, width, noise and level."""
    tilt = random.uniform(-5.0, 4.0)  # dB an octave from 500 Hz on
    spectrum = np.fft.rfft(stereo, axis=-1)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(stereo.shape[-1], 1.0 / RATE), 60.0) / 500.0)
    stereo = np.fft.irfft(spectrum * 10.0 ** (tilt * octaves / 20.0), stereo.shape[-1], axis=-1)
    middle, side = stereo.mean(axis=0), (stereo[0] - stereo[1]) / 2.0
    side = side * random.uniform(0.2, 1.5)
    stereo = np.stack([middle + side, middle - side])
    under = 10.0 ** (random.uniform(-60.0, -35.0) / 20.0)
    stereo = stereo + under * _rms(stereo) * random.standard_normal(stereo.shape)
    peak = 10.0 ** (random.uniform(-20.0, -1.0) / 20.0)
    return np.asarray(stereo * peak / max(float(np.abs(stereo).max()), 1e-9), dtype=np.float32)


def _rms(audio: Array) -> float:
    return float(np.sqrt(np.mean(np.square(audio))))
