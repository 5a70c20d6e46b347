"""One episode: a task, the notes chosen so far, the knobs as they stand, and which actions are legal.

In the first phase every slot of the bar is decided in turn: a note is struck, or the last one held, or there is rest,
as in MelodyRNN's encoding. So a note's length is how often it is held, and all episodes are of one length. In the
second phase the knobs come round in a fixed order, and each is turned down, left, or turned up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hitchain.chain.knobs import EDGE
from hitchain.chain.reinforce.settings import BEATS, SCALES, TEMPI, ProductionSettings

Array = NDArray[np.float32]
REST, HOLD = -1, -2
"""What stands in a slot where no note is struck."""
BANDS = 24
"""Numbers that sum up the sound last heard."""
LIMIT = 10.0
"""Observations are kept within this."""


@dataclass(frozen=True)
class Task:
    """What an episode begins with, drawn from its seed.

    Attributes:
        key: pitch class of the key note, 0 for C.
        scale: one of `SCALES`.
        tempo: [beats per minute].
        positions: (knobs,), where the knobs stand, 0 to 1.
    """

    key: int
    scale: str
    tempo: float
    positions: tuple[float, ...]

    @staticmethod
    def draw(random: np.random.Generator, knobs: int) -> Task:
        """A task at random."""
        scale = str(random.choice(list(SCALES)))
        positions = tuple(random.uniform(0.1, 0.9, knobs).tolist())
        return Task(int(random.integers(12)), scale, float(random.uniform(*TEMPI)), positions)

    @cached_property
    def pitch_classes(self) -> frozenset[int]:
        """Those in the key."""
        return frozenset((self.key + step) % 12 for step in SCALES[self.scale])


@dataclass(frozen=True)
class Actions:
    """How the numbers of actions are laid out: notes from `lowest` up, rest, hold, knob down, knob stays, knob up."""

    pitches: int

    @property
    def rest(self) -> int:
        return self.pitches

    @property
    def hold(self) -> int:
        return self.pitches + 1

    @property
    def down(self) -> int:
        return self.pitches + 2

    @property
    def stay(self) -> int:
        return self.pitches + 3

    @property
    def up(self) -> int:
        return self.pitches + 4

    @property
    def count(self) -> int:
        return self.pitches + 5


@dataclass(frozen=True)
class Note:
    """A note in slots from the beginning: pitch [MIDI], where it starts, and for how long."""

    pitch: int
    start: int
    length: int


class Episode:
    """An episode as it is played: `act` until `finished`.

    Args:
        task: to be played.
        settings: the rules.
    """

    def __init__(self, task: Task, settings: ProductionSettings) -> None:
        self.task, self.settings = task, settings
        self.actions = Actions(settings.pitches)
        self.written: list[int] = []
        self.positions = np.array(task.positions, dtype=np.float64)
        self.step = 0
        self.rating: float | None = None
        self.bands: Array = np.zeros(BANDS, dtype=np.float32)

    @property
    def slots(self) -> int:
        """Slots to be filled in all."""
        return self.settings.bars * self.settings.slots

    @property
    def writing(self) -> bool:
        """Whether notes are chosen; else knobs are turned."""
        return self.step < self.slots

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.step >= self.settings.steps

    @property
    def audible(self) -> bool:
        """Whether the sound is to be heard now: when the notes are written, and after every sweep of the knobs."""
        return self.step >= self.slots and (self.step - self.slots) % len(self.positions) == 0

    @property
    def knob(self) -> int:
        """Which knob has its turn."""
        return (self.step - self.slots) % len(self.positions)

    def masks(self) -> NDArray[np.bool_]:
        """Which actions are legal: (actions,). There is always one; none is where the episode has finished."""
        legal = np.zeros(self.actions.count, dtype=np.bool_)
        if self.finished:
            return legal
        if self.writing:
            legal[: self.settings.pitches] = [self._may_strike(self.settings.lowest + i) for i in range(len(legal) - 5)]
            bar = self.written[len(self.written) - self.step % self.settings.slots :]
            legal[self.actions.rest] = len(bar) < self.settings.slots - 1 or any(entry != REST for entry in bar)
            legal[self.actions.hold] = bool(bar) and bar[-1] != REST
        else:
            legal[self.actions.down] = self.positions[self.knob] > EDGE
            legal[self.actions.stay] = True
            legal[self.actions.up] = self.positions[self.knob] < 1.0 - EDGE
        return legal

    def _may_strike(self, pitch: int) -> bool:
        """In the key, and no leap from the note before."""
        struck = [entry for entry in self.written if entry >= 0]
        near = not struck or abs(pitch - struck[-1]) <= self.settings.leap
        return near and pitch % 12 in self.task.pitch_classes

    def act(self, action: int) -> bool:
        """Do an action; one that is not legal is replaced (see `nearest_legal`). Returns whether it was legal."""
        legal = self.masks()
        chosen = action if legal[action] else self.nearest_legal(action, legal)
        if self.writing:
            special = {self.actions.rest: REST, self.actions.hold: HOLD}
            self.written.append(special.get(chosen, self.settings.lowest + chosen))
        else:
            moved = self.positions[self.knob] + self.settings.turn * (chosen - self.actions.stay)
            self.positions[self.knob] = min(max(moved, EDGE), 1.0 - EDGE)
        self.step += 1
        return chosen == action

    def nearest_legal(self, action: int, legal: NDArray[np.bool_]) -> int:
        """What is done in place of an illegal action: the knob is left, or the nearest legal note is struck."""
        if not self.writing:
            return self.actions.stay
        notes = np.flatnonzero(legal[: self.settings.pitches])
        return int(notes[np.argmin(np.abs(notes - action))])

    def notes(self) -> list[Note]:
        """The notes written so far."""
        found: list[Note] = []
        for slot, entry in enumerate(self.written):
            if entry >= 0:
                found.append(Note(entry, slot, 1))
            elif entry == HOLD:
                last = found.pop()
                found.append(Note(last.pitch, last.start, last.length + 1))
        return found

    @property
    def slot_seconds(self) -> float:
        """Length of a slot [s]."""
        return BEATS * 60.0 / self.task.tempo / self.settings.slots

    def observation(self) -> Array:
        """All the agent sees: (`observation_size`,), within `LIMIT`."""
        now = np.zeros(self.settings.steps + 1)
        now[self.step] = 1.0
        classes = range(12)
        key = np.array([[note in self.task.pitch_classes, note == self.task.key] for note in classes], dtype=np.float64)
        tempo = (self.task.tempo - TEMPI[0]) / (TEMPI[1] - TEMPI[0])
        melody, last = self._melody()
        heard = [0.0, 0.0] if self.rating is None else [1.0, self.rating]
        numbers = np.array([tempo, last, *(2.0 * self.positions - 1.0), *heard])
        seen: Array = np.concatenate([now, melody, key.T.ravel(), numbers, self.bands]).astype(np.float32)
        return np.clip(seen, -LIMIT, LIMIT)

    def _melody(self) -> tuple[NDArray[np.float64], float]:
        """The slots so far: pitch, whether struck and whether held, of each; and the pitch struck last."""
        middle, half = (self.settings.lowest + self.settings.highest) / 2, self.settings.pitches / 2
        slots, last = np.zeros((3, self.slots)), 0.0
        for slot, entry in enumerate(self.written):
            if entry >= 0:
                last = (entry - middle) / half
                slots[:2, slot] = last, 1.0
            slots[2, slot] = entry == HOLD
        return slots.ravel(), last


def observation_size(settings: ProductionSettings) -> int:
    """Numbers in an observation."""
    return settings.steps + 1 + 3 * settings.bars * settings.slots + 28 + len(settings.knobs) + BANDS
