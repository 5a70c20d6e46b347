"""What an export starts from: a finished run, its song and its stems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.parameter import START, Settings
from hitchain.blocks.row import run_block
from hitchain.chain.build import load
from hitchain.chain.chain import STAGES, Song, Track, Window
from hitchain.errors import UserError, nearest


@dataclass(frozen=True)
class Clip:
    """A sound file that stands at the start of a DAW's track."""

    name: str
    file: Path
    muted: bool


@dataclass(frozen=True)
class Passage:
    """A block of a line, with the audio (1, channels, samples) before and after it."""

    track: str
    path: str
    block: Block
    settings: Settings
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class Session:
    """A finished run.

    Attributes:
        folder: of the run.
        song: with the run's patch as its start.
        tracks: those that are meant.
        stages: "last" or "all".
    """

    folder: Path
    song: Song
    tracks: tuple[Track, ...]
    stages: str = "last"

    def clips(self) -> list[Clip]:
        """The stems to place. What is not muted adds up to the mix; the master stands beside it, muted."""
        clips = []
        for track in self.tracks:
            files = sorted((self.folder / "stems" / track.name).glob("[0-9]-*.wav"))
            if not files:
                raise UserError(f"{self.folder} has no stems of the track '{track.name}'.")
            if self.stages == "last":
                files = files[-1:]
            for file in files:
                last = file == files[-1]
                name = track.name if last else f"{track.name} {file.stem.partition('-')[2]}"
                clips.append(Clip(name, file, muted=not last))
        return [*clips, Clip("master (reference)", self.folder / "master.wav", muted=True)]

    def passages(self) -> Iterator[Passage]:
        """Every block of every line that is meant, with the audio before and after; then mastering, where all are."""
        with torch.no_grad():
            yield from self._passages()

    def _passages(self) -> Iterator[Passage]:
        song, window = self.song, Window(0.0, self.song.length)
        patch = song.start.tell("", {START: torch.tensor(window.start, dtype=torch.float64)})
        mix, heard = torch.zeros(1, 2, round(song.length * song.sample_rate)), dict[str, Tensor]()
        for track in song.order:
            told = track.tell(patch, window, heard)
            audio = track.source(told, window, heard)
            for stage in track.line:
                for path, block in stage.members:
                    settings = told.of(path)
                    after = run_block(block, audio, settings)
                    if track in self.tracks:
                        yield Passage(track.name, path, block, settings, audio, after)
                    audio = after
            mix, heard[track.name] = mix + audio, audio
        if len(self.tracks) < len(song.tracks):
            return
        for path, block in song.mastering.members:
            after = run_block(block, mix, patch.of(path))
            yield Passage("mastering", path, block, patch.of(path), mix, after)
            mix = after


def open_session(folder: Path, track: str | None = None, stages: str = "last") -> Session:
    """A finished run. Raises `UserError` where it is none, or has no such track."""
    if not (folder / "result.json").is_file() or not (folder / "patch.json").is_file():
        raise UserError(f"{folder} is not the folder of a finished run: it has no result.json and patch.json.")
    if stages not in ("last", "all"):
        raise UserError(f"stages={stages}: {nearest(stages, ('last', 'all'))}")
    song = load(folder)
    if track is not None and track not in song.tracks:
        raise UserError(f"track={track}: this song has no such track; {nearest(track, song.tracks)}")
    chosen = tuple(song.tracks.values()) if track is None else (song.tracks[track],)
    return Session(folder, song, chosen, stages)


def file_name(text: str) -> str:
    """A name that is safe as a file's on every system."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "track"


def stage_of(path: str) -> str:
    """The stage in a block's path: "cab" of "lead.cab", "effects" of "lead.effects.delay" and of "effects.delay"."""
    return next((part for part in path.split(".") if part in STAGES), "")
