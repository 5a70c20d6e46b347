"""Evolve first, then climb: CMA-ES finds a good place, and Adam goes up from its best candidates.

Choices are decided in both parts: the evolution chooses, and the gradient turns the other knobs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.optimizers.adam import Adam, AdamSettings
from hitchain.chain.optimizers.evolution import Evolution, EvolutionSettings
from hitchain.chain.optimizers.optimizer import Optimizer, Start
from hitchain.chain.optimizers.settings import setting


@dataclass(frozen=True)
class HybridSettings:
    """Attributes:

    evolve: share of the steps in which the population evolves.
    population, sigma: of the evolution (see `cma`).
    learning_rate: of the climb after it (see `adam`).
    """

    evolve: float = setting(0.15, 0.0, 1.0)
    population: int = setting(0, 0, 100_000)
    sigma: float = setting(0.5, 1e-4, 10.0)
    learning_rate: float = setting(0.08, 1e-6, 10.0)


class Hybrid(Optimizer):
    """CMA-ES for the first `evolve` of the steps; then Adam from the mean, the best, and the start's variations."""

    name = "hybrid"
    decides = True
    Settings = HybridSettings

    settings: HybridSettings

    def __init__(self, start: Start, settings: HybridSettings) -> None:
        super().__init__(start, settings)
        self.evolution_steps = round(settings.evolve * start.steps)
        self.evolution = Evolution(start, EvolutionSettings(settings.population, settings.sigma))
        self.climber: Adam | None = None
        self.count = 0
        self._turn()

    @property
    def round(self) -> int:
        return self.count

    def _turn(self) -> None:
        """Whose turn it is."""
        climbs = self.count >= self.evolution_steps
        if climbs and self.climber is None:
            self.climber = self._begin_climb()
        self.differentiates = climbs

    def _begin_climb(self) -> Adam:
        leaders = self.evolution.leaders() if self.evolution_steps else self.start.z
        batch = len(self.start.z)
        z = torch.cat([leaders, self.start.z])[:batch] if self.evolution_steps else self.start.z
        begin = dataclasses.replace(self.start, z=z, steps=self.start.steps - self.evolution_steps)
        return Adam(begin, AdamSettings(learning_rate=self.settings.learning_rate))

    @property
    def _active(self) -> Optimizer:
        return self.evolution if self.climber is None else self.climber

    def ask(self) -> Tensor:
        return self._active.ask()

    def tell(self, values: Tensor, gradient: Tensor | None) -> None:
        self._active.tell(values, gradient)
        self.count += 1
        self._turn()

    def leaders(self) -> Tensor:
        return self._active.leaders()

    def state(self) -> dict[str, Tensor]:
        state = {f"evolution.{key}": value for key, value in self.evolution.state().items()}
        if self.climber is not None:
            state |= {f"climber.{key}": value for key, value in self.climber.state().items()}
        return {**state, "count": torch.tensor(self.count)}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.evolution.restore(_named(state, "evolution."))
        self.count = int(state["count"])
        self._turn()
        if self.climber is not None:
            self.climber.restore(_named(state, "climber."))


def _named(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
