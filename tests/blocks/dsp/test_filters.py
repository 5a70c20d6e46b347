"""Second-order sections: against scipy.signal, at low frequencies and high rates too, in both precisions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor
from torch.autograd import gradcheck

from hitchain.blocks.dsp import filters

ROOT_HALF = math.sqrt(0.5)
DESIGNS = {
    "low_pass": lambda f, g, q, rate: filters.low_pass(f, q, rate),
    "high_pass": lambda f, g, q, rate: filters.high_pass(f, q, rate),
    "band_pass": lambda f, g, q, rate: filters.band_pass(f, q, rate),
    "notch": lambda f, g, q, rate: filters.notch(f, q, rate),
    "all_pass": lambda f, g, q, rate: filters.all_pass(f, q, rate),
    "peak": filters.peak,
    "low_shelf": filters.low_shelf,
    "high_shelf": filters.high_shelf,
}


def gain_at(section: filters.Section, frequency: float, rate: int) -> complex:
    b, a = (tensor.squeeze().numpy() for tensor in section)
    return complex(scipy.signal.freqz(b, a, worN=[frequency], fs=rate)[1][0])


def values(*numbers: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([number], dtype=torch.float64) for number in numbers)


def decibels(gain: complex) -> float:
    return 20.0 * math.log10(abs(gain))


def test_low_and_high_pass_are_scipys_butterworth_at_its_q() -> None:
    frequency, q = values(1234.0, ROOT_HALF)
    for design, kind in ((filters.low_pass, "low"), (filters.high_pass, "high")):
        b, a = design(frequency, q, 44100)
        expected_b, expected_a = scipy.signal.butter(2, 1234.0, kind, fs=44100)
        np.testing.assert_allclose(b[0], expected_b, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(a[0], expected_a, rtol=1e-9)


def test_peak_and_notch_are_scipys_where_the_definitions_meet() -> None:
    """scipy's iirnotch has the bandwidth of the -3 dB points in angle; the cookbook's alpha = sin(w0) / (2 Q)."""
    frequency, q = 3000.0, 5.0
    angle = 2 * math.pi * frequency / 44100
    scipy_q = angle / (2 * math.atan(math.sin(angle) / (2 * q)))
    b, a = filters.notch(*values(frequency, q), 44100)
    expected_b, expected_a = scipy.signal.iirnotch(frequency, scipy_q, fs=44100)
    np.testing.assert_allclose(b[0], expected_b, rtol=1e-9)
    np.testing.assert_allclose(a[0], expected_a, rtol=1e-9)
    b, a = filters.band_pass(*values(frequency, q), 44100)
    expected_b, expected_a = scipy.signal.iirpeak(frequency, scipy_q, fs=44100)
    np.testing.assert_allclose(b[0], expected_b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(a[0], expected_a, rtol=1e-9)


@pytest.mark.parametrize("rate", [22050, 44100, 192000])
@pytest.mark.parametrize("gain", [-12.0, 7.5])
def test_gains_stand_where_the_cookbook_puts_them(rate: int, gain: float) -> None:
    frequency, level, q = values(1000.0, gain, 2.0)
    bell = filters.peak(frequency, level, q, rate)
    assert decibels(gain_at(bell, 1000.0, rate)) == pytest.approx(gain, abs=1e-6)
    assert decibels(gain_at(bell, 0.0, rate)) == pytest.approx(0.0, abs=1e-6)
    low, high = filters.low_shelf(frequency, level, q, rate), filters.high_shelf(frequency, level, q, rate)
    assert decibels(gain_at(low, 0.0, rate)) == pytest.approx(gain, abs=1e-6)
    assert decibels(gain_at(low, 1000.0, rate)) == pytest.approx(gain / 2, abs=1e-6)
    assert decibels(gain_at(high, rate / 2, rate)) == pytest.approx(gain, abs=1e-6)
    assert decibels(gain_at(high, 1000.0, rate)) == pytest.approx(gain / 2, abs=1e-6)
    everywhere = [abs(gain_at(filters.all_pass(frequency, q, rate), f, rate)) for f in (10.0, 1000.0, 9000.0)]
    assert everywhere == pytest.approx([1.0, 1.0, 1.0], abs=1e-9)


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize(
    ("frequency", "q"), [(20.0, 10.0), (20.0, 0.2), (1000.0, 1.0), (20000.0, 10.0), (20000.0, 0.2)]
)
@pytest.mark.parametrize("fused", [True, False])
def test_response_is_scipys_in_both_precisions(name: str, rate: int, frequency: float, q: float, fused: bool) -> None:
    b, a = DESIGNS[name](*values(frequency, 18.0, q), rate)
    n_fft = 4096
    _, expected = scipy.signal.freqz(b[0].numpy(), a[0].numpy(), worN=np.linspace(0, np.pi, n_fft // 2 + 1))
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 2e-5)):  # freqz itself cancels near 0 Hz
        response = filters.sections_response(b.unsqueeze(1), a.unsqueeze(1), n_fft, dtype, fused=fused)
        assert np.abs(response[0].numpy() - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("fused", [True, False])
def test_response_gradients(fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    frequency = (torch.rand(2, 3, generator=generator, dtype=torch.float64) * 9000 + 100).requires_grad_()
    gain = torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    q = (torch.rand(2, 3, generator=generator, dtype=torch.float64) + 0.5).requires_grad_()

    def response(frequency: Tensor, gain: Tensor, q: Tensor) -> Tensor:
        b, a = filters.peak(frequency, gain, q, 44100)
        return filters.sections_response(b, a, 32, fused=fused)

    assert gradcheck(response, (frequency, gain, q))


@pytest.mark.parametrize("fused", [True, False])
def test_gradient_is_finite_where_a_section_is_zero(fused: bool) -> None:
    """A notch exactly on a bin: the product is 0 there, but not what the other sections add to it."""
    b, a = filters.notch(torch.tensor([[1000.0, 2000.0]], dtype=torch.float64), torch.ones(1, 2).double(), 8000)
    b, a = b.detach().requires_grad_(), a.detach().requires_grad_()
    response = filters.sections_response(b, a, 16, fused=fused)
    assert float(response.detach().abs()[0, 2]) < 1e-12
    for gradient in torch.autograd.grad(response.real.sum() + response.imag.sum(), (b, a)):
        assert torch.isfinite(gradient).all()


def test_fused_and_plain_gradients_agree_in_blocks() -> None:
    """Enough bins for several blocks of the kernel, the last one not full."""
    b, a = filters.peak(*(torch.tensor([[v, 3 * v]]) for v in (500.0, 4.0, 1.5)), 44100)
    results = []
    for fused in (True, False):
        leaves = [tensor.double().detach().requires_grad_() for tensor in (b, a)]
        response = filters.sections_response(*leaves, 3000, fused=fused)
        weights = torch.linspace(-1, 1, 1501, dtype=torch.float64)
        results.append(torch.autograd.grad((response.real * weights + response.imag).sum(), leaves))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_frequencies_bend_below_nyquist() -> None:
    frequency = torch.tensor([20.0, 20000.0, 20286.0, 21000.0, 40000.0, 1e6], dtype=torch.float64, requires_grad=True)
    bounded = filters.bounded_frequency(frequency, 44100)
    torch.testing.assert_close(bounded[:3], frequency[:3])
    assert (bounded[3:] < 0.49 * 44100).all()
    assert (bounded.diff() > 0).all()
    (slope,) = torch.autograd.grad(bounded.sum(), frequency)
    assert (slope > 0).all()
    assert float(slope[3]) < 1.0


@pytest.mark.parametrize(("frequency", "q"), [(50.0, 8.0), (3000.0, 0.3), (15000.0, 2.0)])
def test_ring_time_is_when_the_impulse_response_has_gone(frequency: float, q: float) -> None:
    b, a = filters.low_pass(*values(frequency, q), 44100)
    samples = float(filters.ring_time(a, decay=60.0))
    impulse = np.zeros(int(3 * samples) + 8)
    impulse[0] = 1.0
    envelope = np.maximum.accumulate(np.abs(scipy.signal.lfilter(b[0].numpy(), a[0].numpy(), impulse))[::-1])[::-1]
    start = envelope.max()
    measured = int(np.argmax(envelope < start * 1e-3))
    assert samples * 0.75 - 4 < measured < samples * 1.25 + 4
