"""Delays by response: whole samples exactly, fractions against a sinc, low-pass against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch.autograd import gradcheck

from hitchain.blocks.dsp.delays import delay_response, one_pole_response
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
    response = one_pole_response(torch.tensor([frequency], dtype=torch.float64), 512, 44100)[0].numpy()
    b, a = scipy.signal.butter(1, frequency, fs=44100)
    _, expected = scipy.signal.freqz(b, a, worN=np.linspace(0, np.pi, 257))
    np.testing.assert_allclose(response, expected, atol=1e-10)
