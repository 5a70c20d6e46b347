"""optimizer=ppo: it climbs known hills without gradients, and takes the steps that PyTorch's own parts would take."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hitchain.chain import optimizers
from hitchain.chain.optimizers import Start
from hitchain.chain.optimizers.ppo import PPO
from hitchain.errors import UserError


def hill(z: Tensor) -> Tensor:
    """A tilted, badly scaled quadratic with its top, 0, at (1, 1, ...)."""
    scale = torch.logspace(-1, 1, z.shape[-1], dtype=z.dtype)
    return -(scale * ((z - 1.0) + 0.3 * (z - 1.0).roll(1, -1)).square()).sum(-1)


def begin(columns: int, seed: int = 3, rates: Tensor | None = None, **own: object) -> PPO:
    z = torch.randn(2, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rates = torch.ones(columns, dtype=torch.float64) if rates is None else rates
    optimizer = optimizers.find("ppo")(Start(z, 100, seed, rates), optimizers.settings_of("ppo", own))
    assert isinstance(optimizer, PPO)
    return optimizer


@pytest.mark.parametrize("columns", [1, 5, 60])
def test_it_nears_the_top(columns: int) -> None:
    optimizer = begin(columns)
    before = float(hill(optimizer.leaders()[:1]))
    for _ in range(100):
        optimizer.tell(hill(optimizer.ask()), None)
    assert float(hill(optimizer.leaders()[:1])) > 0.02 * before


def test_its_steps_are_those_of_pytorch() -> None:
    """The clipped surrogate from torch.distributions, climbed by torch.optim.Adam."""
    own = {"epochs": 4, "clip": 0.1, "entropy": 0.02, "learning_rate": 0.05}
    optimizer = begin(6, **own)
    mean = torch.nn.Parameter(optimizer.policy[0].clone())
    deviation = torch.nn.Parameter(optimizer.policy[1].clone())
    adam = torch.optim.Adam([mean, deviation], lr=0.05, betas=PPO.BETAS, eps=PPO.EPSILON, maximize=True)
    for _ in range(5):
        z = optimizer.ask()
        values = hill(z)
        optimizer.tell(values, None)
        advantages = (values - values.mean()) / (values.std() + PPO.EPSILON)
        before = torch.distributions.Normal(mean.detach(), deviation.detach().exp()).log_prob(z).sum(-1)
        for _ in range(4):
            policy = torch.distributions.Normal(mean, deviation.exp())
            ratio = (policy.log_prob(z).sum(-1) - before).exp()
            surrogate = torch.minimum(ratio * advantages, ratio.clamp(0.9, 1.1) * advantages).mean()
            adam.zero_grad()
            (surrogate + 0.02 * deviation.mean()).backward()
            adam.step()
    assert torch.allclose(optimizer.policy[0], mean.detach(), atol=1e-10)
    assert torch.allclose(optimizer.policy[1], deviation.detach(), atol=1e-10)


def test_a_rate_of_nothing_holds_a_knob() -> None:
    optimizer = begin(3, rates=torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    start = optimizer.start.z[0, 1]
    for _ in range(20):
        optimizer.tell(hill(optimizer.ask()), None)
    assert optimizer.leaders()[0, 1] == start
    assert (optimizer.ask()[:, 1] - start).abs().max() < 0.01


def test_a_flat_objective_moves_nothing() -> None:
    optimizer = begin(4)
    before = optimizer.policy.clone()
    optimizer.tell(torch.zeros(16, dtype=torch.float64), None)
    assert torch.equal(optimizer.policy, before)


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match=r"optimizer\.clip"):
        optimizers.settings_of("ppo", {"clip": 2.0})
