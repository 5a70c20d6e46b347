"""SoundFont 2 files (E-mu, SoundFont Technical Specification 2.04): presets, their instruments and zones.

Read are ranges of keys and velocities, samples with their loops and tuning, attenuation, pan and the volume envelope.
Filters, modulators and effect sends are left out. Every index and length in the file is checked before it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from hitchain.blocks.samples import riff
from hitchain.blocks.samples.zone import LARGEST, Zone, checked_loop, seconds
from hitchain.errors import UserError, nearest

MOST_ZONES = 4096

_RECORDS = {  # chapter 7: numpy layouts of the tables
    b"phdr": [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("rest", "V12")],
    b"pbag": [("generator", "<u2"), ("modulator", "<u2")],
    b"pgen": [("kind", "<u2"), ("amount", "<u2")],
    b"inst": [("name", "S20"), ("bag", "<u2")],
    b"ibag": [("generator", "<u2"), ("modulator", "<u2")],
    b"igen": [("kind", "<u2"), ("amount", "<u2")],
    b"shdr": [
        *[("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4"), ("loop_end", "<u4")],
        *[("rate", "<u4"), ("pitch", "u1"), ("correction", "i1"), ("link", "<u2"), ("type", "<u2")],
    ],
}
# chapter 8.1.2: the generators that are read
_START, _END, _LOOP_START, _LOOP_END, _START_COARSE, _END_COARSE = 0, 1, 2, 3, 4, 12
_LOOP_START_COARSE, _LOOP_END_COARSE, _PAN = 45, 50, 17
_ATTACK, _DECAY, _SUSTAIN, _RELEASE = 34, 36, 37, 38
_INSTRUMENT, _KEYS, _VELOCITIES, _ATTENUATION, _COARSE, _FINE = 41, 43, 44, 48, 51, 52
_SAMPLE, _MODES, _SCALE, _ROOT = 53, 54, 56, 58
_ADDED = (_PAN, _ATTACK, _DECAY, _SUSTAIN, _RELEASE, _ATTENUATION, _COARSE, _FINE, _SCALE)
"""Those to which a preset's values are added."""

_ATTENUATED = 0.4
"""Attenuations count 0.4 times what they say, as in the EMU chips by which files are balanced, and in players."""
_TO_40_DB = 0.4
"""The format's times are to -100 dB, our envelopes' to -40 dB."""
_ROM = 0x8000

Generators = dict[int, int]


@dataclass(frozen=True)
class Program:
    """A preset of a file: its name, bank and program number."""

    name: str
    bank: int
    number: int

    def __str__(self) -> str:
        return f"{self.bank}:{self.number} {self.name}"


class SoundFont:
    """An open file: its tables, and where its samples lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        empty = path.stat().st_size == 0
        self.data: Any = b"" if empty else np.memmap(path, dtype=np.uint8, mode="r")
        self.cut: dict[tuple[int, int], torch.Tensor] = {}
        try:
            self._read()
        except (ValueError, struct.error) as error:
            self._refuse(str(error))

    def programs(self) -> list[Program]:
        """What the file can play, by bank and number."""
        found = [
            Program(row["name"].decode("latin-1").strip(), int(row["bank"]), int(row["program"]))
            for row in self.table[b"phdr"][:-1]
        ]
        return sorted(found, key=lambda program: (program.bank, program.number))

    def zones(self, program: str | int = 0) -> list[Zone]:
        """The zones of a preset. Raises `UserError` where there is none of that name or number, or it is damaged."""
        place = self._find(program)
        heads = self.table[b"phdr"]
        found: list[Zone] = []
        for outer in self._bags(b"pbag", b"pgen", heads[place]["bag"], heads[place + 1]["bag"], _INSTRUMENT):
            number = outer[_INSTRUMENT]
            instruments = self.table[b"inst"]
            if number + 1 >= len(instruments):
                self._refuse(f"instrument {number} of {len(instruments) - 1}")
            ends = instruments[number]["bag"], instruments[number + 1]["bag"]
            for inner in self._bags(b"ibag", b"igen", *ends, last=_SAMPLE):
                zone = self._zone(inner, outer)
                found += [] if zone is None else [zone]
                if len(found) > MOST_ZONES or sum(map(torch.numel, self.cut.values())) > LARGEST:
                    self._refuse("too many zones or samples in one preset")
        if not found:
            raise UserError(f"{self.path}: program {program!r} has no zone with a sample in the file.")
        return found

    def _read(self) -> None:
        data = memoryview(self.data)
        if len(data) < 12 or bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"sfbk":
            self._refuse("no RIFF of the form sfbk")
        parts: dict[bytes, tuple[int, int]] = {}
        for name, start, end in riff.chunks(data, 12, min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])):
            if name == b"LIST" and end - start >= 4:
                parts.update({inner: (a, b) for inner, a, b in riff.chunks(data, start + 4, end)})
        for name in (b"smpl", *_RECORDS):
            if name not in parts:
                self._refuse(f"chunk {name.decode()} is missing")
        self.samples = self._array(parts[b"smpl"], np.dtype("<i2"))
        self.table = {name: self._array(parts[name], np.dtype(layout)) for name, layout in _RECORDS.items()}
        for name, table in self.table.items():
            if len(table) < 1:
                self._refuse(f"chunk {name.decode()} is empty")

    def _array(self, place: tuple[int, int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        if (place[1] - place[0]) % dtype.itemsize:
            self._refuse("a chunk is no whole number of records")
        return np.frombuffer(self.data, dtype, (place[1] - place[0]) // dtype.itemsize, place[0])

    def _find(self, program: str | int) -> int:
        heads = self.table[b"phdr"][:-1]
        known = [(row["name"].decode("latin-1").strip(), f"{row['bank']}:{row['program']}") for row in heads]
        wanted = str(program).strip()
        wanted = f"0:{wanted}" if wanted.isdigit() else wanted
        for place, (name, number) in enumerate(known):
            if wanted == number or wanted.lower() == name.lower():
                return place
        hint = nearest(wanted, [name for name, _ in known])
        raise UserError(f"{self.path} has no program {program!r} (a name, a number, or BANK:NUMBER); {hint}")

    def _bags(self, bags: bytes, generators: bytes, first: int, end: int, last: int) -> Iterator[Generators]:
        """The generators of each zone, over those of the first where that is the global one (it has no `last`)."""
        table, values = self.table[bags], self.table[generators]
        if not first <= end < len(table):
            self._refuse(f"zones {first} to {end} of {len(table) - 1}")
        common: Generators = {}
        for bag in range(int(first), int(end)):
            begin, stop = int(table[bag]["generator"]), int(table[bag + 1]["generator"])
            if not begin <= stop <= len(values):
                self._refuse(f"generators {begin} to {stop} of {len(values)}")
            own = {int(row["kind"]): int(row["amount"]) for row in values[begin:stop]}
            if last in own:
                yield {**common, **own}
            elif bag == first:
                common = own

    def _zone(self, inner: Generators, outer: Generators) -> Zone | None:
        """None where preset and instrument share no key or velocity, or the sample is in a synthesiser's ROM."""
        keys, velocities = _both(inner, outer, _KEYS), _both(inner, outer, _VELOCITIES)
        heads = self.table[b"shdr"]
        if inner[_SAMPLE] + 1 >= len(heads):
            self._refuse(f"sample {inner[_SAMPLE]} of {len(heads) - 1}")
        head = heads[inner[_SAMPLE]]
        if keys is None or velocities is None or int(head["type"]) & _ROM:
            return None
        start = int(head["start"]) + _signed(inner, _START) + 32768 * _signed(inner, _START_COARSE)
        end = int(head["end"]) + _signed(inner, _END) + 32768 * _signed(inner, _END_COARSE)
        rate = int(head["rate"])
        if not (0 <= start < end <= len(self.samples) and end - start >= 2 and 1_000 <= rate <= 400_000):
            self._refuse(f"sample '{head['name'].decode('latin-1')}' from {start} to {end} at {rate} Hz")
        loop_start = int(head["loop_start"]) + _signed(inner, _LOOP_START) + 32768 * _signed(inner, _LOOP_START_COARSE)
        loop_end = int(head["loop_end"]) + _signed(inner, _LOOP_END) + 32768 * _signed(inner, _LOOP_END_COARSE)
        mode = inner.get(_MODES, 0) & 3

        def total(kind: int, default: int) -> int:
            return _signed(inner, kind, default) + (_signed(outer, kind) if kind in _ADDED else 0)

        root = inner.get(_ROOT, int(head["pitch"]))
        root = int(head["pitch"]) if root > 127 else root
        root = 60 if root > 127 else root
        tuned = total(_COARSE, 0) + (total(_FINE, 0) + int(head["correction"])) / 100.0
        if (start, end) not in self.cut:  # zones share recordings
            self.cut[start, end] = torch.from_numpy(self.samples[start:end].astype(np.float32) / 32768.0)[None]
        return Zone(
            self.cut[start, end],
            rate,
            root - tuned,
            keys=keys,
            velocities=velocities,
            loop=checked_loop((loop_start - start, loop_end - start), end - start) if mode in (1, 3) else None,
            while_held=mode == 3,
            tracking=total(_SCALE, 100) / 100.0,
            gain=10.0 ** (-_ATTENUATED * min(max(total(_ATTENUATION, 0), 0), 1440) / 200.0),
            pan=min(max(total(_PAN, 0) / 500.0, -1.0), 1.0),
            attack=_time(total(_ATTACK, -12000)),
            decay=max(_time(total(_DECAY, -12000)) * _TO_40_DB, 0.001),
            sustain=10.0 ** (-min(max(total(_SUSTAIN, 0), 0), 1440) / 200.0),
            release=_time(total(_RELEASE, -12000)) * _TO_40_DB,
        )

    def _refuse(self, reason: str) -> NoReturn:
        raise UserError(f"{self.path} is not a SoundFont 2 file, or is damaged: {reason}.")


def _signed(generators: Generators, kind: int, default: int = 0) -> int:
    value = generators.get(kind, default & 0xFFFF)
    return value - 0x10000 if value >= 0x8000 else value


def _both(inner: Generators, outer: Generators, kind: int) -> tuple[float, float] | None:
    """The range that preset and instrument have in common; None for none."""
    ends = [(value & 0xFF, value >> 8) for value in (inner.get(kind, 0x7F00), outer.get(kind, 0x7F00))]
    low, high = max(ends[0][0], ends[1][0]), min(ends[0][1], ends[1][1])
    return (float(low), float(high)) if low <= high else None


def _time(timecents: int) -> float:
    return 0.0 if timecents <= -12000 else seconds(2.0 ** (min(timecents, 8000) / 1200.0))
