"""What every optimizer is: it is asked for candidates and told what they were worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Start:
    """Where and how an optimizer begins.

    Attributes:
        z: (batch, columns), the unbounded knobs to begin from: the patch itself, and variations of it.
        steps: how many times it will be asked at most.
        seed: everything random follows from it and from how often it was asked.
        rates: (columns,), by how much faster or slower than others each knob should move; 1 for as fast.
        spread: how far variations stand from the patch, as a share of each knob's range (standard deviation).
    """

    z: Tensor
    steps: int
    seed: int
    rates: Tensor
    spread: float = 0.06


class Optimizer(ABC):
    """Moves unbounded knobs upward on an objective, (candidates, columns) at a time.

        while ...:
            z = optimizer.ask()
            optimizer.tell(values, gradient)

    Its state is tensors alone, so that it can be checkpointed and goes on bit for bit.

    Attributes:
        name: as in the config group `optimizer`.
        differentiates: whether it must be told gradients.
        decides: whether its candidates' choices are decided (one option each) rather than blended.
        keeps_places: whether each of its candidates goes a way of its own, from the start to the end.
        Settings: a frozen dataclass of its own settings (see `hitchain.chain.optimizers.settings`).
    """

    name: ClassVar[str]
    differentiates: bool = True
    decides: bool = False
    keeps_places: bool = False
    Settings: ClassVar[type]

    def __init__(self, start: Start, settings: Any) -> None:
        self.start = start
        self.settings = settings

    @property
    @abstractmethod
    def round(self) -> int:
        """Candidates of the same round are compared with each other, and so are heard on the same windows."""

    @abstractmethod
    def ask(self) -> Tensor:
        """The next candidates to be judged: (candidates, columns)."""

    @abstractmethod
    def tell(self, values: Tensor, gradient: Tensor | None) -> None:
        """What the candidates last asked for are worth.

        Args:
            values: (candidates,), the objective: more is better. Finite.
            gradient: (candidates, columns) of the values, where it `differentiates`.
        """

    @abstractmethod
    def leaders(self) -> Tensor:
        """The candidates that stand for what was found so far, to be compared on fixed windows: (few, columns)."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that changes, as tensors."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from `state`."""
