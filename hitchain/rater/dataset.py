"""Songs of a manifest as training crops: decoded where needed, augmented, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
from torch import Tensor

from hitchain.rater.augment import AugmentSettings, augment, resample
from hitchain.rater.frontend import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from hitchain.rater.rater import SHORTEST_SECONDS
from hitchain.rater.row import Row, Skipped

TRAINING_RATE = 32_000
"""Crops are brought to this sample rate [Hz], so that a batch can hold songs of different rates."""
SILENCE_PEAK = 1e-3


@dataclass(frozen=True)
class Song:
    """A row whose audio was looked at: its sample rate [Hz] and length [samples]."""

    row: Row
    sample_rate: int
    samples: int


def inspect(rows: Iterable[Row]) -> tuple[list[Song], list[Skipped]]:
    """Open every row's audio; rows that cannot be decoded, are silent or under a second are named and left out."""
    songs, skipped = [], []
    for row in rows:
        try:
            songs.append(_inspect(row))
        except (ValueError, soundfile.SoundFileError, OSError) as error:
            skipped.append(Skipped(row.line, row.name, str(error), "undecodable"))
    return songs, skipped


def _inspect(row: Row) -> Song:
    with soundfile.SoundFile(str(row.path)) as sound:
        rate, samples = int(sound.samplerate), int(sound.frames)
        if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
            raise ValueError(f"sample rate {rate} Hz is outside {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE}")
        if samples < SHORTEST_SECONDS * rate:
            raise ValueError(f"only {samples / rate:.2f} s long; {SHORTEST_SECONDS:g} s are needed")
        for block in sound.blocks(blocksize=rate * 5, dtype="float32"):
            if not np.isfinite(block).all():
                raise ValueError("holds NaN or infinity")
            if np.abs(block).max(initial=0.0) > SILENCE_PEAK:
                return Song(row, rate, samples)
    raise ValueError("is silent")


def read_crop(song: Song, start: int, samples: int) -> Tensor:
    """Audio (2, samples) from a place in a song; mono is doubled, more than two channels become two, short songs loop.

    Raises:
        soundfile.SoundFileError: the file can no longer be decoded there.
    """
    data, _ = soundfile.read(str(song.row.path), start=start, frames=samples, dtype="float32", always_2d=True)
    if data.shape[0] == 0:
        raise soundfile.SoundFileError(f"{song.row.path} holds no audio at sample {start}")
    stereo = np.stack([data[:, 0::2].mean(1), data[:, (1 if data.shape[1] > 1 else 0) :: 2].mean(1)])
    stereo = np.nan_to_num(stereo, posinf=0.0, neginf=0.0)
    return torch.from_numpy(np.tile(stereo, (1, -(-samples // stereo.shape[1])))[:, :samples].copy())


def training_crop(song: Song, seconds: float, settings: AugmentSettings, random: np.random.Generator) -> Tensor:
    """A random augmented crop (2, seconds * TRAINING_RATE)."""
    wanted = round(seconds * song.sample_rate)
    needed = round(wanted * settings.reach)
    start = int(random.integers(0, max(1, song.samples - needed + 1)))
    crop = augment(read_crop(song, start, needed), song.sample_rate, wanted, settings, random)
    return _at_training_rate(crop, song.sample_rate, seconds)


def steady_crops(song: Song, seconds: float, count: int) -> list[Tensor]:
    """Up to `count` crops evenly spread over a song, unchanged: what validation hears."""
    wanted = round(seconds * song.sample_rate)
    room = max(0, song.samples - wanted)
    starts = sorted({round(room * (k + 0.5) / count) for k in range(count)})
    return [_at_training_rate(read_crop(song, start, wanted), song.sample_rate, seconds) for start in starts]


def _at_training_rate(audio: Tensor, sample_rate: int, seconds: float) -> Tensor:
    audio = resample(audio, sample_rate, TRAINING_RATE)
    wanted = round(seconds * TRAINING_RATE)
    return torch.nn.functional.pad(audio[:, :wanted], (0, max(0, wanted - audio.shape[-1])))
