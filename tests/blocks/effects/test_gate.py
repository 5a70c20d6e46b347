"""The gate against a loop over samples, and what its knobs say against what is heard."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain.blocks.dsp import gating
from hitchain.blocks.effects.gate import Gate
from hitchain.blocks.parameter import SIDECHAIN

Accuracy = Callable[..., None]
RATE = 44100


def loop(audio: np.ndarray, knobs: dict[str, float], key: np.ndarray) -> np.ndarray:
    """(channels, samples), one sample after the other; the held level by numpy's maximum of each stretch."""
    level = 20 * np.log10(np.maximum(np.abs(key).max(axis=0), 1e-6))
    window = knobs["hold"] * RATE / 1000
    n = math.ceil(window) - 1
    opens, closes = (1 - math.exp(-1000 / (knobs[time] * RATE)) for time in ("attack", "release"))
    state, followed, output = knobs["range"], None, np.empty_like(audio)
    for t in range(audio.shape[1]):
        shorter, longer = level[max(t - n + 1, 0) : t + 1].max(), level[max(t - n, 0) : t + 1].max()
        held = shorter + (window - n) * (longer - shorter)
        followed = held if followed is None else min(max(followed, held), held + knobs["hysteresis"])
        below = (knobs["ratio"] - 1) * (knobs["threshold"] - followed)
        wanted = min(knobs["range"], 3 * np.logaddexp(0, below / 3))
        state += (closes if wanted > state else opens) * (wanted - state)
        output[:, t] = audio[:, t] * 10 ** (-state / 20)
    return output


def swell(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.repeat(10 ** (random.uniform(-60, 0, 10) / 20), 600) * random.uniform(-1, 1, (2, 6000))


def settings_of(**knobs: float) -> dict[str, torch.Tensor]:
    settings = Gate().defaults(1, torch.float64)
    for key, value in knobs.items():
        settings[key].fill_(value)
    return settings


@pytest.mark.parametrize("listens", [False, True])
def test_gate_is_the_sample_loop(listens: bool, accuracy: Accuracy) -> None:
    """-180 dB in float64: the same equations."""
    worst = -np.inf
    audio, key = swell(), swell(1) if listens else swell()
    for knobs in (
        {"threshold": -25.0, "ratio": 2.0, "range": 40.0, "hold": 3.3, "hysteresis": 6.0},
        {"threshold": -40.0, "ratio": 20.0, "range": 80.0, "hold": 0.1, "hysteresis": 0.0},
        {"threshold": -10.0, "ratio": 4.0, "range": 12.0, "hold": 10.0, "hysteresis": 3.0},
    ):
        settings = settings_of(**knobs, attack=1.0, release=10.0)
        if listens:
            settings[SIDECHAIN] = torch.tensor(key[None])
        output = Gate()(torch.tensor(audio[None]), settings)[0].numpy()
        expected = loop(audio, {**knobs, "attack": 1.0, "release": 10.0}, key)
        worst = max(worst, 20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max() + 1e-20))
    how = "a loop over samples, sidechain" if listens else "a loop over samples"
    accuracy("effects/gate", how, worst, bound=-180.0)


def square(level: float, seconds: float) -> torch.Tensor:
    """Its level is the same at every sample."""
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (10 ** (level / 20) * torch.sign(torch.sin(2 * math.pi * 100 * time + 0.1)))[None, None]


def test_loud_passes_and_quiet_is_turned_down_by_the_range() -> None:
    gate, settings = Gate(), settings_of(threshold=-30.0, ratio=20.0, range=50.0)
    assert float(gate.closing(square(-10.0, 0.2), settings)[0, -1]) == pytest.approx(0.0, abs=1e-3)
    assert float(gate.closing(square(-50.0, 0.2), settings)[0, -1]) == pytest.approx(50.0, abs=1e-3)


def test_below_the_threshold_it_expands_by_the_ratio() -> None:
    """2:1, 20 dB below the threshold: 20 dB more, but for the bend's end (0.004 dB)."""
    closing = Gate().closing(square(-50.0, 1.0), settings_of(threshold=-30.0, ratio=2.0))
    assert float(closing[0, -1]) == pytest.approx(20.0, abs=0.02)


def test_it_holds_and_then_closes_in_the_release() -> None:
    """For 50 ms after the sound ends it stays open; 63 % closed another 40 ms later."""
    audio = torch.cat([square(-3.0, 0.2), square(-90.0, 0.5)], dim=-1)
    closing = Gate().closing(audio, settings_of(threshold=-30.0, ratio=50.0, range=60.0, hold=50.0, release=40.0))[0]
    end = round(0.2 * RATE)
    assert float(closing[end + round(0.049 * RATE)]) < 0.1
    assert float(closing[end + round(0.090 * RATE)]) == pytest.approx(60.0 * (1 - math.exp(-1)), rel=0.01)


def test_it_opens_in_the_attack() -> None:
    audio = torch.cat([square(-90.0, 0.2), square(-3.0, 0.2)], dim=-1)
    closing = Gate().closing(audio, settings_of(threshold=-30.0, ratio=50.0, range=60.0, attack=10.0))[0]
    assert float(closing[round(0.21 * RATE) - 1]) == pytest.approx(60.0 * math.exp(-1), rel=0.01)


def test_between_the_thresholds_it_stays_as_it_is() -> None:
    """Open from -30 dB up; at -34 dB it is shut coming from below and open coming from above."""
    gate, settings = Gate(), settings_of(threshold=-30.0, ratio=50.0, hysteresis=8.0, hold=1.0, release=20.0)
    between = square(-34.0, 0.5)
    from_below = gate.closing(torch.cat([square(-80.0, 0.2), between], dim=-1), settings)
    from_above = gate.closing(torch.cat([square(-20.0, 0.2), between], dim=-1), settings)
    assert float(from_below[0, -1]) > 55.0
    assert float(from_above[0, -1]) < 0.1


@pytest.mark.parametrize("window", [1.5, 2.0, 7.3, 64.0, 700.2, 5000.0])
def test_held_maximum_is_the_same_without_a_loop(window: float) -> None:
    level = torch.randn(2, 1500, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    windows = torch.tensor([window, window + 0.4], dtype=torch.float64).requires_grad_()
    _same(gating.held_maximum, level, windows)


@pytest.mark.parametrize("width", [0.0, 0.3, 9.0])
def test_hysteresis_is_the_same_without_a_loop(width: float) -> None:
    level = torch.randn(2, 1500, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    _same(gating.hysteresis, level, torch.tensor([width + 0.01, width + 0.2], dtype=torch.float64).requires_grad_())


def _same(function: Callable[..., torch.Tensor], level: torch.Tensor, knob: torch.Tensor) -> None:
    weight = torch.randn(level.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for parallel in (False, True):
        output = function(level, knob, parallel=parallel)
        results.append((output, *torch.autograd.grad((weight * output).sum(), [level, knob], allow_unused=True)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
