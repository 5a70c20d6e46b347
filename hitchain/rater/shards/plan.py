"""The plan: which recordings each shard is to hold, decided and written before anything is decoded.

So what a shard holds follows from the rows alone. A run that was killed goes on with the same plan; rows added later
get shards of their own, behind those that are there.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError
from hitchain.files import write_text
from hitchain.rater.row import Row
from hitchain.rater.shards.layout import PLAN, checksum, fingerprints_path, part_path, shard_path
from hitchain.rater.shards.shard import File

LEAST_SHARDS = 8
"""A small source is cut into so many shards, so that several workers share it."""
PROBED = 64
"""Files whose headers are opened to learn how long a file of some size is."""
BYTES_PER_SECOND = {".wav": 176_400.0, ".flac": 90_000.0}
OTHER_BYTES_PER_SECOND = 24_000.0

Key = tuple[str, int, int]


class Plan:
    """The shards of a prepared folder.

    Args:
        folder: where the plan and the finished shards stand, if there are any.

    Attributes:
        shards: the recordings of each.
        parts: {shard: what became of its recordings}, of the finished ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = _read(folder / PLAN)
        self.parts = {number: part for number in range(len(self.shards)) if (part := _part(folder, number))}

    def known(self) -> set[Key]:
        """The recordings that stand in a finished shard or will stand in an unfinished one."""
        keys: set[Key] = set()
        for number, files in enumerate(self.shards):
            if number in self.parts:
                keys |= {_key(entry) for kind in ("recordings", "skipped") for entry in self.parts[number][kind]}
            else:
                keys |= {file.key for file in files}
        return keys

    def unfinished(self, files: Iterable[File]) -> dict[int, list[File]]:
        """{shard: its recordings}, of those that are still to be made; what the source no longer has is left out."""
        present = {file.key: file for file in files}
        return {
            number: [present[file.key] for file in planned if file.key in present]
            for number, planned in enumerate(self.shards)
            if number not in self.parts
        }

    def verify(self) -> list[int]:
        """Compare every finished shard with its checksum; those that differ are to be made again, and returned."""
        paths = {"sha256": shard_path, "fingerprints_sha256": fingerprints_path}
        damaged = [
            number
            for number, part in self.parts.items()
            if any(checksum(path(self.folder, number)) != part[key] for key, path in paths.items())
        ]
        for number in damaged:
            del self.parts[number]
            part_path(self.folder, number).unlink()
        return damaged

    def add(self, files: Sequence[File], sizes: Sequence[float], shard_bytes: float) -> None:
        """Cut new recordings, of so many bytes each when prepared, into further shards, and write the plan."""
        target = min(shard_bytes, sum(sizes) / LEAST_SHARDS)
        shard: list[File] = []
        filled = 0.0
        for file, size in zip(files, sizes, strict=True):
            if shard and filled + size / 2 > target:
                self.shards.append(shard)
                shard, filled = [], 0.0
            shard.append(file)
            filled += size
        if shard:
            self.shards.append(shard)
        lines = ([[file.name, file.bytes, file.modified] for file in shard] for shard in self.shards)
        write_text(self.folder / PLAN, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def files_of(rows: Iterable[Row]) -> list[File]:
    """The files of rows as they stand on the disk now; those that vanished since the source was read have no size."""
    files = []
    for row in rows:
        try:
            status = os.stat(row.path)
            files.append(File(row.name, str(row.path), status.st_size, status.st_mtime_ns))
        except OSError:
            files.append(File(row.name, str(row.path), 0, 0))
    return files


def prepared_sizes(files: Sequence[File], seconds_per_song: float | None, bytes_per_second: float) -> list[float]:
    """About how many bytes each recording will take when prepared, from the sizes of the files."""
    rates = _bytes_per_second(files)
    lengths = (file.bytes / rates[_suffix(file)] for file in files)
    return [bytes_per_second * min(length, seconds_per_song or length) for length in lengths]


def _bytes_per_second(files: Sequence[File]) -> dict[str, float]:
    """{suffix: bytes of a file for a second of audio}, from a few files spread over all."""
    import soundfile

    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for file in files[:: max(1, len(files) // PROBED)]:
        try:
            info = soundfile.info(file.path)
            found[_suffix(file)].append((file.bytes, info.frames / info.samplerate))
        except (soundfile.SoundFileError, OSError, RuntimeError):
            continue
    rates = {}
    for suffix in {_suffix(file) for file in files}:
        size, seconds = (sum(column) for column in zip(*found[suffix], strict=True)) if found[suffix] else (0, 0.0)
        usual = BYTES_PER_SECOND.get(suffix, OTHER_BYTES_PER_SECOND)
        rates[suffix] = size / seconds if size and seconds else usual
    return rates


def _suffix(file: File) -> str:
    return os.path.splitext(file.path)[1].lower()


def _key(entry: dict[str, Any]) -> Key:
    return entry["name"], entry["bytes"], entry["modified"]


def _read(path: Path) -> list[list[File]]:
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [[File(str(name), "", int(size), int(date)) for name, size, date in json.loads(line)] for line in lines]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}). Prepare the source again into another folder.") from error


def _part(folder: Path, number: int) -> dict[str, Any] | None:
    """What became of a shard's recordings; None where the shard is not finished, or not what was written."""
    try:
        part: dict[str, Any] = json.loads(part_path(folder, number).read_text(encoding="utf-8"))
        whole = (
            shard_path(folder, number).stat().st_size == part["bytes"]
            and fingerprints_path(folder, number).stat().st_size == part["fingerprints_bytes"]
        )
        for entry in (*part["recordings"], *part["skipped"]):
            _key(entry)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return part if whole else None
