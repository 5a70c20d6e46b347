"""The equaliser against scipy.signal.sosfilt, which runs the same sections sample by sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st

from hitchain import blocks
from hitchain.blocks.effects.parametric_eq import ParametricEq
from hitchain.blocks.parameter import Parameter, Settings

Accuracy = Callable[..., None]


def cookbook(kind: str, frequency: float, gain: float, q: float, rate: int) -> list[float]:
    """The Audio EQ Cookbook once more, in scalar arithmetic: b0 b1 b2 a0 a1 a2 over a0."""
    knee, room = 0.46 * rate, 0.03 * rate  # the documented bend below Nyquist
    if frequency > knee:
        beyond = (frequency - knee) / room
        frequency = knee + room * beyond / (1 + beyond)
    a, w = 10 ** (gain / 40), 2 * math.pi * frequency / rate
    cos, alpha = math.cos(w), math.sin(w) / (2 * q)
    if kind == "peak":
        section = [1 + alpha * a, -2 * cos, 1 - alpha * a, 1 + alpha / a, -2 * cos, 1 - alpha / a]
    else:
        s, beta = (1 if kind == "low" else -1), 2 * math.sqrt(a) * alpha
        section = [
            a * ((a + 1) - s * (a - 1) * cos + beta),
            s * 2 * a * ((a - 1) - s * (a + 1) * cos),
            a * ((a + 1) - s * (a - 1) * cos - beta),
            (a + 1) + s * (a - 1) * cos + beta,
            s * -2 * ((a - 1) + s * (a + 1) * cos),
            (a + 1) + s * (a - 1) * cos - beta,
        ]
    return [value / section[3] for value in section]


def reference(audio: np.ndarray, settings: Settings, rate: int) -> np.ndarray:
    value = {key: float(tensor[0]) for key, tensor in settings.items()}
    root = math.sqrt(0.5)
    sections = [cookbook("low", value["low_shelf_frequency"], value["low_shelf_gain"], root, rate)]
    for band in ("peak1", "peak2", "peak3", "peak4"):
        knobs = (value[f"{band}_{knob}"] for knob in ("frequency", "gain", "q"))
        sections.append(cookbook("peak", *knobs, rate))
    sections.append(cookbook("high", value["high_shelf_frequency"], value["high_shelf_gain"], root, rate))
    return scipy.signal.sosfilt(np.array(sections), audio)


def error_db(output: torch.Tensor, expected: np.ndarray) -> float:
    """The largest error against the largest sample."""
    return 20 * math.log10(np.abs(output.numpy() - expected).max() / np.abs(expected).max() + 1e-20)


def settings_at(positions: list[float], dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    knobs = [knob for knob in ParametricEq.parameters if isinstance(knob, Parameter)]
    assert len(knobs) == len(positions) == 16
    return {
        knob.name: knob.from_unit(torch.tensor([position], dtype=torch.float64)).to(dtype)
        for knob, position in zip(knobs, positions, strict=True)
    }


POSITIONS = st.lists(st.sampled_from([0.0, 0.1, 0.33, 0.5, 0.71, 0.9, 1.0]), min_size=16, max_size=16)


@given(positions=POSITIONS, rate=st.sampled_from([8000, 44100, 96000, 192000]), seed=st.integers(0, 99))
def test_eq_is_sosfilt_within_80_db_in_both_precisions(positions: list[float], rate: int, seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, (1, 2, 6000))
    for dtype in (torch.float64, torch.float32):
        settings = settings_at(positions, dtype)
        output = ParametricEq(rate)(torch.tensor(noise, dtype=dtype), settings)
        assert error_db(output, reference(noise, settings, rate)) < -80.0


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_eq_is_exact_at_the_lowest_frequency_and_highest_q(rate: int, accuracy: Accuracy) -> None:
    """20 Hz, Q 10, all bands at +18 dB or at -18 dB: rings for seconds, and must not wrap around."""
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 1, rate // 2))
    for gain in (-18.0, 18.0):
        settings = ParametricEq().defaults(1)
        for key, value in settings.items():
            value.fill_(gain if key.endswith("gain") else 10.0 if key.endswith("_q") else 20.0)
        settings["high_shelf_frequency"].fill_(1000.0)
        output = ParametricEq(rate)(torch.tensor(noise, dtype=torch.float32), settings)
        error = error_db(output, reference(noise, settings, rate))
        how = f"scipy.signal.sosfilt, 20 Hz, Q 10, {gain:+g} dB, {rate / 1000:g} kHz"
        accuracy("effects/parametric_eq", how, error, bound=-80.0)


def test_defaults_are_a_wire() -> None:
    audio = torch.rand(2, 2, 1000, dtype=torch.float64) - 0.5
    eq = blocks.create("effects/parametric_eq")
    torch.testing.assert_close(eq(audio, eq.defaults(2, torch.float64)), audio, rtol=0, atol=1e-12)


def test_a_frequency_above_nyquist_still_has_a_gradient() -> None:
    eq = ParametricEq(8000)
    settings = eq.defaults(1, torch.float64)
    settings["peak4_gain"].fill_(6.0)
    settings["peak4_frequency"].fill_(20000.0).requires_grad_()
    audio = torch.rand(1, 1, 2000, dtype=torch.float64) - 0.5
    (gradient,) = torch.autograd.grad(eq(audio, settings).square().sum(), settings["peak4_frequency"])
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs()) > 0.0
