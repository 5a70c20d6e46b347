"""One shard: recordings decoded one after another into an array, with their fingerprints and what became of each.

Nothing in the files depends on which process wrote them, when, or what was finished before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hitchain.files import replacing, write_json
from hitchain.rater import fingerprint
from hitchain.rater.shards.decode import Decoded, Unusable
from hitchain.rater.shards.layout import SAMPLE_RATE, checksum, fingerprints_path, part_path, shard_path

LARGEST = 32_767


@dataclass(frozen=True)
class File:
    """A recording as the plan knows it: a file that changed its size or date is another recording."""

    name: str
    path: str
    bytes: int
    modified: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.name, self.bytes, self.modified


@dataclass(frozen=True)
class Job:
    """A shard to make. `front_end` holds the fields of `FrontEndSettings` for log-mel shards, else None."""

    folder: str
    number: int
    files: tuple[File, ...]
    seconds_per_song: float | None
    front_end: dict[str, Any] | None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        values = json.loads(text)
        return cls(**{**values, "files": tuple(File(**file) for file in values["files"])})


@dataclass(frozen=True)
class Done:
    """A recording is done: the seconds kept of it and the bytes its file had. It was used, or skipped."""

    seconds: float
    bytes: int
    used: bool


Report = Callable[[Done], None]


def make_shard(job: Job, report: Report) -> None:
    """Write a shard's files; the part, which says that the shard is finished, comes last.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    folder = Path(job.folder)
    recordings: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    prints: list[NDArray[np.uint32]] = []
    encode = _encoder(job)
    with _array(shard_path(folder, job.number), *encode.form) as append:
        for file in job.files:
            about = {"name": file.name, "bytes": file.bytes, "modified": file.modified}
            try:
                with Decoded(Path(file.path), job.seconds_per_song, folder / "shards") as decoded:
                    scale, length = encode(decoded, append)
                    prints.append(_fingerprint(decoded))
                    seconds = decoded.levels.samples / SAMPLE_RATE
            except Unusable as error:
                skipped.append({**about, "kind": error.kind, "reason": str(error)})
                report(Done(0.0, file.bytes, used=False))
                continue
            recordings.append({**about, "length": length, "scale": scale, "fingerprint": len(prints[-1])})
            report(Done(seconds, file.bytes, used=True))
    with _array(fingerprints_path(folder, job.number), "<u4", ()) as append:
        for values in prints:
            append(values)
    _write_part(folder, job.number, recordings, skipped)


def _write_part(folder: Path, number: int, recordings: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> None:
    part: dict[str, Any] = {"shard": number}
    for path, prefix in ((shard_path, ""), (fingerprints_path, "fingerprints_")):
        file = path(folder, number)
        part |= {f"{prefix}bytes": file.stat().st_size, f"{prefix}sha256": checksum(file)}
    write_json(part_path(folder, number), {**part, "recordings": recordings, "skipped": skipped})


Append = Callable[[NDArray[Any]], None]


@contextmanager
def _array(path: Path, kind: str, row: tuple[int, ...]) -> Iterator[Append]:
    """A function that appends rows to an .npy file, whose length is written into its header at the end."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        _write_header(handle, kind, (0, *row))
        begin, rows = handle.tell(), 0

        def append(values: NDArray[Any]) -> None:
            nonlocal rows
            handle.write(np.ascontiguousarray(values, kind).data)
            rows += len(values)

        yield append
        handle.seek(0)
        _write_header(handle, kind, (rows, *row))
        if handle.tell() != begin:
            raise ValueError("NumPy no longer leaves room in the header of an .npy file for its length to grow.")


def _write_header(handle: IO[bytes], kind: str, shape: tuple[int, ...]) -> None:
    """NumPy pads the header so that the first axis may grow in place."""
    np.lib.format.write_array_header_1_0(handle, {"descr": kind, "fortran_order": False, "shape": shape})


def _fingerprint(decoded: Decoded) -> NDArray[np.uint32]:
    """Of the middle, which is all that a fingerprint takes of a recording."""
    samples = min(decoded.levels.samples, round(fingerprint.SECONDS * SAMPLE_RATE))
    middle = decoded.read((decoded.levels.samples - samples) // 2, samples)
    return fingerprint.fingerprint(middle.T, SAMPLE_RATE)


class _Audio:
    """16-bit samples, each recording turned up or down so that its peak is the largest of them.

    So no recording clips and a quiet one keeps its 16 bits; `scale`, the worth of one step, brings back its own level
    to half a step. Undithered: a step is 90 dB below the recording's peak, and no ear is meant to hear it.
    """

    form = ("<i2", (2,))

    def __call__(self, decoded: Decoded, append: Append) -> tuple[float, int]:
        up = np.float32(LARGEST / decoded.levels.peak)
        for block in decoded.blocks():
            append(np.rint(block * up).clip(-LARGEST, LARGEST).astype(np.int16))
        return decoded.levels.peak / LARGEST, decoded.levels.samples


def _encoder(job: Job) -> Any:
    if job.front_end is None:
        return _Audio()
    from hitchain.rater.shards.mel import Mel

    return Mel(job.front_end)
