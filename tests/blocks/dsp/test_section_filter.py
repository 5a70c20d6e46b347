"""Sections run in time, against scipy.signal.sosfilt: a loop over samples in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor
from torch.autograd import gradcheck

from hitchain.blocks.dsp import filters, section_filter
from hitchain.blocks.dsp.section_filter import BLOCK, filter_sections


def peaks(frequency: float, gain: float, q: float, rate: int, sections: int = 6, batch: int = 1) -> filters.Section:
    """The same peak several times over."""
    return filters.peak(*(torch.full((batch, sections), v, dtype=torch.float64) for v in (frequency, gain, q)), rate)


def various(batch: int, sections: int, seed: int = 0) -> filters.Section:
    """Peaks all over the range."""
    generator = torch.Generator().manual_seed(seed)
    frequency, gain, q = torch.rand(3, batch, sections, generator=generator, dtype=torch.float64)
    return filters.peak(40.0 * 400.0**frequency, 24.0 * gain - 12.0, 0.3 * 20.0**q, 44100)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0 - 1.0


def sosfilt(audio: Tensor, b: Tensor, a: Tensor) -> np.ndarray:
    sections = torch.cat([b, a], dim=-1).expand(len(audio), -1, -1).numpy()
    return np.stack([scipy.signal.sosfilt(sos, item) for sos, item in zip(sections, audio.numpy(), strict=True)])


def error_db(output: Tensor, expected: np.ndarray) -> float:
    """The largest error against the largest sample."""
    return 20 * math.log10(np.abs(output.double().numpy() - expected).max() / np.abs(expected).max() + 1e-20)


@pytest.mark.parametrize("samples", [1, BLOCK - 1, BLOCK, 3 * BLOCK + 1, 5000])
@pytest.mark.parametrize("sections", [1, 2, 5])
def test_it_is_sosfilt(samples: int, sections: int) -> None:
    b, a = various(3, sections)
    audio = noise(3, 2, samples)
    expected = sosfilt(audio, b, a)
    assert error_db(filter_sections(audio, b, a), expected) < -220.0
    assert error_db(filter_sections(audio.float(), b, a), expected) < -120.0


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize("gain", [-18.0, 18.0])
@pytest.mark.parametrize("parallel", [False, True])
def test_it_is_sosfilt_at_the_lowest_frequency_and_highest_q(rate: int, gain: float, parallel: bool) -> None:
    """Six sections at 20 Hz, Q 10: in a direct form, float32 states would lose them altogether."""
    b, a = peaks(20.0, gain, 10.0, rate)
    audio = noise(1, 2, rate // 2)
    expected = sosfilt(audio, b, a)
    assert error_db(filter_sections(audio, b, a, parallel), expected) < -150.0  # sosfilt itself rounds
    assert error_db(filter_sections(audio.float(), b, a, parallel), expected) < -115.0


@pytest.mark.parametrize(
    ("b", "a"),
    [
        ([0.5, 0.0, 0.0], [1.0, 0.0, 0.0]),  # a gain
        ([0.2, -0.7, 0.3], [1.0, 0.0, 0.0]),  # no feedback
        ([0.1, 0.1, 0.0], [1.0, -0.8, 0.0]),  # of first order
        ([1.0, -2.0, 1.0], [1.0, -1.9, 0.9024]),  # real poles
        ([1.0, 0.5, 0.1], [1.0, -1.8, 0.81]),  # a double pole
        ([0.0, 0.0, 1.0], [1.0, 0.6, 0.3]),  # late by two samples: what follows must not divide by b0
        ([3.0, 1.0, 0.5], [2.0, 0.4, 0.2]),  # a0 other than 1
    ],
)
def test_any_stable_section(b: list[float], a: list[float]) -> None:
    section = (torch.tensor([[b, b]], dtype=torch.float64), torch.tensor([[a, a]], dtype=torch.float64))
    audio = noise(2, 1, 400)
    expected = sosfilt(audio, *(polynomial / section[1][..., :1] for polynomial in section))
    np.testing.assert_allclose(filter_sections(audio, *section).numpy(), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("samples", [5, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
def test_gradients(samples: int, shared: bool, parallel: bool) -> None:
    b, a = (tensor.requires_grad_() for tensor in various(1 if shared else 2, 3))
    audio = noise(2, 2, samples).requires_grad_()
    assert gradcheck(lambda *given: filter_sections(*given, parallel=parallel), (audio, b, a))


def test_gradient_of_the_audio_alone() -> None:
    """Fixed sections, as in a measuring filter: the adjoint filter is the filter run backwards in time."""
    b, a = various(2, 3)
    audio, cotangent = noise(2, 2, 500).requires_grad_(), noise(2, 2, 500, seed=1)
    (found,) = torch.autograd.grad(filter_sections(audio, b, a), audio, cotangent)
    np.testing.assert_allclose(found.flip(-1).numpy(), sosfilt(cotangent.flip(-1), b, a), rtol=1e-11, atol=1e-11)


def test_float32_gradients_are_those_of_float64() -> None:
    """To the knobs of a narrow band at 20 Hz, whose coefficients alone would cancel."""
    found = []
    for dtype in (torch.float32, torch.float64):
        knobs = [torch.full((1, 1), value, dtype=torch.float64, requires_grad=True) for value in (20.0, 12.0, 10.0)]
        output = filter_sections(noise(1, 2, 20000).to(dtype), *filters.peak(*knobs, 44100))
        found.append(torch.cat(torch.autograd.grad(output, knobs, noise(1, 2, 20000, seed=1).to(dtype))))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_compiled_matrices_are_the_products() -> None:
    """Running the sections sample by sample, against powers of the series' state space, with their gradients."""
    sections = [tensor.detach().requires_grad_() for tensor in section_filter.integrators(*various(2, 3))]
    powers = section_filter.block_matrices(*section_filter.series(*sections))
    run = section_filter._BlockMatrices.apply(*sections)
    weights = [noise(*matrix.shape, seed=seed) for seed, matrix in enumerate(powers)]
    for one, other in zip(powers, run, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(made, sections, weights) for made in (powers, run)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_items_stand_alone_and_runs_repeat() -> None:
    b, a = various(3, 4)
    audio = noise(3, 2, 1000).float()
    together = filter_sections(audio, b, a)
    assert torch.equal(together, filter_sections(audio, b, a))
    changed = audio.clone()
    changed[1] = torch.inf
    assert torch.equal(filter_sections(changed, b, a)[[0, 2]], together[[0, 2]])
    torch.testing.assert_close(filter_sections(audio[1:2], b[1:2], a[1:2]), together[1:2], rtol=0, atol=1e-5)


def test_nothing_in_nothing_out() -> None:
    b, a = various(1, 2)
    assert filter_sections(torch.zeros(1, 2, 0), b, a).shape == (1, 2, 0)
    assert torch.equal(filter_sections(torch.zeros(1, 2, 100), b, a), torch.zeros(1, 2, 100))


@pytest.mark.parametrize("blocks", [0, 1, 2, 7, 64, 101])
def test_scan_is_the_loop(blocks: int) -> None:
    transition, initial, drive = noise(2, 4, 4) * 0.4, noise(2, 4, seed=1), noise(2, blocks, 4, seed=2)
    expected = [initial]
    for k in range(blocks):
        expected.append((transition @ expected[-1][..., None]).squeeze(-1) + drive[:, k])
    states = section_filter._scan(transition, initial, drive)
    torch.testing.assert_close(states, torch.stack(expected, dim=1), rtol=1e-12, atol=1e-12)
    compiled = torch.cat([initial[:, None], drive], dim=1)
    section_filter._advance(transition, compiled, parallel=False)
    torch.testing.assert_close(compiled, states, rtol=1e-12, atol=1e-12)
    compiled = torch.cat([drive.flip(1), initial[:, None]], dim=1)
    section_filter._advance(transition, compiled, parallel=False, backwards=True)
    torch.testing.assert_close(compiled.flip(1), states, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_is_cpu() -> None:
    found = []
    for device in ("cpu", "cuda"):
        leaves = [tensor.to(device).requires_grad_() for tensor in (noise(2, 2, 5000), *various(2, 6))]
        output = filter_sections(*leaves)
        found.append([output, *torch.autograd.grad(output.square().sum(), leaves)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-9, atol=1e-9)
