"""The production machine: renders what episodes stand for, many in one batch, and says what it is worth."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.blocks.notes.notes import Notes
from hitchain.chain.chain import Song
from hitchain.chain.knobs import Knobs
from hitchain.chain.objective import Judge, RaterFailed
from hitchain.chain.objective.judge import ask
from hitchain.chain.reinforce.episode import BANDS, Array, Episode
from hitchain.chain.reinforce.realness import Realness
from hitchain.chain.reinforce.settings import BEATS, ProductionSettings
from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd, FrontEndSettings
from hitchain.rater.rater import load

ACCENT, WEAK = 0.9, 0.7
"""Velocity on a beat and between."""


@dataclass(frozen=True)
class Heard:
    """What episodes sound like.

    Attributes:
        audio: (episodes, 2, samples).
        rating: (episodes,).
        bands: (episodes, `BANDS`), mean log-mel levels from -1 to 1: two thirds of them of the middle, the rest of the
            side.
    """

    audio: Tensor
    rating: Tensor
    bands: Array


class Machine:
    """A one-track song, its rater, and the realness critic.

    Args:
        settings: which song, knobs, rater and critic.
        device: where it renders.
        rater: in place of the one that the settings name.

    Raises:
        UserError: the song cannot be built, a knob is unknown or no plain number, or the rater is unknown.
    """

    def __init__(self, settings: ProductionSettings, device: str = "cpu", rater: Judge | None = None) -> None:
        self.settings = settings
        own = [f"sample_rate={settings.sample_rate}", f"song.length={settings.length}", f"device={device}"]
        self.song = Song.load("solo", [*settings.chain, *own], seed=settings.seed)
        self.knobs = _in_order(self.song, settings.knobs)
        self.rater: Judge = load(settings.rater).to(device) if rater is None else rater
        self.realness = Realness(settings, device) if settings.realness > 0 else None
        self.front_end = FrontEnd(_BANDS).to(device)

    @torch.no_grad()
    def hear(self, episodes: Sequence[Episode]) -> Heard:
        """Render episodes as they stand, and rate them.

        Raises:
            RaterFailed: the rater raised, or did not give a finite number for each.
        """
        audio = self.render(episodes)
        levels = self.front_end(audio, self.song.sample_rate).mean(dim=-1)
        third = BANDS // 3
        side = levels[:, 1].unflatten(-1, (third, -1)).mean(dim=-1)
        middle = levels[:, 0].unflatten(-1, (2 * third, -1)).mean(dim=-1)
        bands = (2.0 * torch.cat([middle, side], dim=-1) - 1.0).float().cpu().numpy()
        return Heard(audio, self._rate(audio), bands)

    def _rate(self, audio: Tensor) -> Tensor:
        rating = ask(self.rater, audio, self.song.sample_rate).cpu()
        if not bool(torch.isfinite(rating).all()):
            raise RaterFailed("the rater gave NaN or infinity")
        return rating

    @torch.no_grad()
    def render(self, episodes: Sequence[Episode]) -> Tensor:
        """The audio of episodes: (episodes, 2, samples)."""
        device = self.song.start.device
        position = torch.tensor([episode.positions.tolist() for episode in episodes], dtype=torch.float64)
        patch = self.knobs.apply(torch.logit(position)[:, self._columns].float().to(device), self.song.start)
        audio: Tensor = playing(self.song, notes_of(episodes, self.song.length).to(device=device))(patch)
        return audio

    @property
    def _columns(self) -> list[int]:
        """For every column of the knobs, which of `settings.knobs` it is: a song has them in the order of its line."""
        return [list(self.settings.knobs).index(knob.name) for knob in self.knobs.knobs]


_BANDS = FrontEndSettings()
"""Eighty bands, which divide by both parts of `BANDS`."""


def _in_order(song: Song, names: Sequence[str]) -> Knobs:
    knobs = Knobs(song, list(names))
    if sorted(knob.name for knob in knobs.knobs) != sorted(names) or knobs.size != len(names):
        raise UserError(f"knobs={list(names)}: each should be the full name of one number, like instrument.brightness.")
    return knobs


def playing(song: Song, notes: Notes) -> Song:
    """The one-track song with other notes, a performance for each candidate; the song itself stays as it is."""
    (track,) = song.tracks.values()
    other = copy.copy(track)
    other.notes = notes
    played = copy.copy(song)
    played.tracks, played.order = {other.name: other}, [other]
    return played


def notes_of(episodes: Sequence[Episode], length: float) -> Notes:
    """The notes of episodes, padded to one number: (episodes, notes). Beats are accented."""
    count = max(1, max(len(episode.notes()) for episode in episodes))
    shape = len(episodes), count
    onset, duration, velocity, mask, beat = (torch.zeros(shape, dtype=torch.float64) for _ in range(5))
    pitch = torch.full(shape, 60.0, dtype=torch.float64)
    beat_length = torch.ones(shape, dtype=torch.float64)
    for row, episode in enumerate(episodes):
        beat_length[row] = 60.0 / episode.task.tempo
        for column, note in enumerate(episode.notes()):
            onset[row, column] = note.start * episode.slot_seconds
            duration[row, column] = note.length * episode.slot_seconds
            pitch[row, column], mask[row, column] = note.pitch, 1.0
            beat[row, column] = note.start * BEATS / episode.settings.slots
            velocity[row, column] = ACCENT if float(beat[row, column]).is_integer() else WEAK
    return Notes(onset, duration, pitch, velocity, mask, beat, beat_length, length)
