"""Hysteresis against the published equation integrated by scipy, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import scipy.integrate
import torch

from hitchain.blocks.dsp.hysteresis import COERCIVITY, COUPLING, langevin, magnetise


def published(time: np.ndarray, amplitude: float, c: float) -> np.ndarray:
    """dM/dt of Chowdhury 2019, equation 11, with Ms = 1 and a = 1 / 3.01, for H = amplitude sin t."""
    a, k, alpha = 1.0 / 3.01, 0.47875, 0.0016

    def change(t: float, state: np.ndarray) -> list[float]:
        m, h, h_rate = state[0], amplitude * math.sin(t), amplitude * math.cos(t)
        q = (h + alpha * m) / a
        near = abs(q) < 1e-3
        anhysteretic = q / 3.0 if near else 1.0 / math.tanh(q) - 1.0 / q
        slope = 1.0 / 3.0 if near else 1.0 / q**2 - 1.0 / math.sinh(q) ** 2
        delta = 1.0 if h_rate > 0 else -1.0
        above = anhysteretic - m
        irreversible = (1 - c) * above / ((1 - c) * delta * k - alpha * above) if above * delta > 0 else 0.0
        return [(irreversible + c / a * slope) * h_rate / (1.0 - c * alpha / a * slope)]

    solved = scipy.integrate.solve_ivp(
        change, (0, time[-1]), [0.0], "LSODA", time, rtol=1e-9, atol=1e-11, max_step=0.01
    )
    return solved.y[0]


def test_the_loop_is_the_published_one() -> None:
    assert math.isclose(COERCIVITY, 0.47875 * 3.01, rel_tol=2e-3)
    assert math.isclose(COUPLING, 0.0016 * 3.01, rel_tol=5e-3)
    time = np.arange(4000) * (4.0 * math.pi / 4000)
    for amplitude, c in ((1.0, 0.1), (3.0, 0.6)):
        field = torch.from_numpy(3.01 * amplitude * np.sin(time))[None, None]
        ours = magnetise(field, torch.tensor([c], dtype=torch.float64))[0, 0].numpy()
        expected = published(time, amplitude, c)
        assert np.abs(ours - expected).max() < 2e-3 * np.abs(expected).max()  # K and b are rounded


def test_langevin_near_zero_and_far() -> None:
    field = torch.tensor([0.0, 0.05, 0.0999, 0.1001, 2.0, -30.0], dtype=torch.float64)
    assert torch.allclose(langevin(field)[1:], (1.0 / torch.tanh(field) - 1.0 / field)[1:], atol=1e-11)
    assert float(langevin(field)[0]) == 0.0


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    field = (2.0 * torch.randn(2, 2, 15, dtype=torch.float64, generator=generator)).requires_grad_()
    reversible = torch.tensor([0.2, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(magnetise, (field, reversible), atol=1e-6)


def test_what_was_magnetised_stays() -> None:
    field = torch.cat([torch.linspace(0, 5, 500), torch.linspace(5, 0, 500)]).double()[None, None]
    assert float(magnetise(field, torch.tensor([0.1], dtype=torch.float64))[0, 0, -1]) > 0.2
