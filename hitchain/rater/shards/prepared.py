"""Reading a prepared set: crops from memory maps, nothing held but the index."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError, nearest
from hitchain.rater.row import SPLITS
from hitchain.rater.shards.layout import (
    HEAD,
    INDEX,
    Entry,
    checksum,
    fingerprints_path,
    from_line,
    read_head,
    remedy,
    shard_path,
)

MAPS_HELD = 256
"""Shards kept mapped at a time: enough for locality, far below what a system allows."""


class Prepared:
    """The recordings that `hitchain prepare` wrote.

    It may be pickled and handed to data-loader workers; each maps the shards for itself, and the system shares the
    pages.

    Args:
        folder: the `out` of `hitchain prepare`.

    Attributes:
        kind: "audio" (16-bit stereo) or "mel" (log-mel frames of the front end, float16).
        sample_rate: of the audio, or of the audio the frames were made of [Hz].
        front_end: of kind "mel": the fields of `hitchain.rater.frontend.FrontEndSettings`; else None.
        entries: the recordings, in the order of the source.

    Raises:
        UserError: the folder is no prepared set, is unfinished, is of another version, or its index is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.head = read_head(self.folder)
        if not self.head.get("complete"):
            raise UserError(f"{self.folder} was not prepared to the end: run the same hitchain prepare again.")
        self.kind: str = self.head["kind"]
        self.sample_rate: int = self.head["sample_rate"]
        self.front_end: dict[str, Any] | None = self.head["front_end"]
        self.entries = _read_index(self.folder, self.head)
        self._maps: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.entries)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": OrderedDict()}

    @property
    def rate(self) -> float:
        """Steps of `Entry.length` in a second: samples or frames."""
        if self.front_end is None:
            return float(self.sample_rate)
        return float(self.sample_rate / round(self.front_end["hop_seconds"] * self.sample_rate))

    def seconds(self, index: int) -> float:
        """How long a recording is."""
        return self.entries[index].length / self.rate

    def by_split(self, name: str) -> list[int]:
        """The places in `entries` of the recordings of a split, one of `hitchain.rater.row.SPLITS`."""
        if name not in SPLITS:
            raise UserError(f"unknown split {name!r}; {nearest(name, SPLITS)}")
        return [index for index, entry in enumerate(self.entries) if entry.split == name]

    def crop(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        """A piece of a recording; only its own pages are read.

        Args:
            index: the recording's place in `entries`.
            start, length: in samples or frames, within the recording.

        Returns:
            (2, length) audio at the recording's own level, or (2, bands, length) frames.

        Raises:
            ValueError: the piece reaches beyond the recording.
            UserError: the shard is missing or damaged.
        """
        entry = self.entries[index]
        if start < 0 or length < 0 or start + length > entry.length:
            raise ValueError(f"piece {start} to {start + length} of {entry.name!r}, which has {entry.length}")
        shard = self._map(entry.shard)
        begin = entry.offset + start
        if begin + length > shard.shape[0]:
            raise self._damaged(entry.shard, f"{shard.shape[0]} long, and {entry.name!r} reaches beyond")
        piece = shard[begin : begin + length]
        if self.kind == "mel":
            return np.ascontiguousarray(piece.transpose(1, 2, 0), dtype=np.float32)
        audio = np.empty((2, length), np.float32)
        np.multiply(piece.T, np.float32(entry.scale), out=audio)
        return audio

    def fingerprint(self, index: int) -> NDArray[np.uint32]:
        """A recording's fingerprint, as `hitchain.rater.fingerprint` made it of its first minutes."""
        entry = self.entries[index]
        path = fingerprints_path(self.folder, entry.shard)
        try:
            values: NDArray[np.uint32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path} is damaged: {error}. {remedy(self.folder)}") from error
        start, length = entry.fingerprint
        return np.array(values[start : start + length])

    def verify(self) -> None:
        """Read every shard and compare its checksum. Raises `UserError` naming those that are damaged."""
        damaged = []
        for number, file in enumerate(self.head["shards"]):
            for path, wanted in ((shard_path, "sha256"), (fingerprints_path, "fingerprints_sha256")):
                problem = _problem(path(self.folder, number), file[wanted])
                damaged += [f"{path(self.folder, number).name} ({problem})"] if problem else []
        if damaged:
            raise UserError(f"{self.folder}: {len(damaged)} damaged: {', '.join(damaged)}. {remedy(self.folder)}")

    def _map(self, number: int) -> NDArray[Any]:
        if number in self._maps:
            self._maps.move_to_end(number)
            return self._maps[number]
        shard = self._open(number)
        self._maps[number] = shard
        if len(self._maps) > MAPS_HELD:
            self._maps.popitem(last=False)
        return shard

    def _open(self, number: int) -> NDArray[Any]:
        path, known = shard_path(self.folder, number), self.head["shards"]
        if number >= len(known):
            raise UserError(f"{self.folder / INDEX} names shard {number}, which {HEAD} does not. {remedy(self.folder)}")
        wanted = known[number]["bytes"]
        try:
            if path.stat().st_size != wanted:
                raise self._damaged(number, f"{path.stat().st_size} bytes, not {wanted}")
            shard: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(number, str(error)) from error
        if shard.dtype != (np.int16 if self.kind == "audio" else np.float16):
            raise self._damaged(number, f"it holds {shard.dtype}")
        return shard

    def _damaged(self, number: int, why: str) -> UserError:
        return UserError(f"shard {shard_path(self.folder, number)} is damaged: {why}. {remedy(self.folder)}")


def _problem(path: Path, wanted: str) -> str:
    try:
        return "" if checksum(path) == wanted else "its checksum differs"
    except OSError as error:
        return error.strerror or str(error)


def _read_index(folder: Path, head: dict[str, Any]) -> list[Entry]:
    path = folder / INDEX
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}. {remedy(folder)}") from error
    entries = []
    for number, line in enumerate(data.decode("utf-8", errors="replace").split("\n")[:-1], 1):
        try:
            entries.append(from_line(line))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}, line {number} is damaged ({error}). {remedy(folder)}") from error
    if len(entries) != head["recordings"]:
        raise UserError(f"{path} has {len(entries)} whole lines, not {head['recordings']}. {remedy(folder)}")
    if hashlib.sha256(data).hexdigest() != head["index_sha256"]:
        raise UserError(f"{path} is not the index that {HEAD} describes. {remedy(folder)}")
    return entries
