"""The static curve, the detectors and the time constants against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from hitchain.blocks.dsp import dynamics


def piecewise(level: float, threshold: float, knee: float) -> float:
    """Giannoulis et al. 2012, equation 4, as the distance of input from output at an infinite ratio."""
    over = level - threshold
    if 2 * over < -knee:
        return 0.0
    if 2 * abs(over) <= knee:
        return (over + knee / 2) ** 2 / (2 * knee) if knee > 0 else 0.0
    return over


@pytest.mark.parametrize("knee", [0.0, 0.1, 6.0, 24.0])
def test_overshoot_is_the_published_curve(knee: float) -> None:
    level = torch.linspace(-60.0, 0.0, 601, dtype=torch.float64)[None]
    threshold = torch.tensor([-20.0], dtype=torch.float64)
    curve = dynamics.overshoot(level, threshold, torch.tensor([knee], dtype=torch.float64))
    expected = torch.tensor([[piecewise(x, -20.0, knee) for x in level[0].tolist()]], dtype=torch.float64)
    torch.testing.assert_close(curve, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("knee", [0.0, 1e-6, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_overshoot_gradients_are_finite_at_every_corner(knee: float, dtype: torch.dtype) -> None:
    level = torch.tensor([[-30.0, -21.5, -20.0, -18.5, -10.0]], dtype=dtype, requires_grad=True)
    threshold = torch.tensor([-20.0], dtype=dtype, requires_grad=True)
    width = torch.tensor([knee], dtype=dtype, requires_grad=True)
    curve = dynamics.overshoot(level, threshold, width)
    gradients = torch.autograd.grad(curve.square().sum(), (level, threshold, width))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert float(gradients[0][0, -1]) == pytest.approx(20.0, rel=1e-5)


def test_overshoot_gradients_are_right() -> None:
    level = torch.tensor([[-30.0, -21.0, -19.2, -10.0]], dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor([-20.0], dtype=torch.float64, requires_grad=True)
    knee = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(dynamics.overshoot, (level, threshold, knee))


def test_time_coefficient_covers_63_percent_in_its_time() -> None:
    coefficient = float(dynamics.time_coefficient(torch.tensor(10.0, dtype=torch.float64), 44100))
    assert 1.0 - (1.0 - coefficient) ** 441 == pytest.approx(1.0 - math.exp(-1.0), rel=1e-9)


def test_peak_level_is_linked_and_floored() -> None:
    audio = torch.tensor([[[1.0, 0.1, 0.0, -0.5], [0.0, -0.2, 0.0, 0.25]]])
    level = dynamics.peak_level(audio)
    torch.testing.assert_close(level, torch.tensor([[0.0, -13.9794, -120.0, -6.0206]]), atol=1e-3, rtol=0)


def test_rms_level_of_a_sine_is_3_db_below_its_peak() -> None:
    sine = torch.sin(2 * torch.pi * 997.0 * torch.arange(44100, dtype=torch.float64) / 44100)[None, None]
    level = dynamics.rms_level(sine, torch.tensor([50.0], dtype=torch.float64), 44100)
    assert float(level[0, -1]) == pytest.approx(-3.01, abs=0.1)  # what is left is the ripple of the average
