"""Exports read back: what other programs would find in them is what the run holds."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.signal
import soundfile

from hitchain import blocks
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.notes.tempo import TempoMap
from hitchain.chain import Song
from hitchain.chain.export import dawproject, reaper, write_export
from hitchain.chain.export.session import Session, open_session
from hitchain.cli import main
from hitchain.errors import UserError

RUN = [
    "song.length=2",
    "lead.effects.parametric_eq.peak2_gain=6",
    "lead.effects.parametric_eq.low_shelf_gain=-4",
    "bass.effects.parametric_eq.peak3_gain=-5",
    "lead.fader.pan=0.4",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main(["render", f"out={folder}", *RUN]) == 0
    return folder


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float64", always_2d=True)[0].T


def decibels(error: np.ndarray, signal: np.ndarray) -> float:
    return 20 * math.log10(max(float(np.linalg.norm(error) / np.linalg.norm(signal)), 1e-15))


def with_tempo_change(run: Path) -> Session:
    session = open_session(run)
    session.song.tempo_map = TempoMap((0.0, 2.0), (0.5, 0.4))
    return session


@dataclass
class Chunk:
    """A block of an .rpp file: its head, its lines, and the blocks in it."""

    head: list[str]
    lines: list[list[str]] = field(default_factory=list)
    inside: list[Chunk] = field(default_factory=list)

    def value(self, key: str) -> list[str]:
        return next(line[1:] for line in self.lines if line[0] == key)

    def all(self, key: str) -> list[Chunk]:
        return [chunk for chunk in self.inside if chunk.head[0] == key]


def parse_rpp(text: str) -> Chunk:
    open_chunks: list[Chunk] = [Chunk([])]
    for line in text.splitlines():
        words = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', line)]
        if words[0] == ">":
            done = open_chunks.pop()
            open_chunks[-1].inside.append(done)
        elif words[0].startswith("<"):
            open_chunks.append(Chunk([words[0][1:], *words[1:]]))
        else:
            open_chunks[-1].lines.append(words)
    assert len(open_chunks) == 1
    return open_chunks[0].inside[0]


def test_reaper_project_plays_the_mix(run: Path, tmp_path: Path) -> None:
    write_export(run, "reaper", tmp_path)
    project = parse_rpp((tmp_path / "demo.rpp").read_text(encoding="utf-8"))
    assert project.head[0] == "REAPER_PROJECT"
    assert project.value("TEMPO")[0] == f"{Song.load(run).tempo_map.tempo:.10g}"
    mix, sounding = read(run / "mix.wav"), np.zeros(())
    tracks = project.all("TRACK")
    assert [track.value("NAME")[0] for track in tracks] == ["lead", "bass", "chords", "drums", "master (reference)"]
    for track in tracks:
        (item,) = track.all("ITEM")
        (source,) = item.all("SOURCE")
        audio = read(tmp_path / source.value("FILE")[0])
        assert float(item.value("POSITION")[0]) == 0.0
        assert float(item.value("LENGTH")[0]) == pytest.approx(audio.shape[1] / 44100)
        if track.value("MUTESOLO")[0] == "0":
            sounding = sounding + audio
    assert decibels(sounding - mix, mix) < -120.0


def test_reaper_project_with_every_stage_and_a_change_of_tempo(run: Path, tmp_path: Path) -> None:
    session = with_tempo_change(run)
    reaper.write(Session(session.folder, session.song, session.tracks, "all"), tmp_path)
    project = parse_rpp((tmp_path / "demo.rpp").read_text(encoding="utf-8"))
    names = [track.value("NAME")[0] for track in project.all("TRACK")]
    assert "lead instrument" in names
    assert sum(track.value("MUTESOLO")[0] == "0" for track in project.all("TRACK")) == 4
    (envelope,) = project.all("TEMPOENVEX")
    points = [(float(line[1]), float(line[2])) for line in envelope.lines if line[0] == "PT"]
    assert points == [(0.0, 120.0), (1.0, 150.0)]


STRUCTURE: dict[str, tuple[list[str], set[str], set[str]]] = {
    "Project": (["Application", "Transport", "Structure", "Arrangement", "Scenes"], {"version"}, set()),
    "Application": ([], {"name", "version"}, set()),
    "Transport": (["Tempo", "TimeSignature"], set(), set()),
    "Tempo": ([], {"unit"}, {"id", "name", "value", "min", "max"}),
    "TimeSignature": ([], {"numerator", "denominator"}, {"id", "name"}),
    "Structure": (["Track*"], set(), set()),
    "Track": (["Channel", "Track*"], set(), {"id", "name", "color", "comment", "contentType", "loaded"}),
    "Channel": (
        ["Devices", "Mute", "Pan", "Sends", "Volume"],
        set(),
        {"id", "name", "audioChannels", "destination", "role", "solo"},
    ),
    "Mute": ([], set(), {"id", "name", "value"}),
    "Pan": ([], {"unit"}, {"id", "name", "value", "min", "max"}),
    "Volume": ([], {"unit"}, {"id", "name", "value", "min", "max"}),
    "Arrangement": (["Lanes", "Markers", "TempoAutomation", "TimeSignatureAutomation"], set(), {"id", "name"}),
    "Lanes": (["Lanes*", "Clips*"], set(), {"id", "name", "timeUnit", "track"}),
    "Clips": (["Clip*"], set(), {"id", "name", "timeUnit", "track"}),
    "Clip": (
        ["Audio"],
        {"time"},
        {"name", "duration", "contentTimeUnit", "playStart", "playStop", "fadeTimeUnit", "fadeInTime", "fadeOutTime"},
    ),
    "Audio": (["File"], {"channels", "sampleRate", "duration"}, {"id", "name", "algorithm", "timeUnit", "track"}),
    "File": ([], {"path"}, {"external"}),
    "TempoAutomation": (["Target", "RealPoint*"], set(), {"id", "name", "timeUnit", "unit", "track"}),
    "Target": ([], set(), {"parameter", "expression", "channel", "key", "controller"}),
    "RealPoint": ([], {"time", "value"}, {"interpolation"}),
}
"""Of the published Project.xsd (DAWproject 1.0): children in order (* any number), attributes needed, and others."""

WORDS = {
    "unit": {"linear", "normalized", "percent", "decibel", "hertz", "semitones", "seconds", "beats", "bpm"},
    "timeUnit": {"beats", "seconds"},
    "contentTimeUnit": {"beats", "seconds"},
    "role": {"regular", "master", "effect", "submix", "vca"},
    "contentType": {"audio", "automation", "notes", "video", "markers", "tracks"},
    "interpolation": {"hold", "linear"},
}


def check_structure(element: ElementTree.Element) -> None:
    children, needed, others = STRUCTURE[element.tag]
    assert needed <= set(element.attrib) <= needed | others, element.tag
    for key, value in element.attrib.items():
        assert value in WORDS.get(key, {value}), f"{element.tag} {key}={value}"
    order = [name.rstrip("*") for name in children]
    places = [order.index(child.tag) for child in element]
    assert places == sorted(places), element.tag
    for name in children:
        assert name.endswith("*") or sum(child.tag == name for child in element) <= 1, f"{element.tag}/{name}"
    for child in element:
        check_structure(child)


def test_dawproject_has_the_published_structure_and_plays_the_mix(run: Path, tmp_path: Path) -> None:
    dawproject.write(with_tempo_change(run), tmp_path)
    with zipfile.ZipFile(tmp_path / "demo.dawproject") as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "read")
    root = ElementTree.parse(tmp_path / "read/project.xml").getroot()
    check_structure(root)
    identities = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(identities) == len(set(identities))
    references = [
        element.attrib[key] for element in root.iter() for key in ("track", "destination") if key in element.attrib
    ]
    assert set(references) <= set(identities)
    metadata = ElementTree.parse(tmp_path / "read/metadata.xml").getroot()
    assert (metadata.tag, metadata.findtext("Title")) == ("MetaData", "demo")
    tempo = root.find("Transport/Tempo")
    assert tempo is not None
    assert float(tempo.attrib["value"]) == 120.0
    points = [(p.attrib["time"], p.attrib["value"]) for p in root.iter("RealPoint")]
    assert points == [("0", "120"), ("2", "150")]
    muted = {
        track.attrib["id"] for track in root.iter("Track") if track.find("Channel/Mute[@value='true']") is not None
    }
    mix, sounding = read(run / "mix.wav"), np.zeros(())
    for lane in root.findall("Arrangement/Lanes/Lanes"):
        clip, file = lane.find("Clips/Clip"), lane.find("Clips/Clip/Audio/File")
        assert clip is not None
        assert file is not None
        assert float(clip.attrib["duration"]) == pytest.approx(2.0 + 1.0 / 0.4)  # 2 s in beats
        if lane.attrib["track"] not in muted:
            sounding = sounding + read(tmp_path / "read" / file.attrib["path"])
    assert decibels(sounding - mix, mix) < -120.0


def test_dawproject_of_the_same_run_is_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_export(run, "dawproject", tmp_path / name)
    assert (tmp_path / "a/demo.dawproject").read_bytes() == (tmp_path / "b/demo.dawproject").read_bytes()


def test_impulse_responses_do_what_the_blocks_did(run: Path, tmp_path: Path, accuracy: Callable[..., None]) -> None:
    """Against the run's own stems: before the cab and after the microphone."""
    told = write_export(run, "nam-ir", tmp_path)
    rows = {row["track"]: row for row in told["responses"]}
    assert rows["lead"]["blocks"] == ["lead.cab", "lead.mic"]
    assert rows["bass"]["blocks"] == ["bass.cab", "bass.mic"]
    assert rows["drums"]["blocks"] == ["drums.effects.reverb"]
    assert all(row["error"] < -80.0 for row in rows.values())
    for track in ("lead", "bass"):
        before, after = read(run / f"stems/{track}/3-amp.wav"), read(run / f"stems/{track}/5-mic.wav")
        kernel = read(tmp_path / f"{track}.wav")
        made = scipy.signal.fftconvolve(before, kernel, axes=-1)[:, : after.shape[1]]
        accuracy(
            f"export format=nam-ir, {track}", "the stem after cab and mic", decibels(made - after, after), bound=-80.0
        )


def test_impulse_response_of_one_track_keeps_what_sounds_early(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    lead = ["effects@lead=none", "amp@lead=none", "lead.effects.eq.block=mastering/linear_phase_eq"]
    assert main(["render", f"out={folder}", "song.length=1", *lead, "lead.effects.eq.peak2_gain=8"]) == 0
    told = write_export(folder, "nam-ir", tmp_path / "out", track="lead")
    (row,) = told["responses"]
    assert row["blocks"] == ["lead.effects.eq", "lead.cab", "lead.mic"]
    assert 0 < row["late_by"] <= 8200
    assert row["error"] < -80.0


def regions(text: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        if line.startswith("<region>"):
            yield dict(word.split("=", 1) for word in line.split()[1:])


def test_sfz_covers_keys_and_velocities_in_tune(run: Path, tmp_path: Path, accuracy: Callable[..., None]) -> None:
    write_export(run, "sfz", tmp_path, track="lead")
    text = (tmp_path / "lead.sfz").read_text(encoding="utf-8")
    assert "default_path=lead/" in text
    found = list(regions(text))
    keys = sorted({key for row in found for key in range(int(row["lokey"]), int(row["hikey"]) + 1)})
    assert keys == list(range(keys[0], keys[-1] + 1))
    notes = Song.load(run).tracks["lead"].notes.pitch
    assert keys[0] <= float(notes.min())
    assert keys[-1] >= float(notes.max())
    worst = 0.0
    for key in keys:
        rows = [row for row in found if int(row["lokey"]) <= key <= int(row["hikey"])]
        covered = sorted(v for row in rows for v in range(int(row["lovel"]), int(row["hivel"]) + 1))
        assert covered == list(range(1, 128))
    for row in found:
        sample = read(tmp_path / "lead" / row["sample"])[0][4000:70000]
        spectrum = np.abs(np.fft.rfft(sample * np.hanning(len(sample)), 1 << 18))
        expected = 440.0 * 2 ** ((int(row["pitch_keycenter"]) - 69) / 12)
        near = np.arange(round(expected / 1.03 * 2**18 / 44100), round(expected * 1.03 * 2**18 / 44100))
        worst = max(worst, abs(1200 * math.log2(near[spectrum[near].argmax()] * 44100 / 2**18 / expected)))
    accuracy("export format=sfz", "equal temperament at each key centre", worst, bound=3.0, unit="cent")
    loud = [np.abs(read(tmp_path / "lead" / row["sample"])).max() for row in found[:3]]
    assert loud == sorted(loud)


def test_sfz_played_by_the_sampler_is_the_instrument(run: Path, tmp_path: Path, accuracy: Callable[..., None]) -> None:
    """At a key that was sampled, up to the level that the sampler chooses; it fades in over a millisecond."""
    write_export(run, "sfz", tmp_path, track="lead")
    song = Song.load(run)
    ((path, instrument),) = song.tracks["lead"].instrument.members
    sampler = blocks.create("instruments/sampler", file=str(tmp_path / "lead.sfz"))
    note = Notes.of([0.0], [1.0], [57.0], [0.95], length=1.0)
    ours = instrument(note, song.start.of(path))[0, 0].numpy()
    played = sampler(note, sampler.defaults())[0, 0].numpy()
    gain = (played @ ours) / (played @ played)
    accuracy("export format=sfz", "the instrument, played by the sampler", decibels(gain * played - ours, ours), -40.0)


def test_sfz_of_drums_are_shots_at_their_keys(run: Path, tmp_path: Path) -> None:
    told = write_export(run, "sfz", tmp_path, track="drums")
    text = (tmp_path / "drums.sfz").read_text(encoding="utf-8")
    assert "loop_mode=one_shot" in text
    found = list(regions(text))
    assert told["instruments"][0]["samples"] == len(found)
    assert all(row["lokey"] == row["hikey"] == row["pitch_keycenter"] for row in found)
    assert all(np.abs(read(tmp_path / "drums" / row["sample"])).max() > 1e-3 for row in found)


def test_pedalboard_script_runs_and_is_as_near_as_it_says(
    run: Path, tmp_path: Path, accuracy: Callable[..., None]
) -> None:
    """The script is run as a person would, and what it writes compared with our stems where a passage ends on one."""
    pytest.importorskip("pedalboard")
    told = write_export(run, "pedalboard", tmp_path)
    done = subprocess.run([sys.executable, "demo.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ends = {"lead.fader": "stems/lead/6-fader.wav", "bass.fader": "stems/bass/6-fader.wav"}
    compared = 0
    for passage in told["passages"]:
        assert passage["error"] <= -20.0
        if passage["blocks"][-1] in ends:
            made, ours = read(tmp_path / f"{passage['name']}-pedalboard.wav"), read(run / ends[passage["blocks"][-1]])
            error = decibels(made - ours, ours)
            assert error == pytest.approx(passage["error"], abs=1.0)
            accuracy(f"export format=pedalboard, {', '.join(passage['blocks'])}", "our stem", error, bound=-60.0)
            compared += 1
    assert compared == 2
    equaliser = next(p["errors"]["lead.effects.parametric_eq"] for p in told["passages"] if p["name"].endswith("lead"))
    accuracy("export format=pedalboard, effects/parametric_eq", "our stem", equaliser, bound=-70.0)
    assert any(left.startswith("mastering.limiter") for left in told["left_out"])


def test_command_writes_beside_the_run_and_tells_what(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "format=nam-ir", "track=bass"]) == 0
    assert "bass.cab, bass.mic" in capsys.readouterr().out
    told: dict[str, Any] = json.loads((run / "export/nam-ir/export.json").read_text(encoding="utf-8"))
    assert told["format"] == "nam-ir"
    assert [row["track"] for row in told["responses"]] == ["bass"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["format=reeper"], "did you mean 'reaper'"),
        (["formt=reaper"], "did you mean 'format'"),
        ([], "give one run folder and a format"),
        (["format=reaper", "track=leed"], "did you mean 'lead'"),
        (["format=reaper", "stages=each"], "last"),
    ],
)
def test_mistakes(run: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str) -> None:
    assert main(["export", str(run), *words]) == 2
    assert part in capsys.readouterr().err


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the folder of a finished run"):
        write_export(tmp_path, "reaper", tmp_path / "out")
