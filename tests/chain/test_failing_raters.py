"""Raters that break, early or late, on the way there or back: a climb stops cleanly with the last good state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hitchain.chain import Song, checkpoint, climb
from hitchain.chain.ascent import Ascent, split_settings
from hitchain.chain.objective import Objective

FAST = {"batch": 2, "window": 1.0, "evaluate_every": 2, "learning_rate": 0.1}
LEARN = ["fader.*"]
GOOD = 12
"""Calls that go well: the start is heard, and a step or two are taken."""

Judge = Callable[[Tensor, int], Tensor]


@pytest.fixture(scope="module")
def small() -> Song:
    """A song of one fader, so that a step costs nothing."""
    return Song.load(
        "solo",
        overrides=["song.length=2.0", "sample_rate=8000", "effects=none", "mastering=none", "instrument=additive"],
    )


def loudness(audio: Tensor, sample_rate: int = 0) -> Tensor:
    return (audio.square().mean(dim=(-1, -2)) + 1e-9).log()


class Backward(torch.autograd.Function):
    """Well on the way there; raises on the way back."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        raise ZeroDivisionError("on the way back")


def raises(audio: Tensor) -> Tensor:
    raise ValueError("no more")


BREAKING: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "raises": (raises, "the rater failed: ValueError: no more"),
    "gives NaN": (lambda audio: loudness(audio) * float("nan"), "not finite"),
    "gives infinity": (lambda audio: loudness(audio) + float("inf"), "not finite"),
    "gives NaN for one candidate": (lambda audio: loudness(audio).log_softmax(0).cumsum(0).log(), "not finite"),
    "raises on the way back": (lambda audio: Backward.apply(loudness(audio)), "on the way back"),
    "has no gradient": (lambda audio: loudness(audio).detach(), "no gradient"),
    "answers with one number for all": (lambda audio: loudness(audio).mean(), "should give a tensor"),
    "answers with no tensor": (lambda audio: None, "should give a tensor"),  # type: ignore[dict-item, return-value]
}


def breaking(how: str, good: int) -> Judge:
    """A rater that goes well so many times."""
    calls = [0]

    def rate(audio: Tensor, sample_rate: int) -> Tensor:
        calls[0] += 1
        return loudness(audio) if calls[0] <= good else BREAKING[how][0](audio)

    return rate


@pytest.mark.parametrize("good", [0, GOOD])
@pytest.mark.parametrize("how", BREAKING)
def test_it_stops_and_keeps_the_last_good_state(small: Song, how: str, good: int, tmp_path: Path) -> None:
    schedule, settings = split_settings("adam", {"steps": 40, "patience": 99, **FAST})
    ascent = Ascent(small, Objective([breaking(how, good)], neutral=0.0), LEARN, schedule, 1, None, "adam", settings)
    kept = ascent.state.best
    while not ascent.finished:
        kept = ascent.state.best.clone()
        ascent.advance()
    assert BREAKING[how][1] in ascent.state.stopped
    assert good == 0 or torch.equal(ascent.state.best, kept)
    assert bool(torch.isfinite(ascent.state.best).all())
    assert ascent.state.step == sum("rating" in row for row in ascent.state.history)
    assert (ascent.state.step > 0) == (good > 0)
    found = ascent.result()
    assert all(bool(torch.isfinite(v).all()) for values in found.patch.settings.values() for v in values.values())
    checkpoint.save(tmp_path, ascent.state)
    again = checkpoint.load(tmp_path)
    assert again is not None
    assert torch.equal(again.best, ascent.state.best)


def test_one_that_breaks_in_a_look_stops_it_too(small: Song) -> None:
    """Looks are heard without a gradient: there it can be told apart."""

    def rate(audio: Tensor, sample_rate: int) -> Tensor:
        calls.append(audio.requires_grad)
        if not audio.requires_grad and len(calls) > GOOD:
            raise OSError("out of paper")
        return loudness(audio)

    calls: list[bool] = []
    best = climb(small, rate, LEARN, steps=40, **FAST)
    assert best.stopped == "the rater failed: OSError: out of paper"
    assert float(loudness(small(best.patch))) >= float(loudness(small(small.start))) - 1e-6


def test_a_held_out_judge_that_breaks_stops_it_too(small: Song) -> None:
    best = climb(small, loudness, LEARN, heldout=breaking("raises", 4), steps=40, **FAST)
    assert "no more" in best.stopped


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "cma", "random", "hybrid"])
def test_a_constant_ends_on_a_plateau(small: Song, optimizer: str) -> None:
    def constant(audio: Tensor, sample_rate: int) -> Tensor:
        return audio.sum(dim=(-1, -2)) * 0.0 + 3.0

    settings = {key: value for key, value in FAST.items() if key != "learning_rate"}
    best = climb(small, constant, [*LEARN, "instrument.level"], optimizer=optimizer, steps=30, patience=2, **settings)
    assert best.stopped == "plateau"
    assert len(best.history) < 30


def test_one_without_a_gradient_is_evolved(small: Song) -> None:
    best = climb(
        small, lambda audio, rate: loudness(audio.detach()), [*LEARN, "instrument.level"], optimizer="cma", steps=6,
        neutral=0.0, batch=1, window=1.0,
    )  # fmt: skip
    assert float(loudness(small(best.patch))) > float(loudness(small(small.start)))
