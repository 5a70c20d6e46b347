"""The moving delay line against delayed sines, a comb of scipy's, its tensor form, and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.dsp.modulated_delay import LEAST, modulated_delay

RATE = 44100
TIME = torch.arange(12000, dtype=torch.float64)
SWEEP = 300.0 + 120.0 * torch.sin(TIME * (2.0 * math.pi * 4.0 / RATE))


@pytest.mark.parametrize("frequency", [100.0, 997.0, 5000.0, 8000.0, 12000.0, 15000.0])
def test_a_delayed_sine_is_the_sine_of_the_delayed_time(frequency: float) -> None:
    omega = 2.0 * math.pi * frequency / RATE
    heard = modulated_delay(torch.sin(omega * TIME)[None], SWEEP[None])[0]
    error = (heard - torch.sin(omega * (TIME - SWEEP)))[600:].abs().max()
    assert 20.0 * math.log10(float(error)) < -70.0


def test_a_constant_does_not_flutter() -> None:
    heard = modulated_delay(torch.ones_like(TIME)[None], SWEEP[None])[0, 600:]
    assert float((heard - 1.0).abs().max()) < 1e-6  # the table's cubics between phases


def test_whole_delays_with_feedback_are_a_comb() -> None:
    noise = np.random.default_rng(0).standard_normal(3000)
    expected = scipy.signal.lfilter([0.0] * 37 + [1.0], [1.0] + [0.0] * 36 + [-0.8], noise)
    heard = modulated_delay(
        torch.tensor(noise)[None], torch.full((1, 3000), 37.0), torch.tensor([0.8], dtype=torch.float64)
    )
    np.testing.assert_allclose(heard[0].numpy(), expected, atol=1e-12)


def test_without_feedback_it_may_read_ahead() -> None:
    noise = torch.randn(1, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ahead = modulated_delay(noise, torch.full((1, 500), -20.0))
    torch.testing.assert_close(ahead[:, :480], noise[:, 20:], rtol=0, atol=1e-12)
    assert float(ahead[:, 490:].abs().max()) == 0.0


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(2, 200, dtype=torch.float64, generator=generator)
    delay = LEAST + 15.0 * torch.rand(2, 200, dtype=torch.float64, generator=generator)
    return audio.requires_grad_(), delay.requires_grad_()


FEEDBACKS = [None, torch.tensor([0.7, -0.4]).double(), torch.linspace(-0.7, 0.7, 400).double().view(2, 200)]


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_gradients_are_those_of_finite_differences(feedback: torch.Tensor | None) -> None:
    inputs = list(_inputs()) + ([] if feedback is None else [feedback.clone().requires_grad_()])
    assert torch.autograd.gradcheck(modulated_delay, inputs, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_the_tensor_form_and_its_gradients_agree(feedback: torch.Tensor | None) -> None:
    audio, delay = _inputs()
    inputs = [audio, delay] + ([] if feedback is None else [feedback.clone().requires_grad_()])
    results = []
    for parallel in (False, True):
        heard = (
            modulated_delay(*inputs, parallel=parallel)
            if feedback is not None
            else modulated_delay(audio, delay, parallel=parallel)
        )
        results.append([heard, *torch.autograd.grad((heard * torch.cos(heard.detach())).sum(), inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
