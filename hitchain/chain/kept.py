"""What no gradient touches: each track up to its first freed block, rendered once, cut to every window of a climb."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hitchain.blocks.parameter import START
from hitchain.chain.patch import Patch

if TYPE_CHECKING:
    from hitchain.chain.chain import Song, Track


@dataclass(frozen=True)
class Stretch:
    """A track's audio on its way down the line: `done` blocks after the instrument have had it."""

    done: int
    audio: Tensor


@dataclass(frozen=True)
class Kept:
    """Audio of the whole song, (1, channels, samples) each, valid while the settings it was made with stay.

    Attributes:
        mix: the sum of the tracks of which nothing is freed; None where every track has something.
        lines: by track, of those with a frozen beginning.
        whole: the names of the tracks in `mix`.
    """

    mix: Tensor | None = None
    lines: dict[str, Stretch] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()


@torch.no_grad()
def keep(song: Song, patch: Patch, freed: Collection[str]) -> Kept:
    """Render what a climb leaves as it is.

    Args:
        song: whose tracks.
        patch: a batch of one: the settings of everything that is not freed.
        freed: paths of the blocks with a freed parameter ("lead.amp").
    """
    from hitchain.chain.chain import Window, run

    everything = Window(0.0, song.length)
    patch = patch.tell("", {START: torch.zeros((), dtype=torch.float64)})
    mix: Tensor | None = None
    lines: dict[str, Stretch] = {}
    whole = []
    for track in song.tracks.values():
        done = _frozen(track, freed)
        if done is None:
            continue
        line = [member for stage in track.line for member in stage.members]
        told = track.tell(patch, everything, {})
        audio = run(line[:done], track.source(told, everything, {}), told)
        if done == len(line) and track.name not in song.listened:
            whole.append(track.name)
            mix = audio if mix is None else mix + audio
        else:
            lines[track.name] = Stretch(done, audio)
    return Kept(mix, lines, frozenset(whole))


def _frozen(track: Track, freed: Collection[str]) -> int | None:
    """How many blocks after the instrument stand before the first freed one; None where notes or instrument are.

    A track that listens to others is left out: they may be freed, and so may the sends between.
    """
    if track.sources() or any(
        path in freed for stage in (track.performer, track.instrument) for path, _ in stage.members
    ):
        return None
    paths = [path for stage in track.line for path, _ in stage.members]
    return next((index for index, path in enumerate(paths) if path in freed), len(paths))


def cut(audio: Tensor, start: float, samples: int, batch: int, sample_rate: int) -> Tensor:
    """A window of kept audio, for every candidate: (batch, channels, samples)."""
    first = round(start * sample_rate)
    return audio[..., first : first + samples].expand(batch, -1, -1)
