"""Optimizers on known hills: they climb them, as their references do, and go on bit for bit where they were stopped."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitchain.chain import optimizers
from hitchain.chain.optimizers import Optimizer, Start
from hitchain.errors import UserError

NAMES = sorted(optimizers.OPTIMIZERS)


def hill(z: Tensor) -> Tensor:
    """A tilted, badly scaled quadratic with its top, 0, at (1, 1, ...)."""
    scale = torch.logspace(-1, 1, z.shape[-1], dtype=z.dtype)
    away = (z - 1.0) + 0.3 * (z - 1.0).roll(1, -1)
    return -(scale * away.square()).sum(-1)


def begin(name: str, steps: int = 100, batch: int = 2, columns: int = 5, seed: int = 3, **own: object) -> Optimizer:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, columns, generator=generator, dtype=torch.float64)
    rates = torch.ones(columns, dtype=torch.float64)
    return optimizers.find(name)(Start(z, steps, seed, rates), optimizers.settings_of(name, own))


def advance(optimizer: Optimizer, steps: int) -> list[Tensor]:
    asked = []
    for _ in range(steps):
        z = optimizer.ask().detach().requires_grad_(True)
        values = hill(z)
        gradient = torch.autograd.grad(values.sum(), z)[0] if optimizer.differentiates else None
        optimizer.tell(values.detach(), gradient)
        asked.append(z.detach())
    return asked


@pytest.mark.parametrize(
    ("name", "own"), [("adam", {"learning_rate": 0.3}), ("lbfgs", {}), ("cma", {}), ("hybrid", {})]
)
def test_it_finds_the_top(name: str, own: dict[str, float]) -> None:
    optimizer = begin(name, **own)
    before = float(hill(optimizer.leaders()).max())
    advance(optimizer, 100)
    assert float(hill(optimizer.leaders()).max()) > max(0.02 * before, -0.3)


def test_random_search_keeps_the_best_of_what_it_drew() -> None:
    optimizer = begin("random", population=7, keep=3)
    start = optimizer.start.z[0]
    asked = advance(optimizer, 9)
    assert torch.equal(asked[0][0], start)
    values = hill(torch.cat(asked)).sort(descending=True).values[:3]
    assert torch.allclose(hill(optimizer.leaders()), values)


def test_adam_is_adam() -> None:
    """Against torch.optim.Adam with the same falling rate."""
    optimizer = begin("adam", steps=40)
    theirs = torch.nn.Parameter(optimizer.start.z.clone())
    adam = torch.optim.Adam([theirs], lr=1.0, betas=(0.9, 0.99), maximize=True)
    for step in range(40):
        adam.param_groups[0]["lr"] = 0.08 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 40)))
        adam.zero_grad()
        hill(theirs).sum().backward()
        adam.step()
    advance(optimizer, 40)
    assert torch.allclose(optimizer.leaders(), theirs.detach(), atol=1e-10)


def test_lbfgs_needs_about_as_many_evaluations_as_scipy() -> None:
    """To come within 1e-6 of the top, on one window."""
    optimizer = begin("lbfgs", batch=1, columns=20, refresh=10_000)
    start = optimizer.start.z[0].numpy()

    def negated(x: np.ndarray) -> tuple[float, np.ndarray]:
        z = torch.from_numpy(x)[None].requires_grad_(True)
        value = -hill(z).sum()
        return float(value.detach()), torch.autograd.grad(value, z)[0][0].numpy()

    reference = scipy.optimize.minimize(negated, start, jac=True, method="L-BFGS-B", options={"maxcor": 10, "ftol": 0})
    count = 0
    while float(hill(optimizer.leaders()).max()) < -1e-6 and count < 1000:
        advance(optimizer, 1)
        count += 1
    assert count < 2 * reference.nfev + 20


def test_lbfgs_compares_only_what_was_heard_on_one_window() -> None:
    """The hill jumps down by 100 with every round: a search that compared across would never move again."""
    optimizer = begin("lbfgs", batch=1, refresh=5)
    for _ in range(60):
        z = optimizer.ask().detach().requires_grad_(True)
        values = hill(z) - 100.0 * optimizer.round
        optimizer.tell(values.detach(), torch.autograd.grad(values.sum(), z)[0])
    assert float(hill(optimizer.leaders()).max()) > -1e-2


@pytest.mark.parametrize("name", ["adam", "lbfgs"])
def test_candidates_do_not_touch_each_other(name: str) -> None:
    both = begin(name)
    one = Start(both.start.z[:1], both.start.steps, both.start.seed, both.start.rates)
    alone = optimizers.find(name)(one, both.settings)
    advance(both, 20)
    advance(alone, 20)
    assert torch.allclose(both.leaders()[:1], alone.leaders(), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(stopped=st.integers(0, 29), seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_it_goes_on_bit_for_bit(name: str, stopped: int, seed: int) -> None:
    whole, first = begin(name, 30, seed=seed), begin(name, 30, seed=seed)
    advance(whole, 30)
    advance(first, stopped)
    second = begin(name, 30, seed=seed)
    second.restore({key: value.clone() for key, value in first.state().items()})
    advance(second, 30 - stopped)
    assert torch.equal(whole.leaders(), second.leaders())
    assert whole.state().keys() == second.state().keys()
    assert all(torch.equal(value, second.state()[key]) for key, value in whole.state().items())


def test_cma_leaves_the_global_generator_alone() -> None:
    np.random.seed(5)  # noqa: NPY002 - that this one is not touched is what is tested
    advance(begin("cma"), 3)
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert drawn == np.random.random()  # noqa: NPY002


@pytest.mark.parametrize(
    ("name", "key", "value"), [("adam", "learning_rate", -1.0), ("cma", "sigma", "wide"), ("lbfgs", "history", 0)]
)
def test_a_setting_out_of_range_is_refused(name: str, key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"optimizer.{key}"):
        optimizers.settings_of(name, {key: value})


def test_misspellings_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="lbfgs"):
        optimizers.find("lbgfs")
    with pytest.raises(UserError, match="learning_rate"):
        optimizers.settings_of("adam", {"learning_rat": 0.1})
