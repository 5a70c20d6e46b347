"""Delays by response: whole samples exactly, fractions against a sinc, low-pass against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch.autograd import gradcheck

from hitchain.blocks.dsp.delays import Echoes, delay_response, echo_response, first_order_response
from hitchain.blocks.dsp.fft import apply_response


@pytest.mark.parametrize("samples", [0, 1, 17, 50_000])
def test_whole_samples_are_shifted_exactly(samples: int) -> None:
    audio = torch.rand(1, 1, 70_000) - 0.5
    n_fft = 131072
    response = delay_response(torch.tensor([float(samples)]), n_fft).unsqueeze(1)
    expected = torch.nn.functional.pad(audio, (samples, 0))[..., :70_000]
    torch.testing.assert_close(apply_response(audio, response, n_fft), expected, rtol=0, atol=1e-6)


def test_phase_is_exact_for_long_fractional_delays_in_single_precision() -> None:
    n_fft, samples = 1 << 19, 100_000.25
    response = delay_response(torch.tensor([samples], dtype=torch.float64), n_fft, torch.float32)[0].numpy()
    bins = np.arange(n_fft // 2 + 1, dtype=np.float64)
    expected = np.exp(-2j * np.pi * np.mod(bins * samples / n_fft, 1.0))
    assert response.dtype == np.complex64
    assert np.abs(response - expected).max() < 1e-6


def test_a_fraction_is_a_sinc_on_a_sine() -> None:
    n_fft, periods = 1000, 37
    time = torch.arange(n_fft, dtype=torch.float64)
    omega = 2 * math.pi * periods / n_fft
    response = delay_response(torch.tensor([3.3], dtype=torch.float64), n_fft).unsqueeze(1)
    shifted = apply_response(torch.sin(omega * time)[None, None], response, n_fft)
    torch.testing.assert_close(shifted[0, 0], torch.sin(omega * (time - 3.3)), rtol=0, atol=1e-11)


def test_delay_gradient() -> None:
    samples = torch.tensor([2.3, 7.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda m: delay_response(m, 50), samples)


@pytest.mark.parametrize("frequency", [100.0, 5000.0, 20000.0])
def test_one_pole_is_scipys_butterworth(frequency: float) -> None:
    tangent = torch.tan(torch.tensor([frequency], dtype=torch.float64) * (math.pi / 44100))
    response = first_order_response(tangent, 512).numpy()
    b, a = scipy.signal.butter(1, frequency, fs=44100)
    _, expected = scipy.signal.freqz(b, a, worN=np.linspace(0, np.pi, 257))
    np.testing.assert_allclose(response, expected, atol=1e-10)


def echoes(*values: float) -> Echoes:
    return Echoes(*(torch.tensor([value, 0.8 * value], dtype=torch.float64) for value in values))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_echoes_are_the_recursion(fused: bool, dtype: torch.dtype) -> None:
    """y = dry x + wet v, v[t] = L(x + feedback v)[t - m], as one recursive filter, over several blocks of bins."""
    n_fft, m, feedback = 4096, 100, 0.5
    low, high = scipy.signal.butter(1, 0.2)
    tangent = math.tan(0.1 * math.pi)
    response = echo_response(echoes(m, tangent, feedback, 0.7, 0.4), n_fft, dtype, fused)[0]
    numerator, denominator = np.r_[np.zeros(m), low], np.r_[high, np.zeros(m)]
    impulse = np.eye(1, n_fft)[0]
    expected = 0.4 * impulse + 0.7 * scipy.signal.lfilter(numerator, denominator - feedback * numerator, impulse)
    np.testing.assert_allclose(
        torch.fft.irfft(response, n=n_fft).numpy(), expected, atol=2e-7 if dtype is torch.float32 else 1e-12
    )


@pytest.mark.parametrize("fused", [True, False])
def test_echo_gradients(fused: bool) -> None:
    given = [value.requires_grad_() for value in echoes(7.3, 0.4, 0.6, 0.7, 0.4)]
    assert gradcheck(lambda *values: echo_response(Echoes(*values), 30, torch.float64, fused), given)


def test_echo_gradients_over_many_blocks() -> None:
    given = [value.requires_grad_() for value in echoes(977.3, 0.4, 0.6, 0.7, 0.4)]
    one, other = (echo_response(Echoes(*given), 9000, torch.float64, fused) for fused in (True, False))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    cotangent = torch.randn(one.shape, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)
    ours, plain = (torch.autograd.grad(response, given, cotangent) for response in (one, other))
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)
