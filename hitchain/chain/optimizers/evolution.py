"""Evolution of a population: CMA-ES, for raters and blocks without gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hitchain.chain.optimizers.optimizer import Optimizer, Start
from hitchain.chain.optimizers.settings import setting
from hitchain.errors import UserError

SEPARABLE_FROM = 300
"""Columns from which on only variances are learnt, not covariances: their matrix would cost more than the audio."""


@dataclass(frozen=True)
class EvolutionSettings:
    """Attributes:

    population: candidates in a generation; 0 for 4 + 3 ln(columns), the method's own choice.
    sigma: standard deviation of the first generation, on the unbounded knobs.
    """

    population: int = setting(0, 0, 100_000)
    sigma: float = setting(0.5, 1e-4, 10.0)


class Evolution(Optimizer):
    """Covariance matrix adaptation (Hansen and Ostermeier, 2001), by the package `cma`.

    A step is a generation. Choices are decided by the largest of their columns. The strategy's own state is never
    stored: what it was told is, and telling it again, with the same random numbers, brings it back.
    """

    name = "cma"
    differentiates = False
    decides = True
    Settings = EvolutionSettings

    settings: EvolutionSettings

    def __init__(self, start: Start, settings: EvolutionSettings) -> None:
        super().__init__(start, settings)
        self.told: list[Tensor] = []
        self.best = start.z[:1].clone()
        self.best_value = -np.inf
        self.strategy = _strategy(start, settings)
        self._asked: list[Any] | None = None

    @property
    def round(self) -> int:
        return len(self.told)

    def ask(self) -> Tensor:
        if self._asked is None:
            self._asked = self.strategy.ask()
        return torch.from_numpy(np.stack(self._asked)).to(self.start.z)

    def tell(self, values: Tensor, gradient: Tensor | None) -> None:
        values = values.detach().double().cpu()
        self._tell(values)
        self.best = torch.from_numpy(np.asarray(self.strategy.mean)[None]).to(self.start.z)

    def _tell(self, values: Tensor) -> None:
        asked = self.strategy.ask() if self._asked is None else self._asked
        self.strategy.tell(asked, (-values).tolist())
        self.told.append(values)
        self._asked = None

    def leaders(self) -> Tensor:
        """The mean of the population, which hears through the noise of windows, and its best ever."""
        found = self.strategy.best.x
        if found is None:
            return self.best
        return torch.cat([self.best, torch.from_numpy(np.asarray(found)[None]).to(self.start.z)])

    def state(self) -> dict[str, Tensor]:
        shape = len(self.told), int(self.strategy.popsize)
        return {"told": torch.stack(self.told) if self.told else torch.zeros(shape, dtype=torch.float64)}

    def restore(self, state: dict[str, Tensor]) -> None:
        for values in state["told"].unbind(0):
            self._tell(values.double())
        if self.told:
            self.best = torch.from_numpy(np.asarray(self.strategy.mean)[None]).to(self.start.z)


def _strategy(start: Start, settings: EvolutionSettings) -> Any:
    try:
        import cma
    except ImportError as error:
        raise UserError("optimizer=cma needs the package cma: pip install 'hitchain[evolve]'.") from error
    columns = start.z.shape[-1]
    options: dict[str, Any] = {
        "verbose": -9,
        "verb_log": 0,
        "verb_disp": 0,
        "seed": np.nan,  # it would otherwise seed NumPy's global generator
        "randn": np.random.RandomState(start.seed % 2**32).randn,  # the kind of generator that cma calls
        "CMA_diagonal": columns >= SEPARABLE_FROM,
        "CMA_stds": start.rates.clamp_min(1e-3).double().cpu().tolist(),
    }
    if settings.population:
        options["popsize"] = max(2, settings.population)
    first = start.z[0].double().cpu().numpy()
    if columns == 1:
        raise UserError("optimizer=cma needs two or more knobs; one is climbed by optimizer=random or adam.")
    return cma.CMAEvolutionStrategy(first, settings.sigma, options)
