"""Knobs: the parameters of a song that an ascent may turn, as one unbounded tensor.

An unbounded z becomes a knob position u = sigmoid(z) in (0, 1), and that a physical value through the parameter's
declared scale. A choice takes one z for each option: weights = softmax(z).
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hitchain.blocks.parameter import Choice, Parameter
from hitchain.chain.patch import Patch
from hitchain.errors import UserError, nearest

if TYPE_CHECKING:
    from hitchain.chain.chain import Song

EDGE = 0.02
"""How far inside its range a climb starts a knob that stands at an end: at the very end, sigmoid has no slope."""
CHOICE_EDGE = 0.02
"""The weight at which a climb starts the options that are not chosen."""
CHOICE_PACE = 3.0
"""How much faster the columns of choices move: an option at its edge has log(1 / CHOICE_EDGE), about 4, to go until it
wins, where other knobs cross most of their range in as much as 1 or 2."""


@dataclass(frozen=True)
class Relaxation:
    """How a climb blends the options of a choice: weights = softmax((z + noise) / temperature).

    With Gumbel noise that is a sample of the relaxed categorical distribution (Jang, Gu and Poole; Maddison, Mnih and
    Teh, both ICLR 2017): the lower the temperature, the nearer to one option alone.

    Attributes:
        temperature: over 0.
        noise: (batch, size), used in the columns of choices; None for none.
    """

    temperature: float = 1.0
    noise: Tensor | None = None

    @staticmethod
    def gumbel(shape: tuple[int, int], temperature: float, generator: torch.Generator) -> Relaxation:
        """With noise drawn from `generator`."""
        uniform = torch.rand(shape, generator=generator).clamp(1e-6, 1.0 - 1e-6)
        return Relaxation(temperature, -torch.log(-torch.log(uniform)))


@dataclass(frozen=True)
class Knob:
    """One freed parameter: where it stands, and which columns of z are its own."""

    path: str
    parameter: Parameter | Choice
    first: int
    size: int

    @property
    def name(self) -> str:
        """The full name, as in `learn` patterns: "lead.amp.gain"."""
        return f"{self.path}.{self.parameter.name}"

    def softmax(self, columns: Tensor) -> Tensor:
        """The weights of a choice from its columns (batch, size): (batch, options), or (batch, notes, options)."""
        if not isinstance(self.parameter, Choice):
            raise TypeError(f"{self.name} is no choice")
        if self.parameter.per_note:
            columns = columns.reshape(len(columns), -1, len(self.parameter.options))
        return torch.softmax(columns, dim=-1)


class Knobs:
    """The freed parameters of a song.

    Args:
        song: whose.
        patterns: shell-style patterns over full names ("mastering.*", "lead.amp.gain"); one that starts with "!" takes
            away again what it matches.

    Raises:
        UserError: a pattern that matches nothing (naming the nearest), or no parameter is left.
    """

    def __init__(self, song: Song, patterns: Sequence[str]) -> None:
        self.song = song
        self.knobs: list[Knob] = []
        chosen = matching(song, patterns)
        first = 0
        for path, block in song.blocks().items():
            for parameter in block.parameters:
                if f"{path}.{parameter.name}" not in chosen:
                    continue
                size = _size(parameter, song, path)
                self.knobs.append(Knob(path, parameter, first, size))
                first += size
        self.size = first

    def __len__(self) -> int:
        return len(self.knobs)

    def unbounded(self, patch: Patch) -> Tensor:
        """z of shape (batch, size): where the patch has the knobs, ends of the range taken `EDGE` inside."""
        columns = []
        for knob in self.knobs:
            value = patch.settings[knob.path][knob.parameter.name].detach()
            if isinstance(knob.parameter, Choice):
                columns.append(torch.log(_softened(value)).flatten(1))
            else:
                position = knob.parameter.to_unit(value).clamp(EDGE, 1.0 - EDGE)
                columns.append(torch.logit(position).reshape(patch.batch, -1).expand(-1, knob.size))
        return torch.cat(columns, dim=-1).contiguous() if columns else torch.zeros(patch.batch, 0)

    def apply(self, z: Tensor, patch: Patch, relaxation: Relaxation | None = None) -> Patch:
        """The patch with the knobs at z (batch, size); differentiable. Frozen values are repeated for the batch."""
        batch = z.shape[0]
        wide = patch if patch.batch == batch else patch.map(lambda value: value.expand(batch, *value.shape[1:]))
        changes: dict[tuple[str, str], Tensor] = {}
        for knob in self.knobs:
            columns = z[:, knob.first : knob.first + knob.size]
            if isinstance(knob.parameter, Choice):
                if relaxation is not None:
                    own = slice(knob.first, knob.first + knob.size)
                    noise = 0.0 if relaxation.noise is None else relaxation.noise[:, own].to(columns)
                    columns = (columns + noise) / relaxation.temperature
                changes[knob.path, knob.parameter.name] = knob.softmax(columns)
            else:
                value = knob.parameter.from_unit(torch.sigmoid(columns))
                value = value.clamp(knob.parameter.low, knob.parameter.high)  # rounding at the ends
                changes[knob.path, knob.parameter.name] = value if knob.parameter.per_note else value.squeeze(-1)
        return wide.replace(changes)

    def positions(self, z: Tensor) -> Tensor:
        """Knob positions in (0, 1): (batch, size); for a choice, its weights."""
        positions = torch.sigmoid(z)
        for knob in self.knobs:
            if isinstance(knob.parameter, Choice):
                columns = slice(knob.first, knob.first + knob.size)
                weights = knob.softmax(z[:, columns]).flatten(1)
                positions = torch.cat(
                    [positions[:, : knob.first], weights, positions[:, knob.first + knob.size :]], dim=-1
                )
        return positions

    def vary(self, z: Tensor, batch: int, spread: float, generator: torch.Generator) -> Tensor:
        """`batch` starting points (batch, size): z (1, size) itself, then copies moved by `spread` of the range.

        The moves are normal in u, folded back at the ends by the sigmoid's own slope.
        """
        moves = torch.randn(batch - 1, self.size, generator=generator, dtype=z.dtype) * spread
        position = torch.sigmoid(z)
        moved = torch.logit((position + moves).clamp(EDGE, 1.0 - EDGE))
        return torch.cat([z, moved.to(z.device)]) if batch > 1 else z.clone()

    def tried(self, z: Tensor, knob: Knob) -> Tensor:
        """z (1, size) once for every option of a choice, that option by far the strongest: (options, size)."""
        rows = z.expand(knob.size, -1).clone()
        rows[:, knob.first : knob.first + knob.size] = torch.log(_softened(torch.eye(knob.size).to(z)))
        return rows

    def rates(self, by_pattern: Mapping[str, float]) -> Tensor:
        """How fast each column should move: (size,), 1 (in a choice `CHOICE_PACE`) times what a pattern over full names
        says; the last pattern wins.

        Raises `UserError` for a pattern that matches no knob, or a rate that is no number of 0 or more.
        """
        pace = torch.where(self.choices(), CHOICE_PACE, 1.0)
        rates = torch.ones(self.size)
        for pattern, rate in by_pattern.items():
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 <= rate < math.inf:
                raise UserError(f"optimizer.rates.{pattern}={rate!r} should be a number of 0 or more.")
            matched = [knob for knob in self.knobs if fnmatch.fnmatchcase(knob.name, pattern)]
            if not matched:
                names = [knob.name for knob in self.knobs]
                raise UserError(f"optimizer.rates: no freed knob is named '{pattern}'; {_nearest_name(pattern, names)}")
            for knob in matched:
                rates[knob.first : knob.first + knob.size] = rate
        return rates * pace

    @property
    def chooses(self) -> bool:
        """Whether a choice is among the knobs."""
        return bool(self.choices().any())

    def choices(self) -> Tensor:
        """Which columns of z belong to choices: (size,), bool."""
        columns = torch.zeros(self.size, dtype=torch.bool)
        for knob in self.knobs:
            if isinstance(knob.parameter, Choice):
                columns[knob.first : knob.first + knob.size] = True
        return columns

    def harden(self, patch: Patch) -> Patch:
        """The patch with every freed choice decided: its strongest option alone."""
        changes: dict[tuple[str, str], Tensor] = {}
        for knob in self.knobs:
            if isinstance(knob.parameter, Choice):
                weights = patch.settings[knob.path][knob.parameter.name]
                hard = torch.zeros_like(weights).scatter(-1, weights.argmax(dim=-1, keepdim=True), 1.0)
                changes[knob.path, knob.parameter.name] = hard
        return patch.replace(changes)


def _softened(weights: Tensor) -> Tensor:
    """A choice's weights (batch, ..., options) with each at least `CHOICE_EDGE`, at the cost of the strongest."""
    raised = weights.clamp_min(CHOICE_EDGE)
    excess = raised.sum(dim=-1, keepdim=True) - 1.0
    return raised.scatter_add(-1, raised.argmax(dim=-1, keepdim=True), -excess)


def matching(song: Song, patterns: Sequence[str]) -> set[str]:
    """The full names of the parameters that the patterns free. See `Knobs`."""
    names = [f"{path}.{parameter.name}" for path, block in song.blocks().items() for parameter in block.parameters]
    chosen: set[str] = set()
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        matched = {name for name in names if fnmatch.fnmatchcase(name, bare)}
        if not matched:
            raise UserError(f"learn: no parameter is named '{bare}'; {_nearest_name(bare, names)}")
        chosen = chosen - matched if pattern.startswith("!") else chosen | matched
    if not chosen:
        raise UserError("learn: no parameter is left to climb; free some, for example learn=[mastering.*].")
    return chosen


def _nearest_name(pattern: str, names: Iterable[str]) -> str:
    listed = list(names)
    if "*" in pattern:
        paths = {name.rpartition(".")[0] + ".*" for name in listed}
        return nearest(pattern, paths)
    return nearest(pattern, listed)


def _size(parameter: Parameter | Choice, song: Song, path: str) -> int:
    options = len(parameter.options) if isinstance(parameter, Choice) else 1
    if parameter.per_note:
        for track in song.tracks.values():
            if path in dict(track.performer.members):
                return track.notes.count * options
    return options
