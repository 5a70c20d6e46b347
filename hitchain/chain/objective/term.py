"""A term: something of a candidate that can be measured and wanted, beside its rating."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from hitchain.chain.chain import Song, Window
from hitchain.chain.knobs import Knobs
from hitchain.chain.patch import Patch
from hitchain.errors import UserError, nearest


@dataclass(frozen=True)
class Heard:
    """Candidates as a term hears and sees them.

    Attributes:
        audio: (batch, 2, samples), the master in a window.
        sample_rate: [Hz].
        positions: (batch, size), the freed knobs in (0, 1); for a choice, its weights.
        neutral: (1, size), where they stood in the starting patch.
        patch: the settings of every candidate; None where audio is judged alone.
        song: whose patch it is.
        window: of the song that `audio` holds; None for the whole.
        draw: a number from which whatever is random is drawn; another one in every step.
        knobs: whose positions these are; None where audio is judged alone.
    """

    audio: Tensor
    sample_rate: int
    positions: Tensor
    neutral: Tensor
    patch: Patch | None = None
    song: Song | None = None
    window: Window | None = None
    draw: int = 0
    knobs: Knobs | None = None


class Term(ABC):
    """One measure of a candidate, more of which is wanted where its weight is positive.

    A subclass is registered by `@term("name")`; the keyword arguments of its constructor are its options in a config.

    Attributes:
        name: as registered.
        unit: of the measure, "" for a plain number.
        scale: a difference that is worth noticing, in `unit`: constraints count violations in it.
        audible: whether it is measured on the audio. One that is not depends on the knobs alone.
    """

    name: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    scale: ClassVar[float] = 1.0
    audible: ClassVar[bool] = True

    @abstractmethod
    def measure(self, heard: Heard) -> Tensor:
        """The measure of every candidate, in `unit`: (batch,), differentiable in the audio or the positions."""

    def begin(self, heard: Sequence[Heard]) -> None:  # noqa: B027 - most terms need not hear the start
        """Called before a climb with the starting patch, heard in several windows."""

    def learn(self, heard: Heard) -> None:  # noqa: B027 - most terms do not learn
        """Called with what was heard after each step of a climb, for a term that learns from it. Without gradients."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold of a term that learns."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - most terms do not learn
        """Go on from `state`."""


TERMS: dict[str, type[Term]] = {}
AnyTerm = TypeVar("AnyTerm", bound=type[Term])


def term(name: str) -> Callable[[AnyTerm], AnyTerm]:
    """Register a term under a name."""

    def register(kind: AnyTerm) -> AnyTerm:
        kind.name = name
        TERMS[name] = kind
        return kind

    return register


def find(name: str) -> type[Term]:
    """The class of a term by its name. Raises `UserError` naming the nearest."""
    from hitchain.chain.objective import terms  # noqa: F401 - registers those that ship

    if name not in TERMS:
        raise UserError(f"objective.terms: there is no term '{name}'; {nearest(name, TERMS)}")
    return TERMS[name]
