"""Gradient ascent with Adam (Kingma and Ba, 2015), every candidate on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.optimizers.optimizer import Optimizer, Start
from hitchain.chain.optimizers.settings import setting


@dataclass(frozen=True)
class AdamSettings:
    """Attributes:

    learning_rate: on the unbounded knobs; it falls to a tenth along half a cosine (Loshchilov and Hutter, 2017).
    restarts: how often the rate jumps back up and the moments are forgotten, at equal distances.
    noise: standard deviation of what is added to the gradient, relative to its root mean square; it fades with
        (1 + step)^-0.55 (Neelakantan et al., 2015).
    """

    learning_rate: float = setting(0.08, 1e-6, 10.0)
    restarts: int = setting(0, 0, 100)
    noise: float = setting(0.0, 0.0, 10.0)


class Adam(Optimizer):
    """z + rate * m / (sqrt(v) + epsilon), m and v the moving means of the gradient and of its square."""

    name = "adam"
    Settings = AdamSettings
    keeps_places = True
    BETAS = (0.9, 0.99)
    EPSILON = 1e-8

    settings: AdamSettings

    def __init__(self, start: Start, settings: AdamSettings) -> None:
        super().__init__(start, settings)
        self.z = start.z.clone()
        self.mean, self.square = torch.zeros_like(self.z), torch.zeros_like(self.z)
        self.count = 0

    @property
    def round(self) -> int:
        return self.count

    @property
    def _length(self) -> int:
        """Steps from one restart to the next."""
        return max(1, math.ceil(self.start.steps / (self.settings.restarts + 1)))

    def ask(self) -> Tensor:
        return self.z

    def tell(self, values: Tensor, gradient: Tensor | None) -> None:
        assert gradient is not None
        (beta1, beta2), since = self.BETAS, self.count % self._length
        if since == 0:
            self.mean, self.square = torch.zeros_like(self.z), torch.zeros_like(self.z)
        gradient = gradient + self._noise(gradient)
        self.mean = beta1 * self.mean + (1 - beta1) * gradient
        self.square = beta2 * self.square + (1 - beta2) * gradient.square()
        mean = self.mean / (1 - beta1 ** (since + 1))
        square = self.square / (1 - beta2 ** (since + 1))
        turn = 0.5 * (1 + math.cos(math.pi * since / self._length))
        rate = self.settings.learning_rate * (0.1 + 0.9 * turn) * self.start.rates
        self.z = self.z + rate * mean / (square.sqrt() + self.EPSILON)
        self.count += 1

    def _noise(self, gradient: Tensor) -> Tensor:
        if self.settings.noise == 0.0:
            return torch.zeros_like(gradient)
        generator = torch.Generator().manual_seed(self.start.seed * 1_000_003 + self.count)
        drawn = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype).to(gradient.device)
        size = gradient.square().mean(dim=-1, keepdim=True).sqrt()
        fade: float = self.settings.noise / math.pow(1 + self.count, 0.55)
        return drawn * size * fade

    def leaders(self) -> Tensor:
        return self.z

    def state(self) -> dict[str, Tensor]:
        return {"z": self.z, "mean": self.mean, "square": self.square, "count": torch.tensor(self.count)}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.z, self.mean, self.square = (state[key].to(self.start.z) for key in ("z", "mean", "square"))
        self.count = int(state["count"])
