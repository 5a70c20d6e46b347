"""The production line, as the diagram draws it:

    note structure -> instrument -> effects -> amp -> cab -> mic -> fader     (a Track)
                                           tracks summed -> mastering         (a Song)

A stage is a row of blocks. Neighbouring linear blocks are fused: their frequency responses are multiplied and the audio
pays for one FFT pair, also across the borders of stages, unless a stem between them is asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import torch
from torch import Tensor, nn

from hitchain.blocks.block import Block
from hitchain.blocks.notes.midi import Part
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.notes.tempo import TempoMap
from hitchain.blocks.parameter import ONSETS, SIDECHAIN, START
from hitchain.blocks.row import run_row
from hitchain.chain.kept import Kept, Stretch, cut
from hitchain.chain.patch import Patch
from hitchain.errors import UserError

STAGES = ("notes", "instrument", "effects", "amp", "cab", "mic", "fader")
"""The stages of a track, in the order of the line."""


@dataclass(frozen=True)
class Window:
    """A stretch of a song: `start` and `length` in seconds."""

    start: float
    length: float


class Stage(nn.Module):
    """A row of blocks, by the path each has in the patch ("lead.effects.compressor"). Empty: a bypass.

    `members` are (path, block) in order.
    """

    def __init__(self, name: str, blocks: dict[str, Block]) -> None:
        super().__init__()
        self.name = name
        self.members = list(blocks.items())
        self.blocks = nn.ModuleList(blocks.values())  # so that they move to a device with the song

    def forward(self, audio: Tensor, patch: Patch) -> Tensor:
        """Audio (batch, channels, samples) through every block of the stage."""
        return run(self.members, audio, patch)


class Track(nn.Module):
    """One line of stages: notes -> instrument -> effects -> amp -> cab -> mic -> fader.

    Args:
        name: of the track.
        part: what it plays as written; its notes are a batch of one.
        performer: how the notes are played (note blocks).
        instrument: what plays them; an empty stage is silence.
        stages: effects, amp, cab, mic and fader, in the order of the line.
        sends: what goes to buses, by the name of the bus.
        sidechains: {path of a block: name of the track it listens to}.
    """

    def __init__(
        self,
        name: str,
        part: Part,
        performer: Stage,
        instrument: Stage,
        stages: list[Stage],
        sample_rate: int,
        sends: Stage | None = None,
        sidechains: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.part = part
        self.notes = part.notes
        self.performer = performer
        self.instrument = instrument
        self.line = stages
        self.stages = nn.ModuleList(stages)
        self.sample_rate = sample_rate
        self.sends = sends or Stage("sends", {})
        self.sidechains = dict(sidechains or {})

    def forward(
        self, patch: Patch, window: Window, heard: Mapping[str, Tensor] | None = None, kept: Stretch | None = None
    ) -> Tensor:
        """The track's audio in `window`: (batch, channels, samples), linear neighbours fused.

        Args:
            patch: the settings of every candidate.
            window: the stretch of the song.
            heard: the audio, in the same window, of the tracks that this one listens to.
            kept: audio of its beginning, which is not rendered again.
        """
        line = [member for stage in self.line for member in stage.members]
        patch = self.tell(patch, window, heard or {})
        if kept is None:
            return run(line, self.source(patch, window, heard or {}), patch)
        samples = round(window.length * self.sample_rate)
        audio = cut(kept.audio, window.start, samples, patch.batch, self.sample_rate)
        return run(line[kept.done :], audio, patch)

    def stems(self, patch: Patch, window: Window, heard: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """(stage, audio leaving it) for every stage from the instrument on, each computed from the one before."""
        patch = self.tell(patch, window, heard)
        audio = self.source(patch, window, heard)
        yield self.first, audio
        for stage in self.line:
            audio = stage(audio, patch)
            yield stage.name, audio

    first = "instrument"
    """The stage at which its audio begins."""

    def source(self, patch: Patch, window: Window, heard: Mapping[str, Tensor]) -> Tensor:
        """The audio that enters the line: (batch, 1 or 2, samples)."""
        return self.play(self.perform(patch), patch, window)

    def perform(self, patch: Patch) -> Notes:
        """The notes as the patch has them played."""
        notes = self.notes.expand(patch.batch)
        for path, block in self.performer.members:
            notes = block(notes, patch.of(path))
        return notes

    def play(self, notes: Notes, patch: Patch, window: Window) -> Tensor:
        """The instrument's audio (batch, 1 or 2, samples) in `window`."""
        samples = round(window.length * self.sample_rate)
        audio = torch.zeros(patch.batch, 1, samples, device=notes.onset.device)
        for path, block in self.instrument.members:
            settings = patch.of(path)
            audio = block(notes.window(window.start, samples / self.sample_rate, block.tail(settings)), settings)
        return audio

    def tell(self, patch: Patch, window: Window, heard: Mapping[str, Tensor]) -> Patch:
        """The patch, with what modulators and sidechains of this track follow."""
        for path, other in self.sidechains.items():
            if other in heard:
                patch = patch.tell(path, {SIDECHAIN: heard[other]})
        if not any(block.follows_notes for _, block in self.members()):
            return patch
        notes = self.perform(patch)
        return patch.tell("", {ONSETS: torch.where(notes.mask > 0, notes.onset - window.start, math.inf)})

    def sources(self) -> set[str]:
        """The names of the tracks that must be rendered before this one."""
        return set(self.sidechains.values())

    def members(self) -> Iterator[tuple[str, Block]]:
        """(path, block) of the whole track, in order."""
        for stage in (self.performer, self.instrument, *self.line, self.sends):
            yield from stage.members


class Bus(Track):
    """A line that plays no notes: what other tracks send to it, after their faders, goes through its stages.

    Args:
        name: of the bus; the name of each sender's send.
        stages: effects, amp, cab, mic and fader.
        senders: {track: (path, block) of its send}.
    """

    def __init__(
        self,
        name: str,
        stages: list[Stage],
        senders: Mapping[str, tuple[str, Block]],
        sample_rate: int,
        sends: Stage | None = None,
        sidechains: Mapping[str, str] | None = None,
    ) -> None:
        silence = Part(name, Notes.of([], [], [], length=1.0))
        empty = Stage("notes", {}), Stage("instrument", {})
        super().__init__(name, silence, *empty, stages, sample_rate, sends, sidechains)
        self.senders = dict(senders)

    first = "sends"

    def source(self, patch: Patch, window: Window, heard: Mapping[str, Tensor]) -> Tensor:
        """The sum of what is sent: (batch, 2, samples)."""
        audio = torch.zeros(patch.batch, 2, round(window.length * self.sample_rate), device=patch.device)
        for track, send in self.senders.items():
            if track in heard:
                audio = audio + run([send], heard[track], patch)
        return audio

    def sources(self) -> set[str]:
        return super().sources() | set(self.senders)


def run(members: Iterable[tuple[str, Block]], audio: Tensor, patch: Patch) -> Tensor:
    """Audio through a row of blocks, with neighbouring linear blocks fused into one FFT pair."""
    return run_row([(block, patch.of(path)) for path, block in members], audio)


def _at(patch: Patch, window: Window) -> Patch:
    """The patch, with every block told when the window begins."""
    return patch.tell("", {START: torch.tensor(window.start, dtype=torch.float64)})


def _order(tracks: Mapping[str, Track]) -> list[Track]:
    """The tracks, each after those it listens to; else in their own order."""
    sorter = TopologicalSorter({name: track.sources() for name, track in tracks.items()})
    try:
        rank = {name: index for index, name in enumerate(sorter.static_order())}
    except CycleError as error:
        ring = " -> ".join(error.args[1])
        raise UserError(f"tracks listen to each other in a ring: {ring}; take out a send or a sidechain.") from error
    depth = dict.fromkeys(tracks, 0)
    for name in sorted(tracks, key=lambda name: rank[name]):
        depth[name] = max((depth[other] + 1 for other in tracks[name].sources()), default=0)
    return sorted(tracks.values(), key=lambda track: depth[track.name])


class Song(nn.Module):
    """Tracks, summed into mastering.

    Args:
        name: of the song.
        tracks, mastering: the line.
        start: the starting patch, a batch of one.
        length: [s] to render.
        sample_rate: [Hz].
        pre_roll: [s] rendered before a window and dropped, so that what carries over from before it is there.
        learn: patterns of the parameters that a climb frees unless told otherwise.
        tempo_map: of the notes as written.
    """

    def __init__(
        self,
        name: str,
        tracks: list[Track],
        mastering: Stage,
        start: Patch,
        length: float,
        sample_rate: int,
        pre_roll: float = 1.0,
        learn: Sequence[str] = ("*",),
        tempo_map: TempoMap | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.tracks = {track.name: track for track in tracks}
        self.lines = nn.ModuleList(tracks)
        self.mastering = mastering
        self.start = start
        self.length = length
        self.sample_rate = sample_rate
        self.pre_roll = pre_roll
        self.learn = list(learn)
        self.tempo_map = tempo_map or TempoMap()
        self.listened = {name for track in tracks for name in track.sources()}
        self.order = _order(self.tracks)

    @staticmethod
    def load(song: str | os.PathLike[str] = "demo", overrides: Sequence[str] = (), seed: int | None = None) -> Song:
        """A song by name, or of a run folder. See `hitchain.chain.build.load`."""
        from hitchain.chain.build import load

        return load(song, overrides, seed)

    def forward(self, patch: Patch, window: Window | None = None, kept: Kept | None = None) -> Tensor:
        """The master: (batch, 2, samples), differentiable in the patch; of the whole song, or of a window of it.

        Args:
            patch: the settings of every candidate.
            window: the stretch of the song; the whole where None.
            kept: audio of what the patch leaves as it was when that was made (see `hitchain.chain.kept`).
        """
        wide = self._widen(window)
        patch = _at(patch, wide)
        master = torch.as_tensor(self.mastering(self._mix(patch, wide, kept or Kept()), patch))
        return master if window is None else self._cut(master, wide, window)

    def mix(self, patch: Patch, window: Window | None = None) -> Tensor:
        """The sum of the tracks before mastering: (batch, 2, samples)."""
        wide = self._widen(window)
        patch = _at(patch, wide)
        mix = self._mix(patch, wide, Kept())
        return mix if window is None else self._cut(mix, wide, window)

    def stems(self, patch: Patch, window: Window | None = None) -> Iterator[tuple[str, str, Tensor]]:
        """(track, stage, audio leaving it) for every track and stage, then ("", "mix", ...) and ("", "master", ...).

        Unfused, so it costs more than the master alone; the master is the same to within -90 dB.
        """
        wide = self._widen(window)
        patch, shown = _at(patch, wide), window or wide
        mix = self._silence(patch, wide)
        heard: dict[str, Tensor] = {}
        for track in self.order:
            audio = mix
            for stage, audio in track.stems(patch, wide, heard):
                yield track.name, stage, self._cut(audio, wide, shown)
            mix = mix + audio
            if track.name in self.listened:
                heard[track.name] = audio
        yield "", "mix", self._cut(mix, wide, shown)
        yield "", "master", self._cut(torch.as_tensor(self.mastering(mix, patch)), wide, shown)

    def render(self, patch: Patch | None = None, window: Window | None = None) -> dict[str, Tensor]:
        """Every stem by its name: "lead/instrument", "lead/effects", ..., "mix", "master". No gradient is kept."""
        with torch.no_grad():
            stems = self.stems(self.start if patch is None else patch, window)
            return {f"{track}/{stage}" if track else stage: audio for track, stage, audio in stems}

    def patch(self, batch: int = 1, seed: int = 0, spread: float = 0.06, learn: Sequence[str] | None = None) -> Patch:
        """The starting patch, and beside it seeded variations: `batch` candidates in all.

        Args:
            spread: standard deviation of the variations, as a share of each knob's range.
            learn: patterns of the knobs that vary; the song's own choice where None.
        """
        from hitchain.chain.knobs import Knobs

        if batch == 1:
            return self.start
        knobs = Knobs(self, self.learn if learn is None else learn)
        z = knobs.vary(knobs.unbounded(self.start), batch, spread, torch.Generator().manual_seed(seed))
        varied = knobs.harden(knobs.apply(z, self.start))
        return varied.with_first(self.start)

    def _mix(self, patch: Patch, window: Window, kept: Kept) -> Tensor:
        mix = self._silence(patch, window)
        if kept.mix is not None:
            mix = mix + cut(kept.mix, window.start, mix.shape[-1], patch.batch, self.sample_rate)
        heard: dict[str, Tensor] = {}
        for track in self.order:
            if track.name in kept.whole:
                continue
            audio = track(patch, window, heard, kept.lines.get(track.name))
            mix = mix + audio
            if track.name in self.listened:
                heard[track.name] = audio
        return mix

    def _silence(self, patch: Patch, window: Window) -> Tensor:
        return torch.zeros(patch.batch, 2, round(window.length * self.sample_rate), device=patch.device)

    def blocks(self) -> dict[str, Block]:
        """Every block of the song by its path in the patch, in the order of the line."""
        blocks: dict[str, Block] = {}
        for track in self.tracks.values():
            blocks.update(track.members())
        blocks.update(self.mastering.members)
        return blocks

    def _widen(self, window: Window | None) -> Window:
        """A window with pre-roll before it, on the sample grid."""
        if window is None:
            return Window(0.0, self.length)
        rate = self.sample_rate
        first = round(max(0.0, window.start - self.pre_roll) * rate)
        last = round(window.start * rate) + round(window.length * rate)
        return Window(first / rate, (last - first) / rate)

    def _cut(self, audio: Tensor, wide: Window, window: Window) -> Tensor:
        first = round(window.start * self.sample_rate) - round(wide.start * self.sample_rate)
        return audio[..., first:]
