"""Standard MIDI Files as bytes: chunks and events, each read once, no byte trusted.

Source: MIDI Manufacturers Association, Standard MIDI Files 1.0 (RP-001). Chunks of unknown type are skipped,
as it asks. Meta and system exclusive events leave running status as it was, because many writers rely on that.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

META, EXCLUSIVE, ESCAPE = 0xFF, 0xF0, 0xF7
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM = 0x80, 0x90, 0xB0, 0xC0
TRACK_NAME, PORT, END_OF_TRACK, TEMPO = 0x03, 0x21, 0x2F, 0x51


class Malformed(ValueError):
    """The bytes are no Standard MIDI File, or a damaged one; the message says where."""


class Event(NamedTuple):
    """One event. `kind` is a status byte without its channel for channel messages, META for meta events.

    `channel` is 0 to 15, or for meta events their type. Tick counts from the start of the track.
    """

    tick: int
    kind: int
    channel: int
    data: bytes


@dataclass(frozen=True)
class File:
    """What a file holds: its type (0, 1 or 2), its raw division word, and the events of each track."""

    format: int
    division: int
    tracks: list[list[Event]]


def parse(data: bytes) -> File:
    """The events in the bytes of a file, also of one wrapped in RIFF (".rmi"). Raises `Malformed`."""
    if data[:4] == b"RIFF" and data[8:16] == b"RMIDdata":
        data = data[20:]
    if data[:4] != b"MThd":
        raise Malformed("it does not begin with 'MThd'")
    if len(data) < 14:
        raise Malformed("it is truncated inside the header")
    length, kind, declared, division = struct.unpack(">LHHH", data[4:14])
    if length < 6 or kind > 2:
        raise Malformed(f"its header is damaged (length {length}, type {kind})")
    tracks: list[list[Event]] = []
    position = 8 + length
    while position + 8 <= len(data) and len(tracks) < declared:
        name, size = struct.unpack(">4sL", data[position : position + 8])
        position += 8
        if position + size > len(data):
            raise Malformed(f"it is truncated: track {len(tracks) + 1} of {declared} is cut short")
        if name == b"MTrk":
            tracks.append(_Track(data, position, position + size).events())
        position += size
    if len(tracks) < declared:
        raise Malformed(f"it is truncated: {len(tracks)} of {declared} tracks are there")
    return File(kind, division, tracks)


class _Track:
    """A cursor over the bytes of one track."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.position, self.end = data, start, end

    def events(self) -> list[Event]:
        found: list[Event] = []
        tick, running = 0, 0
        while self.position < self.end:
            tick += self.variable()
            status = self.byte()
            if status < 0x80:
                if not running:
                    raise Malformed(f"it is damaged at byte {self.position - 1}: a data byte where an event must begin")
                status = running
                self.position -= 1
            if status < 0xF0:
                running = status
                found.append(self.channel_message(tick, status))
            elif status == META:
                kind = self.byte()
                found.append(Event(tick, META, kind, self.take(self.variable())))
                if kind == END_OF_TRACK:
                    break
            elif status in (EXCLUSIVE, ESCAPE):
                self.take(self.variable())
            else:
                raise Malformed(f"it is damaged at byte {self.position - 1}: status {status:#04x} cannot be in a file")
        return found

    def channel_message(self, tick: int, status: int) -> Event:
        data = self.take(1 if status & 0xE0 == 0xC0 else 2)
        if max(data) > 0x7F:
            raise Malformed(f"it is damaged at byte {self.position - 1}: a status byte where data must be")
        return Event(tick, status & 0xF0, status & 0x0F, data)

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        if self.position + count > self.end:
            raise Malformed(f"it is damaged at byte {self.position}: an event runs past the end of its track")
        self.position += count
        return self.data[self.position - count : self.position]

    def variable(self) -> int:
        """A variable-length quantity: 7 bits a byte, at most 4 bytes."""
        value = 0
        for _ in range(4):
            byte = self.byte()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise Malformed(f"it is damaged at byte {self.position}: a number longer than 4 bytes")
