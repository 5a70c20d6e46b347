"""Levels of a whole song, from windows of it: a window says how a candidate differs from the start, not how loud a
song is."""

from __future__ import annotations

from abc import abstractmethod
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hitchain.chain.chain import Song, Window
from hitchain.chain.objective.term import Heard, Term

_LAST: WeakKeyDictionary[Song, tuple[Window, Tensor]] = WeakKeyDictionary()
"""The start of each song in the window that was heard last: several terms ask for the same."""


class WholeSong(Term):
    """A level of the whole song, heard in windows.

        level(candidate in window) + level(start, whole) - level(start in window)

    A quiet passage reads low for the starting patch as well, so what is left is what the song as a whole would read:
    exactly, for a candidate that differs from the start by a gain. Where the window is the song, it is the level.
    """

    def __init__(self) -> None:
        self._whole: float | None = None
        self._starts: dict[Window, float] = {}

    @abstractmethod
    def level(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The level of audio (batch, channels, samples) by itself: (batch,)."""

    def measure(self, heard: Heard) -> Tensor:
        return self.level(heard.audio, heard.sample_rate) + self._correction(heard)

    def _correction(self, heard: Heard) -> float:
        song, window = heard.song, heard.window
        if song is None or window is None or window.length >= song.length:
            return 0.0
        if self._whole is None:
            self._whole = self._level_of(song, Window(0.0, song.length))
        if window not in self._starts:
            self._starts[window] = self._level_of(song, window)
        return self._whole - self._starts[window]

    @torch.no_grad()
    def _level_of(self, song: Song, window: Window) -> float:
        last = _LAST.get(song)
        if last is None or last[0] != window:
            last = _LAST[song] = (window, song(song.start, window))
        return float(self.level(last[1], song.sample_rate)[0])
