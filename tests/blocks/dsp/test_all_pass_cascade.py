"""The all-pass cascade against scipy's filters, its tensor form, and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.dsp.all_pass_cascade import all_pass_cascade


def _inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 300, dtype=torch.float64, generator=generator)
    gain = 0.02 + 0.4 * torch.rand(2, 300, dtype=torch.float64, generator=generator)
    return [audio.requires_grad_(), gain.requires_grad_()]


FEEDBACKS = [torch.tensor([0.8, -0.5]).double(), torch.linspace(-0.7, 0.7, 600).double().view(2, 300)]


@pytest.mark.parametrize("stages", [1, 4, 7])
def test_standing_still_it_is_scipys_filter(stages: int) -> None:
    noise = np.random.default_rng(0).standard_normal(2000)
    g, feedback = math.tan(math.pi * 0.03), 0.6
    pole = (g - 1.0) / (g + 1.0)
    top, bottom = np.ones(1), np.ones(1)
    for _ in range(stages):
        top, bottom = np.convolve(top, [pole, 1.0]), np.convolve(bottom, [1.0, pole])
    closed = np.append(bottom, 0.0) - feedback * np.append(0.0, top)
    expected = scipy.signal.lfilter(top, closed, noise)
    gain = torch.full((1, 2000), g / (1.0 + g), dtype=torch.float64)
    heard = all_pass_cascade(torch.tensor(noise)[None], gain, torch.tensor([feedback], dtype=torch.float64), stages)
    np.testing.assert_allclose(heard[0].numpy(), expected, atol=1e-8)  # scipy's direct form loses some


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_gradients_are_those_of_finite_differences(feedback: torch.Tensor) -> None:
    inputs = [*_inputs(), feedback.clone().requires_grad_()]
    assert torch.autograd.gradcheck(lambda *given: all_pass_cascade(*given, 4), inputs, fast_mode=True)


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_the_tensor_form_and_its_gradients_agree(feedback: torch.Tensor) -> None:
    inputs = [*_inputs(), feedback.clone().requires_grad_()]
    results = []
    for parallel in (False, True):
        heard = all_pass_cascade(*inputs, stages=4, parallel=parallel)
        results.append([heard, *torch.autograd.grad((heard * torch.cos(heard.detach())).sum(), inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
