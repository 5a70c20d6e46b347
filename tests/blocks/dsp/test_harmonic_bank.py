"""Harmonics and noise from frames: the compiled form against the tensor form and a sum of sines, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import torch

from hitchain.blocks.dsp import noise
from hitchain.blocks.dsp.harmonic_bank import noise_bands, sound, sound_reference

RATE, FRAME_RATE = 8000, 172.3


def _frames() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    since = torch.tensor([0.0001, 0.003, 0.02], dtype=torch.float64)
    hertz = 200 + 100 * torch.rand(3, 20, generator=generator, dtype=torch.float64)
    amplitude = torch.rand(3, 20, 6, generator=generator, dtype=torch.float64)
    hiss = torch.rand(3, 20, 4, generator=generator, dtype=torch.float64)
    return since, hertz, amplitude, hiss


def test_compiled_and_tensor_forms_agree_in_value_and_gradient() -> None:
    inputs = [value.requires_grad_() for value in _frames()]
    tables = noise_bands(0, 4, RATE, torch.float64)
    more = tables, torch.tensor([5, noise.PERIOD - 70, 99]), torch.tensor([700, 800, 650]), 800, FRAME_RATE, RATE
    ours, theirs = sound(*inputs, *more), sound_reference(*inputs, *more)
    torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=0)
    weights = torch.randn(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((weights * ours).sum(), inputs)
    expected = torch.autograd.grad((weights * theirs).sum(), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_steady_frames_are_a_sum_of_sines(accuracy) -> None:
    frames, count = 40, RATE // 5
    hertz = torch.full((1, frames), 220.0, dtype=torch.float64)
    amplitude = torch.tensor([0.5, 0.2, 0.1]).expand(1, frames, 3)
    tables = noise_bands(0, 4, RATE, torch.float32)
    zero = torch.zeros(1, dtype=torch.float64)
    hiss = torch.zeros(1, frames, 4)
    ours = sound(
        zero, hertz, amplitude, hiss, tables, torch.tensor([0]), torch.tensor([count]), count, FRAME_RATE, RATE
    )
    time = np.arange(count) / RATE
    exact = sum(a * np.sin(2 * np.pi * 220.0 * k * time) for k, a in ((1, 0.5), (2, 0.2), (3, 0.1)))
    error = np.sqrt(np.mean((ours[0].numpy() - exact) ** 2) / np.mean(exact**2))
    accuracy("instruments/ddsp", "a sum of sines, single precision", 20 * math.log10(error), bound=-110.0)


def test_noise_bands_add_up_to_white_noise_and_lie_where_they_should() -> None:
    tables = noise_bands(0, 24, 44100, torch.float64)[:, : noise.PERIOD]
    spectrum = torch.fft.rfft(tables.sum(dim=0)).abs()
    white = noise.spectrum(0).abs().double()
    hertz = torch.arange(len(white)) * 44100 / noise.PERIOD
    torch.testing.assert_close(spectrum[hertz < 20000], white[hertz < 20000], atol=1e-2, rtol=1e-4)
    power = torch.fft.rfft(tables).abs().square()
    centres = (power * hertz).sum(dim=1) / power.sum(dim=1)
    assert bool((centres[1:] > centres[:-1]).all())
