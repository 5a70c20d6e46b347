"""MIDI files in and out.

    score = read_midi("song.mid")          # parts with notes, tempo map, title
    notes = select(score.parts)            # what a one-track song plays
    write_midi("notes.mid", score.parts, score.tempo_map, score.title)

What a synthesiser would sound is what is read: the pedal holds notes, tempo changes of any track count for all.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from hitchain.blocks.notes import smf
from hitchain.blocks.notes.general_midi import DRUM_CHANNEL, PROGRAMS
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.notes.tempo import TempoMap
from hitchain.errors import UserError, nearest
from hitchain.files import replacing

MOST_BYTES = 4_000_000
MOST_NOTES = 100_000
MOST_PARTS = 256
MOST_CONTROLS = 2_000_000
"""Program and pedal events, counted once for every track they act on."""
MOST_LANES = 500_000
"""Events of controllers, counted once for every track they act on."""
LONGEST = 3600.0
"""[s] The longest song that is read."""
LONGEST_HELD = 30.0
"""[s] A note whose key or pedal is never let go ends with its track, or this long after its onset."""
SHORTEST_BEAT = 0.01
"""[s] A quarter note shorter than this (6000 beats per minute) is taken for damage."""
SHORTEST_NOTE = 0.001
RINGING = 1.0
"""[s] `Notes.length` goes on for this long after the last note of the song, as in `Notes.of`."""

_SUSTAIN, _RESET = 64, 121
_SILENCERS = (120, 123, 124, 125, 126, 127)  # all sound off, all notes off, and the mode messages that imply it
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|mix|master|mastering|song)$")  # devices of Windows; our own words


@dataclass(frozen=True)
class Part:
    """What one player plays.

    Attributes:
        name: short, unique in its score, fit for a path and a config: "lead", "acoustic-bass-2".
        notes: a batch of one; its length is that of the whole song.
        channel: 0 to 15; 9 is the drums. None lets `write_midi` choose.
        program: General MIDI program, 0 to 127.
        controllers: automation, by the number of the MIDI controller: float64 (events, 2) of time [s], rising, and
            value 0 to 1.
    """

    name: str
    notes: Notes
    channel: int | None = None
    program: int = 0
    is_drums: bool = False
    controllers: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A MIDI file: its parts (each has notes), tempo, title (may be empty), and [s] until its last note ends."""

    parts: list[Part]
    tempo_map: TempoMap
    title: str
    length: float


def read_midi(path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> Score:
    """The parts of a MIDI file of type 0 or 1.

    There is one part for each track, channel and program that has notes. Notes of the same pitch end in the order in
    which they began; a note-on of velocity 0 ends a note. While the sustain pedal is down (controller 64 at 64 or
    more), notes go on until it is lifted or their pitch is struck again. Program and pedal events act on the notes of
    their own track; those of a track without notes on their channel act on it in every track of the same port. So do
    all other controllers (0 to 119), which become the parts' automation lanes.

    Raises:
        UserError: the file is missing, empty, truncated, no MIDI, of type 2, too large, without notes, longer than an
            hour, or has an absurd tempo.
    """
    source = Path(path)
    contents = _parse(source, _bytes(source))
    ticks_per_beat, tempo_map = _timing(source, contents)
    _check_size(source, contents.tracks)
    keys = _struck(source, contents.tracks)
    for key in keys:
        key.time(tempo_map, ticks_per_beat)
    lanes = _lanes(source, contents.tracks, tempo_map, ticks_per_beat)
    length = max(key.onset + key.duration for key in keys)
    if length > LONGEST:
        raise UserError(
            f"MIDI file {source} is {length / 60:.0f} minutes long (it begins at {tempo_map.tempo:.4g} beats per "
            f"minute); at most {LONGEST / 60:.0f} minutes can be read."
        )
    names = [_track_name(track) for track in contents.tracks]
    return Score(_parts(keys, names, contents.format, length, dtype, lanes), tempo_map, _title(contents, names), length)


def select(parts: Sequence[Part], part: str | int | None = None, drums: bool | None = None) -> Notes:
    """The notes of a one-track song, sorted by onset.

    Args:
        part: a part's name, or its number counted from 1; None takes all that are pitched (or all drums) together.
        drums: True for the drum parts instead of the pitched ones. Ignored where `part` is given.

    Raises:
        UserError: there is no such part; the message lists those there are.
    """
    if part is not None:
        return _named(parts, part).notes
    chosen = [item.notes for item in parts if item.is_drums == bool(drums)]
    if not chosen:
        kind, hint = ("drum", "leave drums=true out") if drums else ("pitched", "drums=true takes the drums")
        raise UserError(f"the file has no {kind} part; it has {_listing(parts)} ({hint}).")
    fields = {key: torch.cat([notes.tensors()[key] for notes in chosen], dim=1) for key in chosen[0].tensors()}
    merged = Notes(**fields, length=max(notes.length for notes in chosen))
    return merged.select(torch.argsort(merged.onset[0], stable=True))


def select_controllers(parts: Sequence[Part], drums: bool = False) -> dict[int, Tensor]:
    """The automation lanes of the parts that `select` takes together: of each controller, the first part's that has
    it."""
    lanes: dict[int, Tensor] = {}
    for part in parts:
        if part.is_drums == drums:
            lanes = {**part.controllers, **lanes}
    return lanes


def write_midi(
    path: str | os.PathLike[str],
    parts: Sequence[Part],
    tempo_map: TempoMap | None = None,
    title: str = "",
    item: int = 0,
) -> None:
    """Write parts as a type-1 file, whole or not at all: a track of tempos, then one for each part.

    Onsets and ends are within 1 ms of the notes (also where the tempo is slow: the resolution follows). Pitches are
    rounded to semitones and velocities to 1..127, onsets before 0 become 0; notes with a mask below 0.5 are left out.
    Controllers are written as they are, in steps of 1/127, but the sustain pedal, whose notes are held already.
    Where notes of one pitch overlap in a part, MIDI lets the first to begin be the first to end.

    Args:
        tempo_map: beats for whoever opens the file; None is 120 beats per minute.
        item: which batch item to write.
    """
    import mido

    written, resolution = _writable(tempo_map or TempoMap())
    file = mido.MidiFile(type=1, ticks_per_beat=resolution, charset="utf-8")
    conductor = mido.MidiTrack([mido.MetaMessage("track_name", name=title)] if title else [])
    ticks = [round(beat * resolution) for beat in written.beats]
    for tick, previous, length in zip(ticks, [0, *ticks], written.beat_lengths, strict=False):
        conductor.append(mido.MetaMessage("set_tempo", tempo=round(length * 1e6), time=tick - previous))
    file.tracks.append(conductor)
    for part, channel in zip(parts, _channels(parts), strict=True):
        file.tracks.append(mido.MidiTrack(_messages(part, channel, written, resolution, item)))
    with replacing(path) as temporary, temporary.open("wb") as handle:
        file.save(file=handle)


# ---------------------------------------------------------------------------------------------------------- reading


def _bytes(source: Path) -> bytes:
    if source.is_dir():
        raise UserError(f"{source} is a folder; give one MIDI file.")
    try:
        size = source.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"{source} has {size} bytes; MIDI files of at most {MOST_BYTES} can be read.")
        data = source.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"MIDI file not found: {source}") from error
    except OSError as error:
        raise UserError(f"cannot read {source}: {error.strerror or error}") from error
    if not data:
        raise UserError(f"MIDI file is empty (0 bytes): {source}")
    return data


def _parse(source: Path, data: bytes) -> smf.File:
    try:
        contents = smf.parse(data)
    except smf.Malformed as error:
        raise UserError(f"{source} cannot be read as a MIDI file: {error}.") from error
    if contents.format == 2:
        raise UserError(f"{source} is a MIDI file of type 2 (independent patterns); save it as type 0 or 1.")
    return contents


def _check_size(source: Path, tracks: list[list[smf.Event]]) -> None:
    """No file may cost more than seconds to read, however it was made."""
    notes = sum(_is_note(event) for track in tracks for event in track)
    if notes == 0:
        raise UserError(f"MIDI file {source} has no notes.")
    if notes > MOST_NOTES:
        raise UserError(f"MIDI file {source} has {notes} notes; at most {MOST_NOTES} can be read.")
    players = {(number, event.channel) for number, track in enumerate(tracks) for event in track if _is_note(event)}
    if len(players) > MOST_PARTS:
        raise UserError(f"MIDI file {source} has {len(players)} parts; at most {MOST_PARTS} can be read.")


def _is_note(event: smf.Event) -> bool:
    return event.kind == smf.NOTE_ON and event.data[1] > 0


def _timing(source: Path, contents: smf.File) -> tuple[float, TempoMap]:
    """Ticks in a quarter note, and the tempo map. Time-code divisions count as quarter notes of half a second."""
    if contents.division & 0x8000:
        frames, per_frame = 256 - (contents.division >> 8), contents.division & 0xFF
        if frames not in (24, 25, 29, 30) or per_frame == 0:
            raise UserError(f"{source} has an impossible time code ({frames} frames of {per_frame} ticks a second).")
        rate = 30_000 / 1001 if frames == 29 else float(frames)
        return rate * per_frame * 0.5, TempoMap()
    if contents.division == 0:
        raise UserError(f"{source} is damaged: its header gives 0 ticks in a quarter note.")
    changes = {0: 0.5}
    events = (event for track in contents.tracks for event in track)
    for event in sorted((e for e in events if e.kind == smf.META and e.channel == smf.TEMPO), key=lambda e: e.tick):
        length = int.from_bytes(event.data, "big") / 1e6
        if len(event.data) != 3 or length < SHORTEST_BEAT:
            raise UserError(f"{source} has an absurd tempo: a quarter note of {length * 1e6:.0f} microseconds.")
        changes[event.tick] = length
    return float(contents.division), TempoMap(
        tuple(tick / contents.division for tick in changes), tuple(changes.values())
    )


@dataclass
class _Key:
    """One key struck: where, when in ticks, and when it was let go."""

    track: int
    channel: int
    program: int
    pitch: int
    velocity: int
    start: int
    end: int = -1
    bounded: bool = True  # False: never let go, so it ends with the track
    onset: float = field(default=0.0, init=False)
    duration: float = field(default=0.0, init=False)
    beat: float = field(default=0.0, init=False)
    beat_length: float = field(default=0.0, init=False)

    def time(self, tempo_map: TempoMap, ticks_per_beat: float) -> None:
        """Fill in seconds and beats."""
        self.beat = self.start / ticks_per_beat
        self.beat_length = tempo_map.beat_length(self.beat)
        self.onset = tempo_map.seconds(self.beat)
        self.duration = max(tempo_map.seconds(self.end / ticks_per_beat) - self.onset, SHORTEST_NOTE)
        if not self.bounded:
            self.duration = min(self.duration, LONGEST_HELD)


def _struck(source: Path, tracks: list[list[smf.Event]]) -> list[_Key]:
    """Every key struck in any track, with its end."""
    ports = [_port(track) for track in tracks]
    own = [_channels_played(track) for track in tracks]
    conducting = _conducting(tracks, _is_control)
    controls = sum(len(conducting[port, channel]) for port, used in zip(ports, own, strict=True) for channel in used)
    if controls > MOST_CONTROLS:
        raise UserError(
            f"MIDI file {source} has {controls} control events to obey; at most {MOST_CONTROLS} can be read."
        )
    keys: list[_Key] = []
    for number, (port, used, track) in enumerate(zip(ports, own, tracks, strict=True)):
        last = track[-1].tick if track else 0
        by_channel: dict[int, list[smf.Event]] = defaultdict(list)
        for event in track:
            if event.kind < smf.EXCLUSIVE:
                by_channel[event.channel].append(event)
        for channel in sorted(used):
            events = sorted([*conducting[port, channel], *by_channel[channel]], key=lambda event: event.tick)
            keys += _Keyboard(number, channel).play(events, last)
    return keys


def _channels_played(track: list[smf.Event]) -> set[int]:
    return {event.channel for event in track if _is_note(event)}


def _conducting(
    tracks: list[list[smf.Event]], chosen: Callable[[smf.Event], bool]
) -> dict[tuple[int, int], list[smf.Event]]:
    """The events of tracks that have no notes on their channel, by port and channel, whose every track they act on."""
    found: dict[tuple[int, int], list[smf.Event]] = defaultdict(list)
    for track in tracks:
        port, played = _port(track), _channels_played(track)
        for event in track:
            if event.kind < smf.EXCLUSIVE and event.channel not in played and chosen(event):
                found[port, event.channel].append(event)
    return found


def _is_control(event: smf.Event) -> bool:
    """A program change, or a controller that this reader heeds."""
    heeded = (_SUSTAIN, _RESET, *_SILENCERS)
    return event.kind == smf.PROGRAM or (event.kind == smf.CONTROL and event.data[0] in heeded)


def _is_lane(event: smf.Event) -> bool:
    """A controller that may automate; those above are messages about the channel."""
    return event.kind == smf.CONTROL and event.data[0] < 120


def _lanes(
    source: Path, tracks: list[list[smf.Event]], tempo_map: TempoMap, ticks_per_beat: float
) -> dict[tuple[int, int], dict[int, Tensor]]:
    """The controllers that act on each track and channel with notes: {(track, channel): {number: lane}}."""
    conducting = _conducting(tracks, _is_lane)
    acting: dict[tuple[int, int], list[smf.Event]] = {}
    for number, track in enumerate(tracks):
        port = _port(track)
        for channel in _channels_played(track):
            acting[number, channel] = list(conducting[port, channel])
        for event in filter(_is_lane, track):
            if (number, event.channel) in acting:
                acting[number, event.channel].append(event)
    count = sum(map(len, acting.values()))
    if count > MOST_LANES:
        raise UserError(f"MIDI file {source} has {count} controller events to obey; at most {MOST_LANES} can be read.")
    found: dict[tuple[int, int], dict[int, Tensor]] = {}
    for place, events in acting.items():
        by_number: dict[int, dict[float, float]] = defaultdict(dict)
        for event in sorted(events, key=lambda event: event.tick):
            moment = tempo_map.seconds(event.tick / ticks_per_beat)
            by_number[event.data[0]][moment] = event.data[1] / 127.0  # the last of those at one moment
        found[place] = {
            controller: torch.tensor(list(lane.items()), dtype=torch.float64)
            for controller, lane in sorted(by_number.items())
        }
    return found


class _Keyboard:
    """The keys and the pedal of one channel of one track."""

    def __init__(self, track: int, channel: int) -> None:
        self.track, self.channel, self.program = track, channel, 0
        self.pedal = False
        self.down: dict[int, deque[_Key]] = defaultdict(deque)
        self.held: dict[int, list[_Key]] = defaultdict(list)  # let go, sounding on because of the pedal
        self.keys: list[_Key] = []

    def play(self, events: list[smf.Event], last: int) -> list[_Key]:
        for event in events:
            if event.kind == smf.NOTE_ON and event.data[1] > 0:
                self.strike(event)
            elif event.kind in (smf.NOTE_ON, smf.NOTE_OFF):
                self.release(event.data[0], event.tick)
            elif event.kind == smf.PROGRAM:
                self.program = event.data[0]
            elif event.kind == smf.CONTROL:
                self.control(event.data[0], event.data[1], event.tick)
        for key in self.keys:
            if key.end < 0:
                key.end, key.bounded = max(last, key.start), False
        for key in (key for keys in self.held.values() for key in keys):
            key.end, key.bounded = max(last, key.end), False
        return self.keys

    def strike(self, event: smf.Event) -> None:
        pitch, velocity = event.data
        for key in self.held.pop(pitch, []):
            key.end = event.tick
        key = _Key(self.track, self.channel, self.program, pitch, velocity, event.tick)
        self.down[pitch].append(key)
        self.keys.append(key)

    def release(self, pitch: int, tick: int) -> None:
        if not self.down[pitch]:
            return
        key = self.down[pitch].popleft()
        key.end = tick
        if self.pedal:
            self.held[pitch].append(key)

    def control(self, controller: int, value: int, tick: int) -> None:
        if controller in _SILENCERS:
            for pitch, keys in self.down.items():
                for _ in range(len(keys)):
                    self.release(pitch, tick)
        if controller == _SUSTAIN:
            self.pedal = value >= 64
        if controller in (_RESET, 120):
            self.pedal = False
        if not self.pedal:
            for key in (key for keys in self.held.values() for key in keys):
                key.end = tick
            self.held.clear()


def _port(track: list[smf.Event]) -> int:
    ports = [event.data[0] for event in track if event.kind == smf.META and event.channel == smf.PORT and event.data]
    return ports[0] if ports else 0


def _track_name(track: list[smf.Event]) -> str:
    names = [event.data for event in track if event.kind == smf.META and event.channel == smf.TRACK_NAME]
    return _text(names[0]) if names else ""


def _text(data: bytes) -> str:
    """UTF-8 where it is that, else Latin-1, without control characters."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return "".join(character for character in text if character.isprintable()).strip()


def _title(contents: smf.File, names: list[str]) -> str:
    """By convention the name of the first track, where that is not a player's."""
    if not contents.tracks or (contents.format == 1 and any(map(_is_note, contents.tracks[0]))):
        return ""
    return names[0]


def _parts(
    keys: list[_Key],
    names: list[str],
    kind: int,
    length: float,
    dtype: torch.dtype,
    lanes: Mapping[tuple[int, int], Mapping[int, Tensor]],
) -> list[Part]:
    groups: dict[tuple[int, int, int], list[_Key]] = defaultdict(list)
    for key in keys:
        groups[key.track, key.channel, 0 if key.channel == DRUM_CHANNEL else key.program].append(key)
    players = Counter(track for track, _, _ in groups)
    parts: list[Part] = []
    taken: set[str] = set()
    for (track, channel, program), group in sorted(groups.items()):
        is_drums = channel == DRUM_CHANNEL
        given = names[track] if kind == 1 and players[track] == 1 else ""
        name = _unique(_slug(given) or ("drums" if is_drums else _slug(PROGRAMS[program])), taken)
        notes = _notes(sorted(group, key=lambda key: (key.onset, key.pitch)), length + RINGING, dtype)
        parts.append(Part(name, notes, channel, program, is_drums, lanes.get((track, channel), {})))
    return parts


def _notes(keys: list[_Key], length: float, dtype: torch.dtype) -> Notes:
    def row(values: Iterable[float]) -> torch.Tensor:
        return torch.tensor([list(values)], dtype=dtype)

    return Notes(
        onset=row(key.onset for key in keys),
        duration=row(key.duration for key in keys),
        pitch=row(float(key.pitch) for key in keys),
        velocity=row(key.velocity / 127.0 for key in keys),
        mask=row(1.0 for _ in keys),
        beat=row(key.beat for key in keys),
        beat_length=row(key.beat_length for key in keys),
        length=length,
    )


def _slug(name: str) -> str:
    """A name fit for a path and a config key: 'Acoustic Bass!' is 'acoustic-bass'."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:24].strip("-")
    if slug and (slug[0].isdigit() or _RESERVED.match(slug)):
        slug = f"part-{slug}"
    return slug


def _unique(name: str, taken: set[str]) -> str:
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}-{number}"
    taken.add(chosen)
    return chosen


def _named(parts: Sequence[Part], part: str | int) -> Part:
    if isinstance(part, str) and part.isdigit():
        part = int(part)
    if isinstance(part, int):
        if 1 <= part <= len(parts):
            return parts[part - 1]
        raise UserError(f"there is no part {part}; the file has {_listing(parts)}.")
    for item in parts:
        if item.name == part:
            return item
    hint = nearest(part, [item.name for item in parts])
    raise UserError(f"there is no part '{part}'; {hint} The file has {_listing(parts)}.")


def _listing(parts: Sequence[Part]) -> str:
    return ", ".join(
        f"{number} {part.name} ({part.notes.count} {'drum hits' if part.is_drums else 'notes'})"
        for number, part in enumerate(parts, start=1)
    )


# ---------------------------------------------------------------------------------------------------------- writing


def _writable(tempo_map: TempoMap) -> tuple[TempoMap, int]:
    """The map as a file can hold it (whole ticks, whole microseconds), and the ticks in a quarter note."""
    lengths = [min(max(round(length * 1e6), 1), 0xFFFFFF) for length in tempo_map.beat_lengths]
    resolution = 960
    while resolution < 30_720 and max(lengths) > 1000 * resolution:  # a tick of at most 1 ms: errors of at most 0.5 ms
        resolution *= 2
    steps = {round(beat * resolution): length / 1e6 for beat, length in zip(tempo_map.beats, lengths, strict=True)}
    return TempoMap(tuple(tick / resolution for tick in steps), tuple(steps.values())), resolution


def _channels(parts: Sequence[Part]) -> list[int]:
    """The parts' own channels; for those that have none the next free one, round again where there are more than 15."""
    taken = {part.channel for part in parts}
    pitched = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    free = deque([channel for channel in pitched if channel not in taken] or pitched)
    chosen = []
    for part in parts:
        if part.is_drums:
            chosen.append(DRUM_CHANNEL)
        elif part.channel is not None and part.channel != DRUM_CHANNEL:
            chosen.append(part.channel)
        else:
            chosen.append(free[0])
            free.rotate(-1)
    return chosen


def _messages(part: Part, channel: int, tempo_map: TempoMap, resolution: int, item: int) -> list[object]:
    import mido

    notes = {key: value[item].detach().double().tolist() for key, value in part.notes.tensors().items()}
    events: list[tuple[int, int, int, int]] = []  # tick, 0 for off and 1 for on, pitch, velocity
    for i, mask in enumerate(notes["mask"]):
        if mask < 0.5:
            continue
        onset = max(notes["onset"][i], 0.0)
        start = round(tempo_map.beat(onset) * resolution)
        end = max(round(tempo_map.beat(onset + notes["duration"][i]) * resolution), start + 1)
        pitch = min(max(round(notes["pitch"][i]), 0), 127)
        events.append((start, 1, pitch, min(max(round(notes["velocity"][i] * 127.0), 1), 127)))
        events.append((end, 0, pitch, 0))
    messages: list[object] = [
        mido.MetaMessage("track_name", name=part.name),
        mido.Message("program_change", channel=channel, program=part.program),
    ]
    timed = [(tick, 1 + on, pitch, velocity * on) for tick, on, pitch, velocity in events]
    timed += _control_changes(part, tempo_map, resolution)
    now = 0
    for tick, kind, number, value in sorted(timed):
        if kind == 0:
            message = mido.Message("control_change", channel=channel, control=number, value=value, time=tick - now)
        else:
            message = mido.Message("note_on", channel=channel, note=number, velocity=value, time=tick - now)
        messages.append(message)
        now = tick
    return messages


def _control_changes(part: Part, tempo_map: TempoMap, resolution: int) -> list[tuple[int, int, int, int]]:
    """The part's lanes as (tick, 0, controller, value): before the notes of their moment."""
    return [
        (round(tempo_map.beat(max(time, 0.0)) * resolution), 0, number, min(max(round(value * 127.0), 0), 127))
        for number, lane in part.controllers.items()
        if number != _SUSTAIN
        for time, value in lane.detach().double().tolist()
    ]
