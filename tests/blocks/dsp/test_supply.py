"""The sagging power stage against a loop over samples, its gradients, and the form that runs on a GPU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from hitchain.blocks.dsp.supply import frame_levels, frame_levels_parallel, sagging_clip, sagging_clip_parallel

STEP = 7


def given(samples: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio = 2.0 * torch.randn(2, 2, samples, generator=generator, dtype=torch.float64)
    droop = 1.0 + torch.rand(2, -(-samples // STEP) + 1, generator=generator, dtype=torch.float64)
    return audio.requires_grad_(), droop.requires_grad_()


def antiderivative(level: float) -> float:
    """Of u / sqrt(1 + u^2)."""
    return math.sqrt(1.0 + level * level) - 1.0


@pytest.mark.parametrize("function", [sagging_clip, sagging_clip_parallel])
def test_power_stage_is_the_mean_of_the_curve_at_a_moving_ceiling(function) -> None:  # type: ignore[no-untyped-def]
    audio, droop = given(50)
    result = function(audio, droop, STEP)
    for item, channel in np.ndindex(2, 2):
        before = 0.0
        for t in range(50):
            frame, place = divmod(t, STEP)
            start, end = droop[item, frame].item(), droop[item, frame + 1].item()
            slope = start + (end - start) * place / STEP
            level = slope * audio[item, channel, t].item()
            mean = (antiderivative(level) - antiderivative(before)) / (level - before)
            assert result[item, channel, t].item() == pytest.approx(mean / slope, abs=1e-9)
            before = level


@pytest.mark.parametrize("samples", [1, STEP, 50])
@pytest.mark.parametrize("function", [sagging_clip, sagging_clip_parallel, frame_levels, frame_levels_parallel])
def test_gradients(function, samples: int) -> None:  # type: ignore[no-untyped-def]
    audio, droop = given(samples)
    if function in (sagging_clip, sagging_clip_parallel):
        assert gradcheck(lambda x, k: function(x, k, STEP), (audio, droop))
    else:
        assert gradcheck(lambda x: function(x, STEP), (audio,))


def test_many_frames_are_the_tensor_operations() -> None:
    """Over several of the blocks in which the compiled form works."""
    audio, droop = given(5000)
    weights = torch.randn(audio.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    forms = [form(audio, droop, STEP) for form in (sagging_clip, sagging_clip_parallel)]
    torch.testing.assert_close(*forms, rtol=0, atol=1e-13)
    grads = [torch.autograd.grad((form * weights).sum(), (audio, droop)) for form in forms]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("function", [frame_levels, frame_levels_parallel])
def test_levels_are_means_over_frames_and_channels(function) -> None:  # type: ignore[no-untyped-def]
    audio, _ = given(30)
    expected = np.pad(np.abs(audio.detach().numpy()), ((0, 0), (0, 0), (0, 5))).reshape(2, 2, 5, STEP).mean(axis=(1, 3))
    np.testing.assert_allclose(function(audio, STEP).detach().numpy(), expected, atol=1e-14)
