"""A recording decoded in blocks, so that three hours of it need no more memory than three minutes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from hitchain.rater.shards.layout import SAMPLE_RATE

LOWEST_SAMPLE_RATE, HIGHEST_SAMPLE_RATE = 8_000, 192_000
SHORTEST_SECONDS = 1.0
SILENCE_PEAK = 1e-3
"""A recording that nowhere rises above it (-60 dBFS) is silent."""
BLOCK_SECONDS = 10
HELD_BYTES = 96 * 2**20
"""Decoded audio up to this size, six and a half minutes, stays in memory; more of it goes to a temporary file."""


class Unusable(Exception):
    """A recording that cannot be used: one of `hitchain.rater.sources.KINDS`, and the reason in words."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass
class Levels:
    """What was found while decoding: samples per channel, the highest magnitude, the sum of all squares."""

    samples: int = 0
    peak: float = 0.0
    squares: float = 0.0


class Decoded:
    """A decoded recording: stereo float32 at `SAMPLE_RATE`, to be read more than once, as its level is known last.

    Mono is doubled; of more than two channels the odd ones are averaged to the left and the even ones to the right.
    Resampling is soxr's "HQ".

    Args:
        seconds: take at most so much, from the middle of the recording; None takes all of it.
        scratch: the folder of the temporary file of a long recording.

    Raises:
        Unusable: the file is missing, undecodable, not finite, silent or under `SHORTEST_SECONDS`.
    """

    def __init__(self, path: Path, seconds: float | None, scratch: Path) -> None:
        self.levels = Levels()
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(HELD_BYTES, dir=str(scratch))  # noqa: SIM115
        try:
            for block in _blocks(path, seconds):
                self._append(block)
            self._check()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Decoded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, start: int, samples: int) -> NDArray[np.float32]:
        """A stretch of it: (samples, 2)."""
        self._file.seek(start * 8)
        return np.frombuffer(self._file.read(samples * 8), np.float32).reshape(-1, 2)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All of it, in blocks (samples, 2)."""
        size = BLOCK_SECONDS * SAMPLE_RATE
        for start in range(0, self.levels.samples, size):
            yield self.read(start, min(size, self.levels.samples - start))

    def _append(self, block: NDArray[np.float32]) -> None:
        levels = self.levels
        levels.samples += block.shape[0]
        levels.peak = max(levels.peak, float(np.abs(block).max(initial=0.0)))
        levels.squares += float(np.square(block, dtype=np.float64).sum())
        self._file.write(np.ascontiguousarray(block, np.float32).data)

    def _check(self) -> None:
        if self.levels.samples < round(SHORTEST_SECONDS * SAMPLE_RATE):
            seconds = self.levels.samples / SAMPLE_RATE
            raise Unusable("short", f"only {seconds:.2f} s long; {SHORTEST_SECONDS:g} s are needed")
        if self.levels.peak <= SILENCE_PEAK:
            raise Unusable("silent", f"nothing rises above {SILENCE_PEAK:g} of full scale")


def _blocks(path: Path, seconds: float | None) -> Iterator[NDArray[np.float32]]:
    """The file's audio in blocks (samples, 2) at `SAMPLE_RATE`."""
    try:
        with soundfile.SoundFile(str(path)) as sound:
            if not LOWEST_SAMPLE_RATE <= sound.samplerate <= HIGHEST_SAMPLE_RATE:
                span = f"{LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE}"
                raise Unusable("undecodable", f"its sample rate of {sound.samplerate} Hz is outside {span}")
            yield from _resampled(_stereo(sound, seconds), int(sound.samplerate))
    except FileNotFoundError as error:
        raise Unusable("missing", "file not found") from error
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        if not path.is_file():
            raise Unusable("missing", "file not found") from error
        raise Unusable("undecodable", _reason(error)) from error


def _stereo(sound: Any, seconds: float | None) -> Iterator[NDArray[np.float32]]:
    """Blocks (samples, 2) at the file's own rate."""
    rate, left = int(sound.samplerate), int(sound.frames)
    if seconds is not None and left > round(seconds * rate):
        sound.seek((left - round(seconds * rate)) // 2)
        left = round(seconds * rate)
    decoded = 0
    while left > 0:
        data = sound.read(min(left, BLOCK_SECONDS * rate), dtype="float32", always_2d=True)
        if data.shape[0] == 0:
            break  # truncated: what there is of it is taken
        if not np.isfinite(data).all():
            raise Unusable("undecodable", "holds NaN or infinity")
        left -= data.shape[0]
        decoded += data.shape[0]
        yield _two_channels(data)
    if not decoded:
        raise Unusable("undecodable", "holds no audio")


def _two_channels(data: NDArray[np.float32]) -> NDArray[np.float32]:
    channels = data.shape[1]
    if channels == 2:
        return data
    if channels == 1:
        return np.repeat(data, 2, axis=1)
    return np.stack([data[:, 0::2].mean(axis=1), data[:, 1::2].mean(axis=1)], axis=1)


def _resampled(blocks: Iterator[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Blocks at `SAMPLE_RATE`, the same as resampling all at once."""
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 2, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, 2), np.float32), last=True)


def _reason(error: Exception) -> str:
    """What libsndfile says, without the path that stands in its own column."""
    text = getattr(error, "error_string", "") or str(error)
    return str(text).strip().rstrip(".")
