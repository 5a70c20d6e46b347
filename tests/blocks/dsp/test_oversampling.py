"""Short transforms against the long one that they stand for."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from hitchain.blocks.dsp.oversampling import to_samples, to_spectrum

FACTORS = [1, 2, 3, 4, 8]


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("n_fft", [12, 9000])
def test_short_transforms_are_the_long_one(n_fft: int, factor: int) -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 1, n_fft * factor, generator=generator, dtype=torch.float64)
    spectrum = torch.fft.rfft(audio)[..., : n_fft // 2 + 1]
    torch.testing.assert_close(to_spectrum(audio, n_fft, factor), spectrum, rtol=0, atol=1e-10)
    expected = torch.fft.irfft(spectrum, n=n_fft * factor)
    torch.testing.assert_close(to_samples(spectrum, n_fft, factor), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("phased", [True, False])
def test_gradients(factor: int, phased: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(1, 2, 6 * factor, generator=generator, dtype=torch.float64).requires_grad_()
    spectrum = torch.randn(1, 2, 4, generator=generator, dtype=torch.complex128).requires_grad_()
    assert gradcheck(lambda x: to_spectrum(x, 6, factor, phased), (audio,))
    assert gradcheck(lambda x: to_samples(x, 6, factor, phased), (spectrum,))


def test_single_precision_is_as_exact_as_the_long_transform() -> None:
    audio = torch.randn(1, 1, 4 * 20_000, generator=torch.Generator().manual_seed(0))
    exact = torch.fft.rfft(audio.double())[..., :10_001]
    error = (to_spectrum(audio, 20_000, 4) - exact).abs().max()
    assert float(error) < 2.0 * float((torch.fft.rfft(audio)[..., :10_001] - exact).abs().max())
