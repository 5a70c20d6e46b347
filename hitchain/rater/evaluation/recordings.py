"""The recordings that raters are held against: of a prepared set, or of a source as it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import torch
from torch import Tensor

from hitchain.errors import UserError
from hitchain.rater.frontend import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from hitchain.rater.rater import SHORTEST_SECONDS, Rater, window_edges
from hitchain.rater.row import Row, Skipped
from hitchain.rater.shards.prepared import Prepared


class Unusable(Exception):
    """A recording that cannot be heard: `kind` is one of `hitchain.rater.sources.KINDS`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Recordings(Protocol):
    """Recordings with their rows and sides (one of `SPLITS` each)."""

    rows: list[Row]
    sides: list[str]
    skipped: list[Skipped]

    def seconds(self, index: int) -> float:
        """How long a recording is. Raises `Unusable`."""

    def piece(self, index: int, start: float, seconds: float) -> tuple[Tensor, int]:
        """Audio (2, samples) from a place, and its sample rate. Raises `Unusable`."""

    def rate(self, index: int, rater: Rater, window_seconds: float) -> Tensor:
        """The rating of every member (members,), the mean over windows. Raises `Unusable`."""


def windows(seconds: float, sample_rate: int, window_seconds: float) -> Iterator[tuple[float, float, float]]:
    """(start, length, share of the whole) of the windows a long recording is heard in, in seconds."""
    samples = round(seconds * sample_rate)
    for a, b in itertools.pairwise(window_edges(samples, sample_rate, window_seconds)):
        yield a / sample_rate, (b - a) / sample_rate, (b - a) / samples


class SourceRecordings:
    """The files of a source; nothing is decoded before it is asked for.

    Args:
        seed: of the split; None where no split is needed. A source that puts every row on a side is taken at its word:
            a set that is all test is no mistake here.
    """

    def __init__(self, section: Mapping[str, Any], seed: int | None) -> None:
        from hitchain.rater import sources
        from hitchain.rater.splits import split

        self.rows, self.skipped = sources.read(section)
        self.sides = [row.split for row in self.rows]
        if seed is not None and not all(self.sides):
            self.sides = split(self.rows, seed=seed)

    def seconds(self, index: int) -> float:
        rate, samples = self._size(self.rows[index].path)
        return samples / rate

    def piece(self, index: int, start: float, seconds: float) -> tuple[Tensor, int]:
        path = self.rows[index].path
        rate, _ = self._size(path)
        try:
            data, _ = soundfile.read(
                str(path), start=round(start * rate), frames=round(seconds * rate), dtype="float32", always_2d=True
            )
        except (soundfile.SoundFileError, RuntimeError, OSError) as error:
            raise Unusable("undecodable", str(error)) from error
        if data.shape[0] < SHORTEST_SECONDS * rate:
            raise Unusable("undecodable", f"only {data.shape[0] / rate:.2f} s can be decoded at {start:.1f} s")
        if not np.isfinite(data).all():
            raise Unusable("undecodable", "holds NaN or infinity")
        stereo = np.stack([data[:, 0::2].mean(1), data[:, (1 if data.shape[1] > 1 else 0) :: 2].mean(1)])
        return torch.from_numpy(np.ascontiguousarray(stereo)), rate

    def rate(self, index: int, rater: Rater, window_seconds: float) -> Tensor:
        rate, samples = self._size(self.rows[index].path)
        return _rate_audio(self, index, rater, samples / rate, rate, window_seconds)

    def _size(self, path: Path) -> tuple[int, int]:
        try:
            info = soundfile.info(str(path))
        except (soundfile.SoundFileError, RuntimeError, OSError) as error:
            raise Unusable("undecodable", str(error)) from error
        rate, samples = int(info.samplerate), int(info.frames)
        if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
            raise Unusable("undecodable", f"sample rate {rate} Hz")
        if samples < SHORTEST_SECONDS * rate:
            raise Unusable("short", f"only {samples / rate:.2f} s long; {SHORTEST_SECONDS:g} s are needed")
        return rate, samples


class PreparedRecordings:
    """The recordings of a prepared set, with its own split."""

    def __init__(self, folder: str | Path) -> None:
        self.prepared = Prepared(folder)
        self.rows = [entry.row for entry in self.prepared.entries]
        self.sides = [entry.split for entry in self.prepared.entries]
        self.skipped: list[Skipped] = []

    def seconds(self, index: int) -> float:
        return self.prepared.seconds(index)

    def piece(self, index: int, start: float, seconds: float) -> tuple[Tensor, int]:
        if self.prepared.kind == "mel":
            raise Unusable("undecodable", "a prepared set of kind mel holds no audio")
        return torch.from_numpy(self._crop(index, start, seconds)), self.prepared.sample_rate

    def rate(self, index: int, rater: Rater, window_seconds: float) -> Tensor:
        seconds, sample_rate = self.seconds(index), self.prepared.sample_rate
        if self.prepared.kind == "audio":
            return _rate_audio(self, index, rater, seconds, sample_rate, window_seconds)
        return self._rate_frames(index, rater, seconds, window_seconds)

    def _crop(self, index: int, start: float, seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
        first = round(start * self.prepared.rate)
        length = min(round(seconds * self.prepared.rate), self.prepared.entries[index].length - first)
        return self.prepared.crop(index, first, length)

    @torch.no_grad()
    def _rate_frames(self, index: int, rater: Rater, seconds: float, window_seconds: float) -> Tensor:
        from hitchain.rater.training.frames import normalise

        if not len(rater.networks) or rater.front_end.settings.as_dict() != self.prepared.front_end:
            raise UserError(f"{self.prepared.folder} holds frames of another front end than that of {rater.names[0]}.")
        total = torch.zeros(len(rater.names))
        for start, length, share in windows(seconds, self.prepared.sample_rate, window_seconds):
            frames = normalise(torch.from_numpy(self._crop(index, start, length)), rater.front_end.settings)[None]
            total += share * torch.stack([network(frames.to(rater.device)).cpu()[0] for network in rater.networks])
        scales = rater.scales.cpu()
        return total * scales[:, 0] + scales[:, 1]


@torch.no_grad()
def _rate_audio(
    recordings: Recordings, index: int, rater: Rater, seconds: float, sample_rate: int, window_seconds: float
) -> Tensor:
    """As `Rater.rate`, but with one window in memory at a time."""
    total = torch.zeros(len(rater.names))
    for start, length, share in windows(seconds, sample_rate, window_seconds):
        audio, rate = recordings.piece(index, start, length)
        total += share * rater.rate(audio[None].to(rater.device), rate, window_seconds)[0].cpu()
    return total
