"""The true-peak detector against signals known between their samples, and its two forms against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hitchain.blocks.dsp.true_peak import peak_level


@pytest.mark.parametrize("oversampling", [1, 2, 4, 7])
def test_reads_a_sum_of_sines_between_its_samples(oversampling: int) -> None:
    """Twelve sines up to 0.44 of the rate, in two channels, worked out at the points themselves: to 0.02 dB wherever
    the level is within 20 dB of the highest. The ends, where the sum starts and stops at once, are left out."""
    random = np.random.default_rng(0)
    points = np.arange(3000 * oversampling) / oversampling
    phases = random.uniform(0, 2 * math.pi, (2, 12))
    hertz = np.linspace(0.01, 0.44, 12)
    waves = np.sin(2 * math.pi * hertz * points[:, None, None] + phases).sum(axis=-1).T
    expected = 20 * np.log10(np.abs(waves).reshape(2, 3000, oversampling).max(axis=(0, 2)))
    audio = torch.from_numpy(waves[:, ::oversampling].copy())[None]
    measured = peak_level(audio, oversampling)[0].numpy()
    inner = slice(100, -100)
    loud = expected[inner] > expected.max() - 20.0
    assert np.abs(measured - expected)[inner][loud].max() < 0.02


def test_sees_between_samples_and_in_every_channel() -> None:
    """A sine at a quarter of the rate, sampled at 45 degrees, peaks 3 dB above its samples."""
    time = torch.arange(4000, dtype=torch.float64)
    fade = torch.sin(math.pi * time / 4000).square()
    sine = fade * torch.sin(math.pi / 2 * time + math.pi / 4)
    audio = torch.stack([0.1 * sine, sine])[None]
    assert peak_level(audio).max().item() == pytest.approx(0.0, abs=0.01)
    assert peak_level(audio, oversampling=1).max().item() == pytest.approx(20 * math.log10(math.sqrt(0.5)), abs=0.01)


def test_silence_reads_its_floor() -> None:
    assert torch.equal(peak_level(torch.zeros(1, 2, 10)), torch.full((1, 10), -160.0))


@pytest.mark.parametrize("oversampling", [1, 2, 4])
@pytest.mark.parametrize("samples", [1, 30, 2500])
def test_compiled_and_composed_are_the_same(samples: int, oversampling: int) -> None:
    """The compiled loop and the tensor operations of other devices, with silence, and channels that are equal and share
    the gradient: equal to rounding in float64, values and gradients."""
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(3, 2, samples, generator=generator, dtype=torch.float64)
    audio[1, 1] = audio[1, 0]
    audio[2] = 0.0
    audio.requires_grad_()
    weight = torch.randn(3, samples, generator=generator, dtype=torch.float64)
    compiled, composed = (peak_level(audio, oversampling, parallel) for parallel in (False, True))
    torch.testing.assert_close(compiled, composed, rtol=1e-12, atol=1e-12)
    one, other = (torch.autograd.grad((weight * level).sum(), audio)[0] for level in (compiled, composed))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12 * float(other.abs().max() + 1.0))


@pytest.mark.parametrize("oversampling", [0, 2.5])
def test_refuses_what_is_no_factor(oversampling: float) -> None:
    with pytest.raises(ValueError, match="whole number"):
        peak_level(torch.zeros(1, 1, 10), oversampling)  # type: ignore[arg-type]
