"""Objectives: what an ensemble says together, copies that must hold, and bounds that are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitchain.chain import config as configs
from hitchain.chain.objective import Constraint, Heard, Objective, RaterFailed, Rating, Robustness, Term, Weighted
from hitchain.chain.objective.config import objective_of
from hitchain.errors import UserError

RATE = 16_000


def level(audio: Tensor, sample_rate: int) -> Tensor:
    return audio.square().mean(dim=(1, 2))


def heard(audio: Tensor, positions: Tensor | None = None, draw: int = 0) -> Heard:
    positions = torch.full((len(audio), 2), 0.5) if positions is None else positions
    return Heard(audio, RATE, positions, torch.full((1, 2), 0.5), draw=draw)


def noise(batch: int, seconds: float = 2.0, seed: int = 0) -> Tensor:
    return torch.randn(batch, 2, round(seconds * RATE), generator=torch.Generator().manual_seed(seed)) * 0.1


class Ensemble:
    """Two members of different scales."""

    def each(self, audio: Tensor, sample_rate: int) -> Tensor:
        return torch.stack([level(audio, sample_rate), 3.0 - level(audio, sample_rate)], dim=1)


def test_statistics_of_an_ensemble() -> None:
    audio = noise(3)
    each = Ensemble().each(audio, RATE)
    assert torch.allclose(Rating([Ensemble()], "mean")(audio, RATE)[0], each.mean(dim=1))  # type: ignore[list-item]
    worst = Rating([Ensemble()], "worst")  # type: ignore[list-item]
    worst.begin([audio[:1]], RATE)
    gains = each - each[:1]
    assert torch.allclose(worst(audio, RATE)[0], each[0].mean() + gains.min(dim=1).values, atol=1e-6)
    lower = Rating([Ensemble()], "lower", confidence=2.0)  # type: ignore[list-item]
    lower.begin([audio[:1]], RATE)
    expected = each[0].mean() + gains.mean(dim=1) - 2.0 * gains.std(dim=1, correction=0)
    assert torch.allclose(lower(audio, RATE)[0], expected, atol=3e-4)


def test_the_stricter_member_is_not_the_worst_for_ever() -> None:
    """Members rate far apart, but gain alike: the worst is by gain."""
    rating = Rating([lambda a, r: level(a, r) - 10.0, lambda a, r: 5.0 - level(a, r)], "worst")
    rating.begin([noise(1)], RATE)
    louder = noise(1) * 2.0
    value, _ = rating(louder, RATE)
    start = Rating([lambda a, r: level(a, r) - 10.0, lambda a, r: 5.0 - level(a, r)]).each(noise(1), RATE).mean()
    assert float(value - start) == pytest.approx(float(level(noise(1), RATE) - level(louder, RATE)), abs=1e-5)


@given(draw=st.integers(0, 1000), codec=st.booleans())
@settings(max_examples=10, deadline=None)
def test_copies_are_differentiable_repeatable_and_long_enough(draw: int, codec: bool) -> None:
    robustness = Robustness(copies=2, codec=codec)
    audio = noise(2).requires_grad_(True)
    first, second = (list(robustness.copies_of(audio, RATE, draw)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
        assert one.shape[-1] >= RATE
    (gradient,) = torch.autograd.grad(sum(copy.square().sum() for copy in first), audio)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().max()) > 0


def test_copies_differ_from_step_to_step() -> None:
    audio = noise(1)
    first, second = (next(Robustness(copies=1).copies_of(audio, RATE, draw)) for draw in (1, 2))
    assert first.shape != second.shape or not torch.allclose(first, second)


class Power(Term):
    """Mean square of the audio."""

    name, unit = "power", ""

    def measure(self, heard: Heard) -> Tensor:
        return level(heard.audio, heard.sample_rate)


class Place(Term):
    """The first knob."""

    name, unit, scale, audible = "place", "", 0.05, False

    def measure(self, heard: Heard) -> Tensor:
        return heard.positions[:, 0]


@pytest.mark.parametrize(
    ("bound", "top"), [({"at_most": 0.6}, 0.6), ({"at_least": 0.95}, 0.95), ({"at_most": 0.9}, 0.8)]
)
def test_an_augmented_lagrangian_meets_its_bound_exactly(bound: dict[str, float], top: float) -> None:
    """max -(u - 0.8)^2 under a bound: at the bound where it binds, at 0.8 where it does not."""
    constraint = Constraint(Place(), **bound)
    objective = Objective(
        [lambda a, r: a.sum(dim=(1, 2)) * 0.0], neutral=0.0, bounds=0.0, constraints={"place": constraint}
    )
    place = torch.tensor([[0.5], [0.3]], requires_grad=True)
    audio = torch.zeros(2, 1, RATE)
    adam = torch.optim.Adam([place], lr=0.01, betas=(0.9, 0.99))  # as the climb has it
    for _ in range(1500):
        now = Heard(audio, RATE, place, torch.full((1, 1), 0.5))
        score = objective.score(now)
        adam.zero_grad()
        (-(score.objective - (place[:, 0] - 0.8).square())).sum().backward()
        adam.step()
        objective.learn(now, score)
    assert place.detach().flatten().tolist() == pytest.approx([top, top], abs=0.01)


def test_weights_and_merit() -> None:
    audio = noise(2)
    objective = Objective(
        [level], neutral=0.0, bounds=0.0, terms={"power": Weighted(Power(), 2.0)},
        constraints={"cap": Constraint(Power(), at_most=1e-6)},
    )  # fmt: skip
    score = objective.score(heard(audio))
    power = level(audio, RATE)
    assert torch.allclose(score.rating, power)
    assert torch.allclose(score.terms["power"], 2.0 * power)
    assert torch.allclose(score.objective, score.rating + sum(score.terms.values()))
    assert torch.allclose(score.merit, 3.0 * power - 10.0 * (power - 1e-6))


def test_state_goes_on() -> None:
    def make() -> Objective:
        return Objective([level], constraints={"cap": Constraint(Power(), at_most=0.001)})

    whole, first, second = make(), make(), make()
    for objective in (whole, first):
        objective.begin([heard(noise(2))])
    for step in range(10):
        whole.learn(heard(noise(2, seed=step)), whole.score(heard(noise(2, seed=step))))
    for step in range(6):
        first.learn(heard(noise(2, seed=step)), first.score(heard(noise(2, seed=step))))
    second.restore({key: value.clone() for key, value in first.state().items()})
    for step in range(6, 10):
        second.learn(heard(noise(2, seed=step)), second.score(heard(noise(2, seed=step))))
    for key, value in whole.state().items():
        assert torch.equal(value, second.state()[key]), key


def raises(audio: Tensor, sample_rate: int) -> Tensor:
    raise RuntimeError("no such file")


@pytest.mark.parametrize("judge", [raises, lambda audio, rate: audio, lambda audio, rate: 0.5])
def test_a_rater_that_fails_is_named(judge) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RaterFailed, match="the rater"):
        Objective([judge]).score(heard(noise(1)))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.ensemble=lowest", "lower"),
        ("objective.confidence=-1", "objective.confidence"),
        ("objective.neutral=-1", "objective.neutral"),
        ("objective.terms.neutrl={weight: 1}", "neutral"),
        ("objective.terms.neutral={wight: 1}", "weight"),
        ("objective.terms.neutral={}", "needs a weight"),
        ("objective.terms.neutral={at_least: 1, at_most: 0}", "is over"),
        ("objective.robustness.copies=-1", "objective.robustness"),
        ("objective.robustness.copie=1", "copies"),
    ],
)
def test_mistakes_in_a_config_are_named(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        objective_of(configs.compose("optimize", [override]))
