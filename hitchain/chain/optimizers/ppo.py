"""Policy gradient: a normal distribution over the knobs, moved by proximal policy optimisation, without gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.optimizers.optimizer import Optimizer, Start
from hitchain.chain.optimizers.settings import setting


@dataclass(frozen=True)
class PPOSettings:
    """Attributes:

    population: settings drawn and heard in each step.
    sigma: standard deviation at the start, on the unbounded knobs.
    learning_rate: of Adam, on the means and on the logarithms of the deviations.
    epochs: steps of Adam on one population.
    clip: how far the probability ratio of a setting counts: from 1 - clip to 1 + clip.
    entropy: weight of the distribution's entropy per knob, which keeps it from closing in too soon.
    """

    population: int = setting(16, 2, 100_000)
    sigma: float = setting(0.5, 1e-4, 10.0)
    learning_rate: float = setting(0.03, 1e-6, 10.0)
    epochs: int = setting(8, 1, 1000)
    clip: float = setting(0.2, 0.01, 1.0)
    entropy: float = setting(0.0, 0.0, 10.0)


class PPO(Optimizer):
    """Proximal policy optimisation (Schulman et al., 2017) of a policy without states: a setting is its one action.

    The policy is normal with a mean and a deviation for every knob. Of a population drawn from it, the advantages are
    the values less their mean, over their deviation; then a few steps of Adam climb

        mean(min(r * advantage, clip(r, 1 - clip, 1 + clip) * advantage)) + entropy * mean(log deviation),

    r being how much likelier a setting has become. Values are compared within one population only, so every population
    may be heard on windows of its own. Choices are decided by the largest of their columns. `hitchain produce` trains
    the kind of policy that has states.
    """

    name = "ppo"
    differentiates = False
    decides = True
    Settings = PPOSettings
    BETAS = (0.9, 0.99)
    EPSILON = 1e-8

    settings: PPOSettings

    def __init__(self, start: Start, settings: PPOSettings) -> None:
        super().__init__(start, settings)
        self.rates = start.rates.to(start.z)
        deviation = (settings.sigma * self.rates.clamp_min(1e-3)).log()
        self.policy = torch.stack([start.z[0], deviation])
        self.mean, self.square = torch.zeros_like(self.policy), torch.zeros_like(self.policy)
        self.best = start.z[:1].clone()
        self.count = 0

    @property
    def round(self) -> int:
        return self.count

    def ask(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.start.seed * 1_000_003 + self.count)
        shape = self.settings.population, self.policy.shape[-1]
        drawn = torch.randn(shape, generator=generator, dtype=self.policy.dtype).to(self.policy.device)
        return self.policy[0] + self.policy[1].exp() * drawn

    def tell(self, values: Tensor, gradient: Tensor | None) -> None:
        asked = self.ask()  # the same as before: it follows from the policy and the count
        values = values.detach().to(asked)
        advantages = (values - values.mean()) / (values.std() + self.EPSILON)
        before = _log_density(self.policy, asked)
        for epoch in range(self.settings.epochs):
            self._step(asked, advantages, before, self.count * self.settings.epochs + epoch + 1)
        self.best = asked[values.argmax()][None].clone()
        self.count += 1

    @torch.enable_grad()
    def _step(self, asked: Tensor, advantages: Tensor, before: Tensor, number: int) -> None:
        """A step of Adam upward."""
        policy = self.policy.detach().requires_grad_(True)
        ratio = (_log_density(policy, asked) - before).exp()
        clipped = ratio.clamp(1.0 - self.settings.clip, 1.0 + self.settings.clip)
        surrogate = torch.minimum(ratio * advantages, clipped * advantages).mean()
        (slope,) = torch.autograd.grad(surrogate + self.settings.entropy * policy[1].mean(), policy)
        beta1, beta2 = self.BETAS
        self.mean = beta1 * self.mean + (1 - beta1) * slope
        self.square = beta2 * self.square + (1 - beta2) * slope.square()
        mean, square = self.mean / (1 - beta1**number), self.square / (1 - beta2**number)
        self.policy = self.policy + self.settings.learning_rate * self.rates * mean / (square.sqrt() + self.EPSILON)

    def leaders(self) -> Tensor:
        """The mean of the policy, and the best of the last population."""
        return torch.cat([self.policy[:1], self.best])

    _KEPT = ("policy", "mean", "square", "best")

    def state(self) -> dict[str, Tensor]:
        return {**{key: getattr(self, key) for key in self._KEPT}, "count": torch.tensor(self.count)}

    def restore(self, state: dict[str, Tensor]) -> None:
        for key in self._KEPT:
            setattr(self, key, state[key].to(self.start.z))
        self.count = int(state["count"])


def _log_density(policy: Tensor, z: Tensor) -> Tensor:
    """Of a policy (2, columns), means over logarithms of deviations, at z (candidates, columns): (candidates,)."""
    away = (z - policy[0]) / policy[1].exp()
    return -(0.5 * away.square() + policy[1] + 0.5 * math.log(2.0 * math.pi)).sum(-1)
