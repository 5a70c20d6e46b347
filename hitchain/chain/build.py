"""From a checked config to a song: notes are read, blocks are made, knobs are set."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks import registry
from hitchain.blocks.block import Block
from hitchain.blocks.nesting import make
from hitchain.blocks.notes.midi import Part, Score, read_midi, select, select_controllers
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.notes.tempo import TempoMap
from hitchain.blocks.parameter import Choice
from hitchain.chain import config as configs
from hitchain.chain import patch as patches
from hitchain.chain.chain import STAGES, Bus, Song, Stage, Track
from hitchain.chain.patch import Patch
from hitchain.devices import usable_device
from hitchain.errors import UserError, nearest

DEMO = Path(__file__).resolve().parent.parent / "data" / "demo"
RING = 2.0
"""Seconds kept after the last note has ended, for what still rings."""
LOWEST_SAMPLE_RATE = 8_000
HIGHEST_SAMPLE_RATE = 192_000
SHORTEST = 1.0

Values = dict[str, dict[str, Any]]
"""Knob values as configured, by the path of their block."""


def load(song: str | os.PathLike[str] = "demo", overrides: Sequence[str] = (), seed: int | None = None) -> Song:
    """A song by name ("demo", "solo", "midi"), or the song of a run folder with its patch.

    Args:
        song: a name, or the path of a run folder.
        overrides: as on the command line: "instrument@lead=subtractive", "lead.amp.gain=12".
        seed: of all noise; that of the config where None.

    Raises:
        UserError: anything in the config, the MIDI file or the patch is wrong.
    """
    folder = Path(song)
    if (folder / "config.yaml").is_file():
        if overrides:
            raise UserError(
                f"{folder} is a finished run: its song takes no overrides; start from its patch.json instead."
            )
        built = build(configs.read(folder / "config.yaml"))
        if (folder / "patch.json").is_file():
            built.start = patches.load(folder / "patch.json", built.blocks(), built.start)
        return built
    if os.sep in os.fspath(song):
        raise UserError(f"{song} is not a run folder (it has no config.yaml); give one, or a song's name.")
    composed = configs.compose("render", [f"song={song}", *overrides])
    if seed is not None:
        composed["seed"] = seed
    return build(composed)


def build(config: Mapping[str, Any]) -> Song:
    """A song from a checked config (see `hitchain.chain.config.compose`)."""
    sample_rate = _sample_rate(config)
    seed = _seed(config)
    values: Values = {}
    layouts = list(_layouts(config))
    tempo = _tempo(config, layouts)
    tracks = [_track(layout, sample_rate, tempo, values) for layout in layouts]
    tracks += _buses(config, tracks, sample_rate, tempo, values)
    _check_listening(tracks)
    mastering = _stage("mastering", "mastering", config.get("mastering"), sample_rate, {"tempo": tempo}, values)
    blocks: dict[str, Block] = {}
    for track in tracks:
        blocks.update(track.members())
    blocks.update(mastering.members)
    song = config["song"]
    built = Song(
        name=str(song["name"]),
        tracks=tracks,
        mastering=mastering,
        start=_start(blocks, values, tracks, seed),
        length=_length(song, tracks),
        sample_rate=sample_rate,
        pre_roll=float(song["pre_roll"]),
        learn=_learnable(song["learn"], blocks),
        tempo_map=layouts[0].score.tempo_map if layouts else None,
    )
    if config.get("patch"):
        built.start = patches.load(config["patch"], blocks, built.start)
    return _move(built, usable_device(str(config.get("device", "cpu"))))


def _learnable(patterns: Sequence[str], blocks: Mapping[str, Block]) -> list[str]:
    """A song's own choice of what a climb frees, without patterns for blocks that were swapped for others.

    What a user asks for by `learn=` is checked in full.
    """
    names = [f"{path}.{parameter.name}" for path, block in blocks.items() for parameter in block.parameters]
    return [pattern for pattern in patterns if fnmatch.filter(names, pattern.removeprefix("!"))]


def _move(song: Song, device: torch.device) -> Song:
    """The song on a device: its blocks' buffers, its notes and its starting patch."""
    song.start = song.start.map(lambda value: value.to(device))
    for track in song.tracks.values():
        track.notes = track.notes.to(device=device)
    return song.to(device)


@dataclass(frozen=True)
class _Layout:
    """What one track is built from."""

    name: str
    prefix: str
    config: Mapping[str, Any]
    score: Score
    part: Part


def _layouts(config: Mapping[str, Any]) -> list[_Layout]:
    song = config["song"]
    if song.get("file") and song.get("tracks"):
        return _layouts_of_file(config, str(song["file"]))
    if not song.get("tracks"):
        return [_layout("solo", "", config)]
    return [_layout(name, f"{name}.", config[name]) for name in song["tracks"]]


def _layout(name: str, prefix: str, track: Mapping[str, Any]) -> _Layout:
    source = track["notes"]
    if not source.get("file") and _plays_itself(track):
        return _Layout(
            name, prefix, track, Score([], TempoMap(), "", SHORTEST), Part(name, Notes.of([], [], [], length=SHORTEST))
        )
    if not source.get("file"):
        raise UserError(f"{prefix}notes.file is missing; give a MIDI file, for example {prefix}notes.file=tune.mid.")
    score = read_midi(midi_path(str(source["file"])), torch.float64)
    drums = _plays_drums(track)
    number = source.get("part")
    notes = select(score.parts, number, drums=drums)
    played = next((item for item in score.parts if item.notes is notes), None)
    together = Part(name, notes, is_drums=drums, controllers=select_controllers(score.parts, drums))
    part = together if played is None else replace(played, name=name)
    return _Layout(name, prefix, track, score, part)


def _layouts_of_file(config: Mapping[str, Any], file: str) -> list[_Layout]:
    """One track for each part of a MIDI file, made after the template of its kind."""
    score = read_midi(midi_path(file), torch.float64)
    layouts = []
    for part in score.parts:
        kind = "drums" if part.is_drums else "low" if 32 <= part.program < 40 else "pitched"
        layouts.append(_Layout(part.name, f"{part.name}.", config[kind], score, part))
    return layouts


def midi_path(file: str) -> Path:
    """The path of a MIDI file: a shipped one by its name ("demo"), or the user's own."""
    shipped = DEMO / f"{file}.mid"
    if "/" not in file and "\\" not in file and shipped.is_file():
        return shipped
    return Path(file)


def _plays_itself(track: Mapping[str, Any]) -> bool:
    name = track["instrument"]["block"]
    return name != "none" and bool(getattr(registry.get(name), "plays_itself", False))


def _plays_drums(track: Mapping[str, Any]) -> bool:
    name = track["instrument"]["block"]
    return name != "none" and bool(getattr(registry.get(name), "plays_drums", False))


def _track(layout: _Layout, sample_rate: int, tempo: float, values: Values) -> Track:
    context = {"tempo": tempo, "drums": layout.part.is_drums, "controllers": layout.part.controllers}
    stages = {
        name: _stage(name, f"{layout.prefix}{name}", layout.config.get(name), sample_rate, context, values)
        for name in (*STAGES, "sends")
    }
    performer, instrument, sends = stages.pop("notes"), stages.pop("instrument"), stages.pop("sends")
    heard = _sidechains(layout.prefix, layout.config)
    part = layout.part
    if not layout.score.parts:  # one note, for as long as what plays by itself goes on
        seconds = max(float(getattr(block, "seconds", SHORTEST)) for _, block in instrument.members)
        part = replace(part, notes=Notes.of([0.0], [seconds], [60.0], length=seconds, dtype=torch.float64))
    return Track(layout.name, part, performer, instrument, list(stages.values()), sample_rate, sends, heard)


def _buses(
    config: Mapping[str, Any], tracks: Sequence[Track], sample_rate: int, tempo: float, values: Values
) -> list[Track]:
    """The buses of a song, each with the sends to it of tracks and of other buses."""
    names = list(config["song"].get("buses") or [])
    lines: dict[str, tuple[list[Stage], Stage]] = {}
    for name in names:
        section = config.get(name)
        if not isinstance(section, Mapping):
            raise UserError(f"song.buses: '{name}' needs its stages, for example {name}.effects.reverb.block=...")
        stages = {
            stage: _stage(stage, f"{name}.{stage}", section.get(stage), sample_rate, {"tempo": tempo}, values)
            for stage in (*STAGES[2:], "sends")
        }
        lines[name] = list(stages.values())[:-1], stages["sends"]
    senders: dict[str, dict[str, tuple[str, Block]]] = {name: {} for name in names}
    everyone = [(track.name, track.sends) for track in tracks] + [(name, sends) for name, (_, sends) in lines.items()]
    for sender, sends in everyone:
        for path, block in sends.members:
            bus = path.rpartition(".")[2]
            if bus not in senders:
                raise UserError(f"{path}: this song has no bus '{bus}' (song.buses); {nearest(bus, senders)}")
            senders[bus][sender] = path, block
    return [
        Bus(name, stages, senders[name], sample_rate, sends, _sidechains(f"{name}.", config[name]))
        for name, (stages, sends) in lines.items()
    ]


def _sidechains(prefix: str, section: Mapping[str, Any]) -> dict[str, str]:
    """{path: track} of the blocks of a track that listen to another."""
    found = {}
    for stage in STAGES[2:]:
        entry = section.get(stage)
        if not isinstance(entry, Mapping):
            continue
        entries = entry if stage in configs.ROWS else {"": entry}
        for row, block in entries.items():
            if isinstance(block, Mapping) and block.get("sidechain") is not None:
                found[f"{prefix}{stage}.{row}".rstrip(".")] = str(block["sidechain"])
    return found


def _check_listening(tracks: Sequence[Track]) -> None:
    names = [track.name for track in tracks]
    for track in tracks:
        for path, other in track.sidechains.items():
            if other not in names:
                raise UserError(f"{path}.sidechain={other}: this song has no such track; {nearest(other, names)}")


def _stage(
    name: str,
    path: str,
    config: Mapping[str, Any] | None,
    sample_rate: int,
    context: Mapping[str, Any],
    values: Values,
) -> Stage:
    """One stage; its blocks' knob values go to `values` by path."""
    if config is None:
        return Stage(name, {})
    entries: dict[str, Mapping[str, Any]] = {path: config}
    if name in configs.ROWS:
        entries = {f"{path}.{row}": entry for row, entry in config.items() if entry is not None}
    blocks: dict[str, Block] = {}
    for where, entry in entries.items():
        if entry["block"] != "none":
            own = dict(configs.knobs_and_options(entry, where))
            blocks[where], values[where] = make({"block": entry["block"], **own}, where, sample_rate, context)
    return Stage(name, blocks)


def _start(
    blocks: Mapping[str, Block], values: Mapping[str, Mapping[str, Any]], tracks: Sequence[Track], seed: int
) -> Patch:
    """Defaults with the config's values over them, one value for each note where a parameter is per note."""
    counts = {path: track.notes.count for track in tracks for path in dict(track.performer.members)}
    settings: dict[str, dict[str, Tensor]] = {}
    for path, block in blocks.items():
        chosen = block.defaults(1)
        for key, value in patches.from_data(block, values[path], path).items():
            chosen[key] = value.unsqueeze(0)
        for parameter in block.parameters:
            if parameter.per_note:
                chosen[parameter.name] = _for_each_note(
                    chosen[parameter.name], counts[path], f"{path}.{parameter.name}", isinstance(parameter, Choice)
                )
        settings[path] = chosen
    return Patch(settings, seed)


def _for_each_note(value: Tensor, count: int, where: str, choice: bool) -> Tensor:
    """A value, or the weights of a choice, for each note: (1, notes) or (1, notes, options)."""
    one = value.shape[-1:] if choice else ()
    wide = value.reshape(1, -1, *one)
    if wide.shape[1] not in (1, count):
        raise UserError(f"{where} has {wide.shape[1]} values; the track has {count} notes.")
    return wide.expand(1, count, *one).clone()


def _length(song: Mapping[str, Any], tracks: Sequence[Track]) -> float:
    """Seconds to render: as set, or to the end of the last note as written and `RING` more."""
    if song.get("length") is not None:
        length = song["length"]
        if isinstance(length, bool) or not isinstance(length, int | float) or not SHORTEST <= length <= 3600:
            raise UserError(f"song.length={length!r} should be a number of seconds from {SHORTEST:g} to 3600.")
        return float(length)
    ends = [float((track.notes.onset + track.notes.duration).max()) for track in tracks if track.notes.count]
    players = [block for track in tracks for _, block in track.instrument.members]
    ring = 0.0 if players and all(getattr(block, "plays_itself", False) for block in players) else RING
    return max(SHORTEST, max(ends, default=0.0) + ring)


def _tempo(config: Mapping[str, Any], layouts: Sequence[_Layout]) -> float:
    """Beats per minute that tempo-synced blocks follow: as set, or that of the MIDI file's first beat."""
    tempo = config["song"].get("tempo")
    if tempo is None:
        return next((layout.score.tempo_map.tempo for layout in layouts), 120.0)
    if isinstance(tempo, bool) or not isinstance(tempo, int | float) or not 10 <= tempo <= 1000:
        raise UserError(f"song.tempo={tempo!r} should be from 10 to 1000 beats per minute.")
    return float(tempo)


def _sample_rate(config: Mapping[str, Any]) -> int:
    rate = config["sample_rate"]
    if isinstance(rate, bool) or not isinstance(rate, int) or not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise UserError(
            f"sample_rate={rate!r} should be a whole number from {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz."
        )
    return rate


def _seed(config: Mapping[str, Any]) -> int:
    seed = config["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise UserError(f"seed={seed!r} should be a whole number from 0 to {2**31 - 1}.")
    return seed
