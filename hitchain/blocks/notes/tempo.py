"""Beats and seconds: a map of the tempo through a song."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class TempoMap:
    """A tempo that changes in steps.

    Attributes:
        beats: where each tempo begins, in quarter notes, rising; the first is 0.
        beat_lengths: [s] of a quarter note from there on.
    """

    beats: tuple[float, ...] = (0.0,)
    beat_lengths: tuple[float, ...] = (0.5,)

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.beats, self.beats[1:], strict=False))
        if len(self.beats) != len(self.beat_lengths) or self.beats[:1] != (0.0,) or not rising:
            raise ValueError("a tempo map needs as many beats as lengths, rising from 0")
        if not all(0.0 < length < float("inf") for length in self.beat_lengths):
            raise ValueError("a tempo map needs beat lengths above 0")
        starts = [0.0]
        for i, length in enumerate(self.beat_lengths[:-1]):
            starts.append(starts[-1] + (self.beats[i + 1] - self.beats[i]) * length)
        object.__setattr__(self, "_starts", tuple(starts))

    @staticmethod
    def of(tempo: float) -> TempoMap:
        """A steady tempo [beats per minute]."""
        return TempoMap((0.0,), (60.0 / tempo,))

    @property
    def tempo(self) -> float:
        """The tempo at the start [beats per minute]."""
        return 60.0 / self.beat_lengths[0]

    def seconds(self, beat: float) -> float:
        """When a beat falls [s]."""
        i = max(bisect_right(self.beats, beat) - 1, 0)
        return self._from[i] + (beat - self.beats[i]) * self.beat_lengths[i]

    def beat(self, seconds: float) -> float:
        """The beat at a time."""
        i = max(bisect_right(self._from, seconds) - 1, 0)
        return self.beats[i] + (seconds - self._from[i]) / self.beat_lengths[i]

    def beat_length(self, beat: float) -> float:
        """[s] of a quarter note at a beat."""
        return self.beat_lengths[max(bisect_right(self.beats, beat) - 1, 0)]

    @property
    def _from(self) -> tuple[float, ...]:
        starts: tuple[float, ...] = self.__dict__["_starts"]
        return starts
