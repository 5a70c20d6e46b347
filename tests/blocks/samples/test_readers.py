"""Readers of instruments: folders, SFZ and SoundFont files, whole and hostile."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from hitchain.blocks.samples.folder import dynamic, note, read_file, read_folder
from hitchain.blocks.samples.sfz import read_sfz
from hitchain.blocks.samples.soundfont import SoundFont
from hitchain.errors import UserError
from hitchain.files import write_wav

RATE = 22050


def _wav(path: Path, hertz: float = 440.0, seconds: float = 0.2) -> Path:
    time = torch.arange(round(seconds * RATE)) / RATE
    write_wav(path, 0.5 * torch.sin(2 * torch.pi * hertz * time)[None], RATE, "PCM_24")
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [("piano_C4", 60), ("flute-A#3", 58), ("Eb2 mf", 39), ("keys_F3_v100", 53), ("72", 72), ("c-1", 0),
     ("strings_061_v40", 61), ("thunder", None), ("vol2000", None)],
)  # fmt: skip
def test_notes_in_names(name: str, expected: float | None) -> None:
    assert note(name) == expected


def test_dynamics_in_names() -> None:
    found = [dynamic(name) for name in ("a_C4_v90", "a_C4_pp", "a_C4_mf.2", "piano_C4")]
    assert found == [90, 33, 80, None]


def test_a_folder_shares_out_keys_and_velocities(tmp_path: Path) -> None:
    for name in ("a_C3_p.wav", "a_C3_f.wav", "a_C4_f.wav"):
        _wav(tmp_path / name)
    zones = read_folder(tmp_path)
    assert [(zone.root, zone.keys[0] < 50 < zone.keys[1]) for zone in zones] == [(48, True), (48, True), (60, False)]
    for key in range(128):
        for velocity in (0, 60, 127):
            hit = [z for z in zones if z.keys[0] <= key <= z.keys[1] and z.velocities[0] <= velocity <= z.velocities[1]]
            assert len(hit) == 1, (key, velocity)
    _wav(tmp_path / "nameless.wav")
    with pytest.raises(UserError, match="nameless"):
        read_folder(tmp_path)


def test_the_pitch_of_an_unnamed_file_is_heard(tmp_path: Path) -> None:
    assert read_file(_wav(tmp_path / "thing.wav", 330.0, 0.6))[0].root == pytest.approx(64.02, abs=0.1)


def test_the_sampler_chunk_of_a_wav_is_read(tmp_path: Path) -> None:
    path = _wav(tmp_path / "x.wav")
    body = struct.pack("<9I", 0, 0, 0, 57, 1 << 31, 0, 0, 1, 0) + struct.pack("<6I", 0, 0, 100, 999, 0, 0)
    data = path.read_bytes() + struct.pack("<4sI", b"smpl", len(body)) + body
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    zone = read_file(path)[0]
    assert zone.root == pytest.approx(57.5)
    assert zone.loop == (100, 1000)


def test_sfz_opcodes(tmp_path: Path) -> None:
    _wav(tmp_path / "my tone.wav")
    (tmp_path / "a.sfz").write_text(
        "// a comment\n<control> default_path=\n<global> ampeg_release=0.5 volume=-6\n"
        "<group> lovel=1 hivel=64 tune=-25 made_up_opcode=hello\n"
        "<region> sample=my tone.wav key=c4 transpose=2 /* more */ offset=10 pan=50\n"
        "<group> lovel=65\n<region> sample=my tone.wav lokey=61 hikey=72 pitch_keycenter=a4 loop_mode=one_shot\n"
        "<region> sample=my tone.wav trigger=release\n<region> sample=my tone.wav seq_position=2\n"
    )
    first, second = read_sfz(tmp_path / "a.sfz")
    assert first.keys == (60, 60)
    assert first.root == pytest.approx(58.25)
    assert first.velocities == (1, 64)
    assert (first.offset, first.pan, first.release) == (10, 0.5, 0.5)
    assert first.gain == pytest.approx(0.5012, abs=1e-3)
    assert second.once
    assert (second.root, second.keys, second.velocities) == (69, (61, 72), (65, 127))


@pytest.mark.parametrize(
    "text",
    [
        "<region> sample=../outside.wav",
        "<region> sample=/etc/passwd.wav",
        "<region> sample=C:\\x.wav",
        "<region> sample=link.wav",
        "<region> sample=*sine",
        "<region> sample=notes.txt",
        "<region> sample=tone.wav key=h9",
        "<region> sample=tone.wav volume=loud",
        "<region> sample=tone.wav offset=nan",
        "<region> sample=missing.wav",
        '#include "other.sfz"',
        "#define $A 1\n<region> sample=tone.wav",
        "<global> volume=3",
        "",
        "\x00\x01\x02",
    ],
)
def test_hostile_sfz_is_refused(tmp_path: Path, text: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    _wav(tmp_path / "outside.wav")
    _wav(inside / "tone.wav")
    (inside / "notes.txt").write_text("x")
    (inside / "link.wav").symlink_to(tmp_path / "outside.wav")
    (inside / "a.sfz").write_text(text)
    with pytest.raises(UserError):
        read_sfz(inside / "a.sfz")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2)


def soundfont(**change: bytes) -> bytes:
    """A SoundFont of one preset, one instrument and one sample; chunks may be replaced."""
    wave = (8000 * np.sin(2 * np.pi * 441.0 * np.arange(2000) / 22050)).astype("<i2").tobytes() + b"\0" * 92
    head = struct.Struct("<20s5IBbHH")
    tables = {
        b"phdr": struct.pack("<20s3H3I", b"Tone", 5, 0, 0, 0, 0, 0) + struct.pack("<20s3H3I", b"EOP", 0, 0, 1, 0, 0, 0),
        b"pbag": struct.pack("<4H", 0, 0, 1, 0),
        b"pmod": b"\0" * 10,
        b"pgen": struct.pack("<4H", 41, 0, 0, 0),
        b"inst": struct.pack("<20sH", b"Tone", 0) + struct.pack("<20sH", b"EOI", 2),
        b"ibag": struct.pack("<6H", 0, 0, 2, 0, 5, 0),
        b"imod": b"\0" * 10,
        b"igen": struct.pack("<12H", 38, 1200, 17, 0xFF06, 43, 72 << 8 | 36, 54, 1, 53, 0, 0, 0),
        b"shdr": head.pack(b"Tone", 0, 2000, 1000, 1500, 22050, 69, -20, 0, 1)
        + head.pack(b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0),
    }
    tables |= {name.encode(): body for name, body in change.items()}
    lists = _chunk(b"LIST", b"INFO" + _chunk(b"ifil", struct.pack("<HH", 2, 1)))
    lists += _chunk(b"LIST", b"sdta" + _chunk(b"smpl", wave))
    lists += _chunk(b"LIST", b"pdta" + b"".join(_chunk(name, body) for name, body in tables.items()))
    return _chunk(b"RIFF", b"sfbk" + lists)


def test_a_soundfont(tmp_path: Path) -> None:
    path = tmp_path / "a.sf2"
    path.write_bytes(soundfont())
    font = SoundFont(path)
    assert [str(program) for program in font.programs()] == ["0:5 Tone"]
    (zone,) = font.zones("tone")
    assert font.zones(5)[0].keys == font.zones("0:5")[0].keys == zone.keys == (36, 72)
    assert zone.root == pytest.approx(69.2)
    assert zone.loop == (1000, 1500)
    assert zone.pan == pytest.approx(-0.5)
    assert zone.release == pytest.approx(0.8)
    assert zone.audio.shape == (1, 2000)
    with pytest.raises(UserError, match="Tone"):
        font.zones("Tome")


def test_damaged_soundfonts_are_refused_or_read_but_never_break(tmp_path: Path) -> None:
    """Cut anywhere, and with bytes changed at random: a UserError or zones within the file."""
    whole, path = soundfont(), tmp_path / "a.sf2"
    generator = np.random.default_rng(0)
    damaged = [whole[:length] for length in range(0, len(whole), 211)]
    for _ in range(300):
        data = bytearray(whole)
        for place in generator.integers(0, len(data), 4):
            data[place if place < 60 else len(data) - 1 - place % 700] = generator.integers(0, 256)
        damaged.append(bytes(data))
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            assert all(2 <= zone.audio.shape[-1] <= 2046 for zone in SoundFont(path).zones(5))
        except UserError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("change", [{"phdr": b""}, {"shdr": b"\0" * 45}, {"inst": b"\0" * 22}, {"pgen": b""}])
def test_malformed_tables_are_refused(tmp_path: Path, change: dict[str, bytes]) -> None:
    path = tmp_path / "a.sf2"
    path.write_bytes(soundfont(**change))
    with pytest.raises(UserError):
        SoundFont(path).zones(5)


def test_the_general_midi_soundfont_of_the_machine_is_read() -> None:
    path = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
    if not path.is_file():
        pytest.skip("FluidR3_GM.sf2 (Debian's fluid-soundfont-gm) is not installed")
    font = SoundFont(path)
    assert len(font.programs()) > 128
    flute = font.zones("Flute")
    assert {zone.audio.shape[0] for zone in flute} == {1}
    assert all(zone.loop is None or zone.loop[1] <= zone.audio.shape[-1] for zone in flute)
