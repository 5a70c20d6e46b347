"""Random search: settings drawn at random around the start, the best of them kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.optimizers.optimizer import Optimizer, Start
from hitchain.chain.optimizers.settings import setting

EDGE = 0.005
"""How near to an end of its range a knob may be drawn."""


@dataclass(frozen=True)
class RandomSettings:
    """Attributes:

    population: settings drawn in each step.
    radius: standard deviation of a knob's position around its start, as a share of its range; 0 draws evenly from the
        whole range.
    keep: how many of the best are kept for comparison.
    """

    population: int = setting(8, 1, 100_000)
    radius: float = setting(0.15, 0.0, 10.0)
    keep: int = setting(3, 1, 1000)


class RandomSearch(Optimizer):
    """Settings drawn independently; all are heard on the same windows, so that they can be compared."""

    name = "random"
    differentiates = False
    decides = True
    Settings = RandomSettings

    settings: RandomSettings

    def __init__(self, start: Start, settings: RandomSettings) -> None:
        super().__init__(start, settings)
        self.best = start.z[:1].clone()
        self.values = torch.full((1,), -torch.inf, dtype=torch.float64)
        self.count = 0
        self._asked = self.best

    @property
    def round(self) -> int:
        return 0

    def ask(self) -> Tensor:
        """The start itself first, then what is drawn."""
        z, radius = self.start.z[:1], self.settings.radius
        shape = self.settings.population, z.shape[-1]
        generator = torch.Generator().manual_seed(self.start.seed * 1_000_003 + self.count)
        if radius == 0.0:
            position = torch.rand(shape, generator=generator, dtype=z.dtype)
        else:
            moves = radius * torch.randn(shape, generator=generator, dtype=z.dtype)
            position = torch.sigmoid(z.cpu()) + moves * self.start.rates.cpu()
        drawn = torch.logit(position.clamp(EDGE, 1.0 - EDGE)).to(z)
        if self.count == 0:
            drawn[0] = z[0]
        self._asked = drawn
        return drawn

    def tell(self, values: Tensor, gradient: Tensor | None) -> None:
        together = torch.cat([self.values, values.detach().double().cpu()])
        candidates = torch.cat([self.best, self._asked])
        kept = torch.topk(together, min(self.settings.keep, len(together))).indices
        self.best, self.values = candidates[kept.to(candidates.device)], together[kept]
        self.count += 1

    def leaders(self) -> Tensor:
        return self.best

    def state(self) -> dict[str, Tensor]:
        return {"best": self.best, "values": self.values, "count": torch.tensor(self.count)}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.best, self.values = state["best"].to(self.start.z), state["values"]
        self.count = int(state["count"])
