"""Filtering by transform: sizes, linear convolution against scipy, channels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st

from hitchain.blocks.dsp import fft


@given(st.integers(1, 3_000_000))
def test_fast_length_is_even_smooth_and_near(samples: int) -> None:
    length = fft.fast_length(samples)
    assert length >= samples
    assert length % 2 == 0
    rest = length
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    assert rest == 1
    # an even number of factors 2, 3, 5 is twice one of half the size: scipy's own search gives that one
    assert length == max(2, 2 * scipy.fft.next_fast_len(-(-samples // 2), real=True))


@pytest.mark.parametrize(("samples", "taps"), [(1, 1), (100, 7), (7, 100), (5000, 3000)])
def test_convolve_is_scipys_cut_to_the_input(samples: int, taps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 2, samples, generator=generator, dtype=torch.float64)
    kernel = torch.randn(2, 1, taps, generator=generator, dtype=torch.float64)
    output = fft.convolve(audio, kernel)
    for item in range(2):
        for channel in range(2):
            expected = scipy.signal.convolve(audio[item, channel].numpy(), kernel[item, 0].numpy())[:samples]
            np.testing.assert_allclose(output[item, channel], expected, atol=1e-10)


def test_response_of_two_channels_makes_mono_stereo() -> None:
    audio = torch.randn(1, 1, 64)
    response = torch.stack([torch.ones(33), 0.5 * torch.ones(33)]).to(torch.complex64).unsqueeze(0)
    output = fft.apply_response(audio, response, 64)
    torch.testing.assert_close(output, torch.cat([audio, 0.5 * audio], dim=1))


def test_one_bin_is_a_gain() -> None:
    audio = torch.randn(2, 2, 5)
    torch.testing.assert_close(fft.apply_response(audio, torch.tensor([[[0.5 + 0.0j]]]), 8), 0.5 * audio)


def test_frequencies_are_numpys() -> None:
    np.testing.assert_allclose(fft.frequencies(10, 48000, torch.zeros(1)), np.fft.rfftfreq(10, 1 / 48000), rtol=1e-6)


@pytest.mark.parametrize("shapes", [((1, 2), (2, 2)), ((2, 1), (2, 2)), ((2, 2), (1, 1)), ((2, 2), (2, 1))])
@pytest.mark.parametrize("real", [False, True])
def test_the_gradient_of_a_filter_is_that_of_differences(shapes: tuple[tuple[int, int], ...], real: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(*shapes[0], 20, generator=generator, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(*shapes[1], 9, generator=generator, dtype=torch.float64, requires_grad=True)

    def filtered(audio: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        response = fft.rfft(kernel, 32)
        return fft.apply_response(audio, response.abs() if real else response, 32)

    assert torch.autograd.gradcheck(filtered, (audio, kernel))
