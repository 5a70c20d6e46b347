"""MIDI files: read as a synthesiser would sound them, written within a millisecond, and never trusted."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path

import mido
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks import Notes
from hitchain.blocks.notes.midi import Part, Score, read_midi, select, select_controllers, write_midi
from hitchain.blocks.notes.tempo import TempoMap
from hitchain.errors import UserError


def variable(value: int) -> bytes:
    """A MIDI variable-length quantity, by the standard's definition."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def track(*events: tuple[int, bytes], end: int = 0) -> bytes:
    """A track chunk from (delta, raw event) pairs, end of track `end` ticks after the last."""
    body = b"".join(variable(delta) + raw for delta, raw in (*events, (end, b"\xff\x2f\x00")))
    return b"MTrk" + struct.pack(">L", len(body)) + body


def midi(*tracks: bytes, kind: int = 1, division: int = 480) -> bytes:
    return b"MThd" + struct.pack(">LHHH", 6, kind, len(tracks), division) + b"".join(tracks)


def read(folder: Path, data: bytes) -> Score:
    path = folder / "x.mid"
    path.write_bytes(data)
    return read_midi(path, dtype=torch.float64)


def triples(notes: Notes) -> list[tuple[float, float, float]]:
    """(onset, duration, pitch) of each note, rounded to a nanosecond."""
    rows = zip(notes.onset[0].tolist(), notes.duration[0].tolist(), notes.pitch[0].tolist(), strict=True)
    return [(round(a, 9), round(b, 9), c) for a, b, c in rows]


def on(pitch: int, velocity: int = 100, channel: int = 0) -> bytes:
    return bytes([0x90 | channel, pitch, velocity])


def off(pitch: int, channel: int = 0) -> bytes:
    return bytes([0x80 | channel, pitch, 0])


def test_running_status_and_velocity_zero(tmp_path: Path) -> None:
    """One status byte, then data only, across a meta event: notes at 0, 0.5, 1 s of half a second each."""
    data = midi(
        track((0, on(60)), (480, b"\x3c\x00"), (0, b"\x3e\x50"), (240, b"\xff\x01\x01a"), (240, b"\x3e\x00"),
              (0, b"\x40\x7f"), (480, b"\x40\x00")),
        kind=0,
    )  # fmt: skip
    (part,) = read(tmp_path, data).parts
    assert triples(part.notes) == [(0.0, 0.5, 60), (0.5, 0.5, 62), (1.0, 0.5, 64)]
    assert part.notes.velocity[0].tolist() == pytest.approx([100 / 127, 80 / 127, 1.0])
    assert part.notes.beat[0].tolist() == [0.0, 1.0, 2.0]


def test_overlapping_notes_of_one_pitch_end_in_the_order_they_began(tmp_path: Path) -> None:
    data = midi(track((0, on(60)), (240, on(60)), (240, off(60)), (480, off(60))))
    (part,) = read(tmp_path, data).parts
    assert triples(part.notes) == [(0.0, 0.5, 60), (0.25, 0.75, 60)]


def test_tempo_changes_of_any_track_count_for_all(tmp_path: Path) -> None:
    """120 beats a minute for two beats, then 60: by hand, beat 3 falls at 2 s and a beat there lasts 1 s."""
    slower = b"\xff\x51\x03" + (1_000_000).to_bytes(3, "big")
    data = midi(track((1440, on(60)), (480, off(60))), track((960, slower)))
    score = read(tmp_path, data)
    assert triples(score.parts[0].notes) == [(2.0, 1.0, 60)]
    assert score.parts[0].notes.beat_length.item() == 1.0
    assert score.tempo_map == TempoMap((0.0, 2.0), (0.5, 1.0))
    assert score.length == 3.0


def test_parts_by_track_channel_and_program(tmp_path: Path) -> None:
    def name(text: str) -> bytes:
        return b"\xff\x03" + bytes([len(text)]) + text.encode()

    data = midi(
        track((0, name("My Song"))),
        track((0, name("Lead Synth!")), (0, b"\xc0\x50"), (0, on(60)), (480, off(60))),
        track((0, b"\xc1\x20"), (0, on(40, channel=1)), (480, off(40, channel=1)),
              (0, b"\xc1\x21"), (0, on(40, channel=1)), (480, off(40, channel=1)),
              (0, on(36, channel=9)), (10, off(36, channel=9))),
        track((0, name("../etc")), (0, b"\xc2\x20"), (0, on(41, channel=2)), (480, off(41, channel=2))),
        track((0, name("Lead Synth?")), (0, on(60)), (480, off(60))),
    )  # fmt: skip
    score = read(tmp_path, data)
    found = [(part.name, part.channel, part.program, part.is_drums) for part in score.parts]
    assert found == [
        ("lead-synth", 0, 80, False),
        ("acoustic-bass", 1, 32, False),
        ("finger-bass", 1, 33, False),
        ("drums", 9, 0, True),
        ("etc", 2, 32, False),
        ("lead-synth-2", 0, 0, False),
    ]
    assert score.title == "My Song"


def test_sustain_pedal_holds_until_lifted_or_struck_again(tmp_path: Path) -> None:
    """Pedal down 0..2 s: 60 is struck at 0 and again at 1; 64 is let go at 0.5; 67 ends after the pedal."""
    down, up = b"\xb0\x40\x40", b"\xb0\x40\x3f"
    data = midi(
        track((0, down), (0, on(60)), (0, on(64)), (0, on(67)), (480, off(60)), (0, off(64)), (480, on(60)),
              (480, off(60)), (480, up), (480, off(67)))
    )  # fmt: skip
    (part,) = read(tmp_path, data).parts
    assert triples(part.notes) == [(0.0, 1.0, 60), (0.0, 2.0, 64), (0.0, 2.5, 67), (1.0, 1.0, 60)]


def test_pedal_and_program_in_a_track_of_their_own(tmp_path: Path) -> None:
    control = track((0, b"\xc0\x05"), (0, b"\xb0\x40\x7f"), (960, b"\xb0\x40\x00"))
    (part,) = read(tmp_path, midi(control, track((0, on(60)), (480, off(60))))).parts
    assert part.program == 5
    assert triples(part.notes) == [(0.0, 1.0, 60)]


def test_a_note_that_never_ends_stops_with_its_track_or_after_30_seconds(tmp_path: Path) -> None:
    assert triples(read(tmp_path, midi(track((0, on(60)), end=960))).parts[0].notes) == [(0.0, 1.0, 60)]
    assert triples(read(tmp_path, midi(track((0, on(60)), end=0x0FFFFFFF))).parts[0].notes) == [(0.0, 30.0, 60)]
    assert triples(read(tmp_path, midi(track((0, on(60))))).parts[0].notes) == [(0.0, 0.001, 60)]


def test_time_code_division(tmp_path: Path) -> None:
    """25 frames of 40 ticks a second: 1000 ticks are a second, whatever the tempo events say."""
    division = struct.unpack(">H", struct.pack(">bB", -25, 40))[0]
    tempo = b"\xff\x51\x03\x0f\x42\x40"
    (part,) = read(tmp_path, midi(track((0, tempo), (1500, on(60)), (250, off(60))), division=division)).parts
    assert triples(part.notes) == [(1.5, 0.25, 60)]


def test_alien_chunks_and_broken_texts_are_passed_over(tmp_path: Path) -> None:
    """A chunk of another type, a track name that is no UTF-8, an impossible key signature, a RIFF wrapper."""
    body = track((0, b"\xff\x03\x04B\xe4ss"), (0, b"\xff\x59\x02\x63\x07"), (0, on(40)), (480, off(40)))
    data = b"MThd" + struct.pack(">LHHH", 6, 1, 1, 480) + b"XFIH\x00\x00\x00\x02ab" + body
    wrapped = b"RIFF" + struct.pack("<L", len(data) + 12) + b"RMIDdata" + struct.pack("<L", len(data)) + data
    for variant in (data, wrapped):
        assert [part.name for part in read(tmp_path, variant).parts] == ["bass"]


def test_times_agree_with_mido(tmp_path: Path) -> None:
    """Two tracks of random notes under random tempo changes; mido's own playback clock is the reference."""
    generator = random.Random(3)
    file = mido.MidiFile(type=1, ticks_per_beat=220)
    for channel in range(2):
        lane = mido.MidiTrack()
        for _ in range(200):
            if generator.random() < 0.2:
                lane.append(mido.MetaMessage("set_tempo", tempo=generator.randrange(200_000, 900_000), time=40))
            pitch = generator.randrange(30, 90)
            lane.append(mido.Message("note_on", note=pitch, channel=channel, time=generator.randrange(300)))
            lane.append(mido.Message("note_off", note=pitch, channel=channel, time=generator.randrange(1, 400)))
        file.tracks.append(lane)
    path = tmp_path / "random.mid"
    file.save(path)
    now, began, expected = 0.0, {}, []
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on":
            began[message.channel] = now
        elif message.type == "note_off":
            expected.append((began[message.channel], now - began[message.channel], float(message.note)))
    score = read_midi(path, dtype=torch.float64)
    found = sorted(row for part in score.parts for row in triples(part.notes))
    assert torch.tensor(found) == pytest.approx(torch.tensor(sorted(expected)), abs=1e-6)  # mido adds up rounded steps


@st.composite
def performances(draw: st.DrawFn) -> tuple[Part, TempoMap]:
    """Notes that do not overlap within a pitch (MIDI cannot tell those apart), and a tempo that changes."""
    onsets, durations, pitches, velocities = [], [], [], []
    for pitch in draw(st.lists(st.integers(0, 127), min_size=1, max_size=4, unique=True)):
        now = 0.0
        for _ in range(draw(st.integers(1, 5))):
            now += draw(st.floats(0.003, 3.0))
            duration = draw(st.floats(0.003, 2.0))
            onsets.append(now)
            durations.append(duration)
            pitches.append(float(pitch))
            velocities.append(draw(st.integers(1, 127)) / 127.0)
            now += duration
    steps = draw(st.lists(st.floats(0.1, 5.0), max_size=3))
    beats = [0.0] + [sum(steps[: i + 1]) for i in range(len(steps))]
    lengths = [draw(st.floats(0.02, 16.0)) for _ in beats]
    notes = Notes.of(onsets, durations, pitches, velocities, dtype=torch.float64)
    return Part("lead", notes, channel=3, program=80), TempoMap(tuple(beats), tuple(lengths))


@settings(max_examples=40, deadline=None)
@given(performances())
def test_written_notes_come_back_within_a_millisecond(
    tmp_path_factory: pytest.TempPathFactory, given_: tuple[Part, TempoMap]
) -> None:
    part, tempo_map = given_
    path = tmp_path_factory.mktemp("midi") / "notes.mid"
    write_midi(path, [part], tempo_map, title="Täst")
    score = read_midi(path, dtype=torch.float64)
    (back,) = score.parts
    assert (back.name, back.channel, back.program, score.title) == ("lead", 3, 80, "Täst")

    def rows(notes: Notes) -> torch.Tensor:
        values = [notes.pitch, notes.onset, notes.onset + notes.duration, notes.velocity]
        return torch.tensor(sorted(torch.cat(values).T.tolist()))

    error = (rows(back.notes) - rows(part.notes)).abs().amax(dim=0)
    assert error[0] == 0
    assert error[1:3].max() < 1e-3
    assert error[3] < 1e-6


def test_writing_gives_channels_leaves_out_the_masked_and_keeps_what_was_there_on_failure(tmp_path: Path) -> None:
    notes = Notes.of([-0.1, 1.0], [0.5, 0.5], [60.4, 200.0])
    masked = notes.with_(mask=torch.tensor([[1.0, 0.2]]))
    path = tmp_path / "notes.mid"
    write_midi(path, [Part("a", notes), Part("b", masked, channel=0), Part("d", notes, is_drums=True)])
    parts = read_midi(path).parts
    assert [(part.name, part.channel) for part in parts] == [("a", 1), ("b", 0), ("d", 9)]
    assert parts[0].notes.pitch[0].tolist() == [60.0, 127.0]
    assert parts[0].notes.onset[0].tolist() == pytest.approx([0.0, 1.0], abs=1e-3)
    assert parts[1].notes.count == 1
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"0\.\.127"):
        write_midi(path, [Part("a", notes, program=200)])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.mid"]


def test_select(tmp_path: Path) -> None:
    data = midi(
        track((0, b"\xff\x03\x04Lead"), (480, on(60)), (480, off(60))),
        track((0, b"\xff\x03\x04Bass"), (0, on(40)), (480, off(40))),
        track((0, on(36, channel=9)), (480, off(36, channel=9))),
    )
    parts = read(tmp_path, data).parts
    assert select(parts).pitch[0].tolist() == [40.0, 60.0]
    assert select(parts, drums=True).pitch[0].tolist() == [36.0]
    assert select(parts, "lead").pitch[0].tolist() == select(parts, 1).pitch[0].tolist() == [60.0]
    with pytest.raises(
        UserError, match=r"no part 'led'; did you mean 'lead'\? The file has 1 lead \(1 notes\), 2 bass"
    ):
        select(parts, "led")
    with pytest.raises(UserError, match="no part 4"):
        select(parts, 4)
    with pytest.raises(UserError, match="no drum part"):
        select(parts[:2], drums=True)
    with pytest.raises(UserError, match="drums=true"):
        select(parts[2:])


GOOD = midi(track((0, on(60)), (480, off(60))))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"RIFF....WAVEfmt ", "MThd"),
        (b"\x00" * 400, "MThd"),
        (GOOD[:10], "truncated inside the header"),
        (GOOD[:-6], "truncated: track 1 of 1"),
        (GOOD[:14], "truncated: 0 of 1"),
        (midi(track()), "no notes"),
        (midi(), "no notes"),
        (midi(track((0, on(60, 0)))), "no notes"),
        (midi(track((0, on(60))), kind=2), "type 2"),
        (midi(track((0, on(60))), kind=7), "header is damaged"),
        (midi(track((0, on(60))), division=0), "0 ticks"),
        (midi(track((0, on(60))), division=0xFF00), "impossible time code"),
        (midi(track((0, b"\xff\x51\x03\x00\x00\x00"), (0, on(60)))), "absurd tempo: a quarter note of 0 microseconds"),
        (midi(track((0, b"\xff\x51\x01\x05"), (0, on(60)))), "absurd tempo"),
        (midi(track((0x0FFFFFFF, on(60)), (480, off(60)))), "minutes long"),
        (midi(track((0, b"\x3c\x40"))), "damaged at byte"),
        (midi(track((0, b"\x90\x3c\xf0"))), "damaged at byte"),
        (midi(track((0, b"\xf8"))), "status 0xf8"),
        (midi(track((0, b"\xff\x01\xff\xff\xff\x7f"))), "runs past the end"),
        (midi(track((0, b"\xff\x01\xff\xff\xff\xff\xff"))), "longer than 4 bytes"),
        (midi(track(*[(1, on(60))] * 100_001)), "100001 notes"),
        (midi(*[track((0, on(60)))] * 300), "300 parts"),
        (b"MThd" + b"\xff" * 4_000_001, "4000005 bytes"),
    ],
)
def test_bad_files_are_told_apart(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, data)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        read_midi(tmp_path / "none.mid")
    with pytest.raises(UserError, match="is a folder"):
        read_midi(tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 3), st.integers(0, 0xFFFF))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, kind: int, division: int
) -> None:
    """Whatever a track holds, the answer is finite notes or a UserError."""
    data = midi(b"MTrk" + struct.pack(">L", len(body)) + body, kind=kind, division=division)
    try:
        score = read(tmp_path_factory.mktemp("any"), data)
    except UserError:
        return
    for part in score.parts:
        assert all(bool(value.isfinite().all()) for value in part.notes.tensors().values())
        assert bool((part.notes.duration > 0).all())


def test_the_largest_files_take_seconds(tmp_path: Path) -> None:
    """The worst that fits the limits: 250 tracks that all obey 200,000 pedal events of another."""
    control = track(*[(1, bytes([0xB0, 0x40, 127 * (i % 2)])) for i in range(200_000)])
    data = midi(control, *[track((0, on(60)), (480, off(60)))] * 250)
    began = time.perf_counter()
    with pytest.raises(UserError, match="control events"):
        read(tmp_path, data)
    assert time.perf_counter() - began < 5.0


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"):
        write_midi(tmp_path / "file" / "notes.mid", [Part("a", Notes.of([0.0], [1.0], [60.0]))])


def test_tempo_map_there_and_back() -> None:
    tempo_map = TempoMap((0.0, 2.0, 5.0), (0.5, 1.0, 0.25))
    assert [tempo_map.seconds(beat) for beat in (0.0, 1.0, 2.0, 3.5, 6.0)] == [0.0, 0.5, 1.0, 2.5, 4.25]
    assert [tempo_map.beat(tempo_map.seconds(beat)) for beat in (0.5, 2.0, 4.0, 9.0)] == [0.5, 2.0, 4.0, 9.0]
    assert tempo_map.beat_length(4.9) == 1.0
    assert TempoMap.of(132.0).tempo == pytest.approx(132.0)
    with pytest.raises(ValueError, match="rising from 0"):
        TempoMap((0.0, 2.0, 2.0), (0.5, 1.0, 0.25))


def test_controllers_become_lanes_in_seconds(tmp_path: Path) -> None:
    """Those of the part's own track and channel, and those of a track without notes; the tempo map gives the time."""
    conductor = [b"\x00\xff\x51\x03\x07\xa1\x20", b"\x83\x60\xb0\x01\x40", b"\x00\xff\x2f\x00"]  # 500 ms; CC 1 at 480
    player = [
        b"\x00\xb0\x0b\x7f",
        b"\x00\x90\x3c\x64",
        b"\x87\x40\xb0\x0b\x00",
        b"\x00\x80\x3c\x00",
        b"\x00\xff\x2f\x00",
    ]
    chunks = [b"".join(events) for events in (conductor, player)]
    data = b"MThd\x00\x00\x00\x06\x00\x01\x00\x02\x01\xe0"
    data += b"".join(b"MTrk" + len(chunk).to_bytes(4, "big") + chunk for chunk in chunks)
    path = tmp_path / "lanes.mid"
    path.write_bytes(data)
    lanes = read_midi(path).parts[0].controllers
    assert sorted(lanes) == [1, 11]
    torch.testing.assert_close(lanes[1], torch.tensor([[0.5, 64 / 127]], dtype=torch.float64))
    torch.testing.assert_close(lanes[11], torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64))


def test_controllers_are_written_and_read_again(tmp_path: Path) -> None:
    lane = torch.tensor([[0.0, 0.0], [0.25, 100 / 127], [1.5, 1.0]], dtype=torch.float64)
    pedal = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    notes = Notes.of([0.0, 1.0], [0.5, 0.5], [60.0, 62.0])
    path = tmp_path / "lanes.mid"
    write_midi(path, [Part("a", notes, controllers={74: lane, 64: pedal}), Part("b", notes)])
    parts = read_midi(path).parts
    assert sorted(parts[0].controllers) == [74]  # the pedal's notes are held as they are
    torch.testing.assert_close(parts[0].controllers[74], lane, rtol=0, atol=1e-3)
    assert not parts[1].controllers
    torch.testing.assert_close(parts[0].notes.duration, notes.duration, rtol=0, atol=2e-3)
    assert sorted(select_controllers(parts)) == [74]
    assert not select_controllers(parts, drums=True)


def test_too_many_controllers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitchain.blocks.notes.midi.MOST_LANES", 2)
    lane = torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    path = tmp_path / "lanes.mid"
    write_midi(path, [Part("a", Notes.of([0.0], [1.0], [60.0]), controllers={1: lane})])
    with pytest.raises(UserError, match="3 controller events"):
        read_midi(path)
