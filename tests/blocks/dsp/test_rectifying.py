"""The antialiased rectifier against quadrature, finite differences and its tensor form."""

from __future__ import annotations

import torch

from hitchain.blocks.dsp.rectifying import octave_mean, octave_mean_parallel


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 2, 20, dtype=torch.float64, generator=generator)
    return audio.requires_grad_(), torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)


def test_each_sample_is_the_mean_over_the_step() -> None:
    audio, share = inputs()
    result = octave_mean(audio, share)[1, 0]
    before = torch.nn.functional.pad(audio[1, 0], (1, 0))[:-1]
    line = before + torch.linspace(0, 1, 100_001, dtype=torch.float64)[:, None] * (audio[1, 0] - before)
    assert torch.allclose(result, 2.0 * torch.trapezoid(line.abs(), dx=1e-5, dim=0), atol=1e-6)


def test_gradients_and_the_tensor_form() -> None:
    assert torch.autograd.gradcheck(octave_mean, inputs())
    assert torch.allclose(octave_mean(*inputs()), octave_mean_parallel(*inputs()))
