"""Circuits against an independent nodal analysis and scipy.signal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitchain.blocks.dsp.circuits import (
    BASSMAN,
    ToneStack,
    butterworth,
    butterworth_sections,
    coupling,
    coupling_parallel,
    filter_spectrum,
    rational,
    section,
    section_product,
    tone_stack,
    warped,
    warped_axis,
)
from hitchain.blocks.dsp.filters import bounded_frequency

HERTZ = np.geomspace(10.0, 20_000.0, 40)
MARSHALL = ToneStack(220e3, 1e6, 22e3, 33e3, 470e-12, 22e-9, 22e-9)


def nodal(bass: float, middle: float, treble: float, circuit: ToneStack) -> NDArray[np.complex128]:
    """The voltage at the treble wiper by Kirchhoff's current law at six nodes, at each frequency."""
    nodes = {name: index for index, name in enumerate(("top", "out", "low", "slope", "pot", "wiper"))}
    responses = []
    for s in 2j * np.pi * HERTZ:
        elements = [
            ("in", "top", s * circuit.treble_capacitor),
            ("top", "out", 1 / ((1 - treble) * circuit.treble)),
            ("out", "low", 1 / (treble * circuit.treble)),
            ("in", "slope", 1 / circuit.series),
            ("slope", "low", s * circuit.bass_capacitor),
            ("low", "pot", 1 / (math.exp(3.4 * (bass - 1)) * circuit.bass)),
            ("slope", "wiper", s * circuit.middle_capacitor),
            ("pot", "wiper", 1 / ((1 - middle) * circuit.middle)),
            ("wiper", "ground", 1 / (middle * circuit.middle)),
        ]
        matrix, current = np.zeros((6, 6), complex), np.zeros(6, complex)
        for left, right, admittance in elements:
            for here, there in ((left, right), (right, left)):
                if here in nodes:
                    matrix[nodes[here], nodes[here]] += admittance
                    if there in nodes:
                        matrix[nodes[here], nodes[there]] -= admittance
                    elif there == "in":
                        current[nodes[here]] += admittance
        responses.append(np.linalg.solve(matrix, current)[nodes["out"]])
    return np.array(responses)


def pots(*positions: float, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.tensor([position], dtype=dtype) for position in positions]


@pytest.mark.parametrize("circuit", [BASSMAN, MARSHALL])
@given(bass=st.floats(0.01, 0.99), middle=st.floats(0.01, 0.99), treble=st.floats(0.01, 0.99))
def test_tone_stack_against_nodal_analysis(circuit: ToneStack, bass: float, middle: float, treble: float) -> None:
    response = rational(*tone_stack(*pots(bass, middle, treble), circuit=circuit), torch.from_numpy(HERTZ))[0]
    # The two are the same circuit: only rounding may differ.
    assert np.abs(response.numpy() - nodal(bass, middle, treble, circuit)).max() < 1e-11


def test_tone_stack_has_the_mid_scoop_of_the_real_one() -> None:
    """Yeh and Smith 2006, figure 3: at middle positions a dip of several dB between 300 and 800 Hz."""
    level = 20 * np.log10(np.abs(nodal(0.5, 0.5, 0.5, BASSMAN)))
    mine = rational(*tone_stack(*pots(0.5, 0.5, 0.5)), torch.from_numpy(HERTZ))[0].abs().log10() * 20
    dip = HERTZ[int(mine.argmin()) if mine.argmin() > 3 else int(mine[10:].argmin()) + 10]
    assert 300.0 < dip < 800.0
    assert np.allclose(mine.numpy(), level, atol=1e-9)


def test_single_precision_and_the_ends_of_the_pots_hold() -> None:
    for positions in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 1.0)):
        double = rational(*tone_stack(*pots(*positions)), torch.from_numpy(HERTZ))
        single = rational(*tone_stack(*pots(*positions, dtype=torch.float32)), torch.from_numpy(HERTZ).float())
        assert torch.isfinite(double).all()
        assert float((double - single).abs().max()) < 1e-4


def test_tone_stack_is_stable_everywhere() -> None:
    for bass in np.linspace(0, 1, 4):
        for middle in np.linspace(0, 1, 4):
            _, denominator = tone_stack(*pots(bass, middle, 0.5))
            assert (np.roots(denominator[0].numpy()[::-1]).real < 0).all()


def test_rational_against_scipy_freqs() -> None:
    numerator, denominator = torch.tensor([[0.3, 2.0, 0.1]]).double(), torch.tensor([[1.0, 0.4, 0.02]]).double()
    scale = 1e-3 ** np.arange(3)
    _, expected = scipy.signal.freqs(
        (numerator[0].numpy() * scale)[::-1], (denominator[0].numpy() * scale)[::-1], worN=2 * np.pi * HERTZ
    )
    assert np.allclose(rational(numerator, denominator, torch.from_numpy(HERTZ))[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
def test_filtered_spectrum_against_scipy_freqs(fused: bool) -> None:
    """Three coefficients and four, over more than one of the kernel's blocks."""
    numerator, denominator = torch.tensor([[0.3, 2.0, 0.1]]).double(), torch.tensor([[1.0, 0.4, 0.02, 1e-4]]).double()
    spectrum, constant = torch.randn(3, 1500, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)[:2]
    n, d = (list((c[0].numpy() * 1e-3 ** np.arange(c.shape[1]))[::-1]) for c in (numerator, denominator))
    _, response = scipy.signal.freqs(n, d, worN=2 * np.pi * 13.0 * np.arange(1500))
    result = filter_spectrum(spectrum[None, None], numerator, denominator, constant, 13.0, fused)
    np.testing.assert_allclose(result[0, 0].numpy(), (spectrum * constant).numpy() * response, atol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
def test_filtered_spectrum_gradients(fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(2, 2, 9, generator=generator, dtype=torch.complex128).requires_grad_()
    constant = torch.randn(9, generator=generator, dtype=torch.complex128)
    coefficients = [(0.5 + torch.rand(2, 3, generator=generator, dtype=torch.float64)) for _ in range(2)]
    given = (spectrum, *(value.requires_grad_() for value in coefficients))
    assert torch.autograd.gradcheck(lambda x, n, d: filter_spectrum(x, n, d, constant, 30.0, fused), given)


@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("corner", [100.0, 5000.0])
def test_prototype_is_scipys_digital_butterworth(order: int, corner: float) -> None:
    hertz = torch.linspace(0.0, 22050.0, 500, dtype=torch.float64)
    sections = scipy.signal.butter(order, corner, fs=44100, output="sos")
    _, expected = scipy.signal.sosfreqz(sections, worN=hertz.numpy(), fs=44100)
    result = butterworth(warped(hertz, torch.tensor(corner, dtype=torch.float64), 44100), order)
    assert np.abs(result.numpy() - expected).max() < 1e-8


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("order", [2, 4, 6])
def test_sections_are_scipys_digital_filters(order: int, fused: bool) -> None:
    """A Butterworth low-pass and a resonant high-pass in a row, over several of the kernel's blocks."""
    corner, damping = torch.tensor([5000.0], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    high_pass = section(torch.tensor([200.0]), 44100, (0.0, 0.0, 1.0), (1.0, damping, 1.0))
    sections = torch.stack([*butterworth_sections(corner, order, 44100), high_pass], dim=1)
    hertz = torch.linspace(0.0, 22000.0, 1500, dtype=torch.float64)
    result = section_product(sections, warped_axis(hertz, 44100), fused)[0].numpy()
    _, low = scipy.signal.sosfreqz(scipy.signal.butter(order, 5000.0, fs=44100, output="sos"), hertz.numpy(), fs=44100)
    edge = 2 * 44100 * math.tan(math.pi * 200.0 / 44100)
    digital = scipy.signal.bilinear([1, 0, 0], [1, 0.5 * edge, edge**2], 44100)
    _, high = scipy.signal.freqz(*digital, worN=hertz.numpy(), fs=44100)
    np.testing.assert_allclose(result, low * high, atol=1e-7)  # scipy's coefficients cancel near 0 Hz


@pytest.mark.parametrize("fused", [True, False])
def test_section_gradients(fused: bool) -> None:
    """With numerators that are 0 at a bin, where a gradient by division would fail."""
    sections = 0.5 + torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sections[:, 0, :2] = 0.0
    axis = torch.tensor([0.0, 0.3, 1.0, 2.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: section_product(s, axis, fused), sections.requires_grad_())


def test_a_corner_above_the_session_rate_is_held_below_it() -> None:
    hertz = torch.linspace(0.0, 4000.0, 50, dtype=torch.float64)
    corner = torch.tensor(18_000.0, dtype=torch.float64, requires_grad=True)
    response = butterworth(warped(hertz, corner, 8000), 2)
    held = float(bounded_frequency(corner.detach(), 8000))
    _, expected = scipy.signal.freqz(*scipy.signal.butter(2, held, fs=8000), worN=hertz.numpy(), fs=8000)
    assert np.abs(response.detach().numpy() - expected).max() < 1e-6
    response.abs().sum().backward()
    assert corner.grad is not None
    assert torch.isfinite(corner.grad)


def coefficients(low: float, high: float, rate: float) -> tuple[list[float], list[float]]:
    """The coupling as one second-order recursion, multiplied out from its two one-pole sections."""
    slow, fast = 1 - math.exp(-2 * math.pi * low / rate), 1 - math.exp(-2 * math.pi * high / rate)
    numerator = [(1 - slow) * fast, -(1 - slow) * fast, 0.0]
    return numerator, list(np.polymul([1, -(1 - slow)], [1, -(1 - fast)]))


@pytest.mark.parametrize("function", [coupling, coupling_parallel])
def test_coupling_against_scipy(function) -> None:  # type: ignore[no-untyped-def]
    audio = np.random.default_rng(0).standard_normal((2, 2, 30_000))
    expected = scipy.signal.lfilter(*coefficients(20.0, 9000.0, 176_400), audio)
    result = function(torch.from_numpy(audio), 20.0, 9000.0, 176_400).numpy()
    # The parallel form wraps what rings on after 95 dB of decay.
    assert np.abs(result - expected).max() < (1e-10 if function is coupling else 5e-5)


def test_coupling_blocks_dc_and_its_gradient_is_right() -> None:
    constant = coupling(torch.ones(1, 1, 20_000), 20.0, 9000.0, 44_100)
    assert float(constant[..., -1].abs()) < 1e-5
    audio = torch.randn(2, 1, 30, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: coupling(x, 500.0, 9000.0, 44_100), (audio,))


@pytest.mark.parametrize("samples", [1, 3, 4, 7, 1001])
def test_coupling_of_any_length_in_either_direction(samples: int) -> None:
    """Its four stretches and what is left over; backwards by the gradient, which is the same filter in reverse."""
    audio = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, samples))).requires_grad_()
    filters = coefficients(20.0, 9000.0, 176_400)
    output = coupling(audio, 20.0, 9000.0, 176_400)
    np.testing.assert_allclose(output.detach().numpy(), scipy.signal.lfilter(*filters, audio.detach()), atol=1e-12)
    (grad,) = torch.autograd.grad(output, audio, torch.ones_like(output))
    np.testing.assert_allclose(
        grad.flip(-1).numpy(), scipy.signal.lfilter(*filters, np.ones((1, 1, samples))), atol=1e-12
    )
