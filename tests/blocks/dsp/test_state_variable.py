"""The state-variable filter against scipy's bilinear biquads and against a loop over samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.dsp.state_variable import Output, prewarp, state_variable_filter, state_variable_scan

RATE = 44100
ANALOG = {"low": lambda w, k: [w * w], "band": lambda w, k: [k * w, 0.0], "high": lambda w, k: [1.0, 0.0, 0.0]}
"""Numerators over s^2 + k w s + w^2."""


@pytest.mark.parametrize("output", ["low", "band", "high"])
@pytest.mark.parametrize(("cutoff", "q"), [(40.0, 0.7), (1000.0, 10.0), (15000.0, 0.6)])
def test_constant_cutoff_is_the_bilinear_transform(output: Output, cutoff: float, q: float) -> None:
    audio = np.random.default_rng(0).standard_normal(8000)
    warped = 2 * RATE * math.tan(math.pi * cutoff / RATE)
    b, a = scipy.signal.bilinear(ANALOG[output](warped, 1 / q), [1.0, warped / q, warped**2], RATE)
    expected = scipy.signal.lfilter(b, a, audio)
    g = prewarp(torch.full((1, 8000), cutoff, dtype=torch.float64), RATE)
    measured = state_variable_filter(torch.tensor(audio)[None], g, torch.tensor([1 / q], dtype=torch.float64), output)
    error = np.abs(measured[0].numpy() - expected).max() / np.abs(expected).max()
    assert 20 * np.log10(error + 1e-300) < -100


def _loop(audio: np.ndarray, g: np.ndarray, k: float) -> np.ndarray:
    """Trapezoidal integrators with the implicit equations solved as a linear system, sample by sample."""
    low = np.empty_like(audio)
    s1 = s2 = 0.0
    for n, x in enumerate(audio):
        # v1 = s1 + g (x - k v1 - v2);  v2 = s2 + g v1
        v1, v2 = np.linalg.solve([[1 + g[n] * k, g[n]], [-g[n], 1.0]], [s1 + g[n] * x, s2])
        s1, s2 = 2 * v1 - s1, 2 * v2 - s2
        low[n] = v2
    return low


def test_moving_cutoff_equals_a_loop() -> None:
    generator = np.random.default_rng(1)
    audio = generator.standard_normal(600)
    g = np.tan(np.pi * np.geomspace(100, 18000, 600) / RATE)
    arguments = (torch.tensor(audio)[None], torch.tensor(g)[None], torch.tensor([0.1], dtype=torch.float64))
    expected = torch.tensor(_loop(audio, g, 0.1))[None]
    torch.testing.assert_close(state_variable_filter(*arguments), expected, atol=1e-11, rtol=0)
    torch.testing.assert_close(state_variable_scan(*arguments), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("output", ["low", "band", "high"])
def test_gradients(output: Output) -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 30, dtype=torch.float64, generator=generator, requires_grad=True)
    g = (torch.rand(2, 30, dtype=torch.float64, generator=generator) + 0.01).requires_grad_()
    k = torch.tensor([0.1, 1.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: state_variable_filter(*a, output=output), (audio, g, k))


def test_stays_stable_when_the_cutoff_jumps() -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(1, 44100, generator=generator)
    cutoff = torch.where(torch.rand(1, 44100, generator=generator) < 0.5, 50.0, 20000.0)
    assert state_variable_filter(audio, prewarp(cutoff, RATE), torch.tensor([0.05])).abs().max() < 100.0
