"""A DAWproject file: the open exchange format of DAWs, a ZIP of project.xml, metadata.xml and audio.

Structure: https://github.com/bitwig/dawproject, version 1.0 (Project.xsd, MetaData.xsd). Times stand in beats, audio
plays at its own speed.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import hitchain
from hitchain.blocks.notes.tempo import TempoMap
from hitchain.chain.export.session import Clip, Session, file_name
from hitchain.files import replacing

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same run gives the same bytes


def write(session: Session, out: Path) -> dict[str, Any]:
    """The file. Returns what export.json tells."""
    clips = session.clips()
    paths = [f"audio/{number:02d}-{file_name(clip.name)}.wav" for number, clip in enumerate(clips)]
    name = f"{file_name(session.song.name)}.dawproject"
    with replacing(out / name) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "project.xml", _text(_project(session, clips, paths)))
        _add(archive, "metadata.xml", _text(_metadata(session)))
        for clip, path in zip(clips, paths, strict=True):
            _add(archive, path, clip.file.read_bytes())
    tempo = session.song.tempo_map.tempo
    said = [f"project  {name}: {len(clips)} tracks at {tempo:.2f} beats per minute"]
    return {"project": name, "tracks": [clip.name for clip in clips], "said": said}


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)


def _text(root: Element) -> bytes:
    indent(root)
    text: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return text


def _metadata(session: Session) -> Element:
    root = Element("MetaData")
    SubElement(root, "Title").text = session.song.name
    SubElement(root, "Comment").text = f"exported from the run {session.folder.name}"
    return root


def _project(session: Session, clips: list[Clip], paths: list[str]) -> Element:
    tempo = session.song.tempo_map
    root = Element("Project", version="1.0")
    SubElement(root, "Application", name="hitchain", version=hitchain.__version__)
    transport = SubElement(root, "Transport")
    _real(transport, "Tempo", "tempo", "bpm", f"{tempo.tempo:.10g}", "20", "999")
    SubElement(transport, "TimeSignature", id="signature", numerator="4", denominator="4")
    structure = SubElement(root, "Structure")
    for number, clip in enumerate(clips):
        _track(structure, f"track{number}", clip.name, "regular", clip.muted)
    _track(structure, "master", "Master", "master", muted=False)
    arrangement = SubElement(root, "Arrangement", id="arrangement")
    lanes = SubElement(arrangement, "Lanes", timeUnit="beats", id="lanes")
    for number, (clip, path) in enumerate(zip(clips, paths, strict=True)):
        _lane(lanes, number, clip, path, tempo)
    if len(tempo.beats) > 1:
        _tempo_changes(arrangement, tempo)
    return root


def _real(parent: Element, tag: str, identity: str, unit: str, value: str, low: str, high: str) -> None:
    SubElement(parent, tag, id=identity, unit=unit, value=value, min=low, max=high)


def _track(structure: Element, identity: str, name: str, role: str, muted: bool) -> None:
    track = SubElement(structure, "Track", contentType="audio", loaded="true", id=identity, name=name)
    channel = SubElement(track, "Channel", audioChannels="2", role=role, solo="false", id=f"{identity}-channel")
    if role != "master":
        channel.set("destination", "master-channel")
    SubElement(channel, "Mute", id=f"{identity}-mute", value=str(muted).lower())
    _real(channel, "Pan", f"{identity}-pan", "normalized", "0.5", "0", "1")
    _real(channel, "Volume", f"{identity}-volume", "linear", "1", "0", "2")


def _lane(lanes: Element, number: int, clip: Clip, path: str, tempo: TempoMap) -> None:
    import soundfile

    sound = soundfile.info(str(clip.file))
    lane = SubElement(lanes, "Lanes", track=f"track{number}", id=f"lane{number}")
    clips = SubElement(lane, "Clips", id=f"clips{number}")
    placed = SubElement(
        clips,
        "Clip",
        time="0.0",
        duration=f"{tempo.beat(sound.duration):.12g}",
        contentTimeUnit="seconds",
        playStart="0.0",
        playStop=f"{sound.duration:.12g}",
        name=clip.name,
    )
    audio = SubElement(
        placed,
        "Audio",
        id=f"audio{number}",
        algorithm="raw",
        channels=str(sound.channels),
        sampleRate=str(sound.samplerate),
        duration=f"{sound.duration:.12g}",
    )
    SubElement(audio, "File", path=path)


def _tempo_changes(arrangement: Element, tempo: TempoMap) -> None:
    points = SubElement(arrangement, "TempoAutomation", id="tempo-changes", timeUnit="beats", unit="bpm")
    SubElement(points, "Target", parameter="tempo")
    for beat, length in zip(tempo.beats, tempo.beat_lengths, strict=True):
        SubElement(points, "RealPoint", time=f"{beat:.12g}", value=f"{60.0 / length:.10g}", interpolation="hold")
