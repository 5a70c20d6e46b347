"""RIFF, the container of WAV and SoundFont files: walking its chunks without trusting any of their lengths."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

MOST_CHUNKS = 4096


def chunks(data: bytes | memoryview, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, last byte + 1) of each chunk between two places. Raises `ValueError` where one is cut off."""
    for _ in range(MOST_CHUNKS):
        if start + 8 > end:
            return
        name, size = struct.unpack_from("<4sI", data, start)
        if start + 8 + size > end:
            raise ValueError(f"chunk {name!r} at byte {start} says {size} bytes; {end - start - 8} are left")
        yield name, start + 8, start + 8 + size
        start += 8 + size + size % 2
    raise ValueError(f"more than {MOST_CHUNKS} chunks")


def sampler_chunk(path: Path) -> tuple[float | None, tuple[int, int] | None]:
    """The note [MIDI semitones] and the first loop (start, end) that a WAV file's `smpl` chunk names, or None.

    A file without one, of another kind or with a damaged one is simply without.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None, None
        for _ in range(MOST_CHUNKS):
            header = file.read(8)
            if len(header) < 8:
                return None, None
            name, size = struct.unpack("<4sI", header)
            if name == b"smpl":
                return _sampler(file.read(min(size, 60)))
            file.seek(size + size % 2, 1)
    return None, None


def _sampler(data: bytes) -> tuple[float | None, tuple[int, int] | None]:
    """As in Microsoft's Multimedia Data Standards Update (1994): the pitch at 12, the loops from 36 on."""
    if len(data) < 36:
        return None, None
    note, fraction = struct.unpack_from("<II", data, 12)
    root = note + fraction / 2.0**32 if note <= 127 else None
    count = struct.unpack_from("<I", data, 28)[0]
    if count < 1 or len(data) < 60:
        return root, None
    start, end = struct.unpack_from("<II", data, 44)
    return root, (start, end + 1)
