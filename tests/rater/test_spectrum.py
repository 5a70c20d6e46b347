"""Power of frames against torch.stft, and its gradient against finite differences."""

from __future__ import annotations

import pytest
import torch

from hitchain.rater.frontend import FrontEnd, FrontEndSettings
from hitchain.rater.spectrum import power_frames


@pytest.mark.parametrize(("length", "n_fft", "hop"), [(64, 64, 16), (50, 64, 20), (64, 64, 64), (33, 48, 7)])
def test_it_is_stft_squared(length: int, n_fft: int, hop: int) -> None:
    signals = torch.randn(3, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    window = torch.hann_window(length, dtype=torch.float64)
    spectrum = torch.stft(
        signals, n_fft, hop, length, window, center=True, pad_mode="reflect", return_complex=True
    ).abs()
    power = power_frames(signals, window, n_fft, hop, n_fft // 2 + 1)
    torch.testing.assert_close(power, spectrum.square().transpose(1, 2), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("used", [9, 13])
def test_the_gradient_is_that_of_differences(used: int) -> None:
    generator = torch.Generator().manual_seed(1)
    signals = torch.randn(2, 60, generator=generator, dtype=torch.float64, requires_grad=True)
    window = torch.hann_window(20, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: power_frames(x, window, 24, 7, used), signals)


@pytest.mark.parametrize("used", [9, 13])
def test_the_gradient_has_a_gradient_where_asked_for(used: int) -> None:
    generator = torch.Generator().manual_seed(1)
    signals = torch.randn(2, 60, generator=generator, dtype=torch.float64, requires_grad=True)
    window = torch.hann_window(20, dtype=torch.float64)
    twice = power_frames(signals, window, 24, 7, used, twice_differentiable=True)
    torch.testing.assert_close(twice, power_frames(signals, window, 24, 7, used))
    for pick in (twice, power_frames(signals, window, 24, 7, used)):
        (gradient,) = torch.autograd.grad(pick.sin().sum(), signals, retain_graph=True)
        torch.testing.assert_close(gradient, torch.autograd.grad(twice.sin().sum(), signals, retain_graph=True)[0])
    assert torch.autograd.gradgradcheck(lambda x: power_frames(x, window, 24, 7, used, True), signals)


def test_a_penalty_on_the_gradient_of_the_front_end_can_be_descended() -> None:
    audio = torch.randn(1, 2, 8000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    frames = FrontEnd(twice_differentiable=True)(audio, 8000)
    (gradient,) = torch.autograd.grad(frames.square().sum(), audio, create_graph=True)
    (again,) = torch.autograd.grad(gradient.square().sum(), audio)
    assert torch.isfinite(again).all()
    assert again.abs().max() > 0.0


def test_filters_first_made_without_gradients_serve_those_who_want_them() -> None:
    """They are kept between calls: a rating in inference mode must not spoil a climb after it."""
    settings = FrontEndSettings(mel_bands=37)
    audio = torch.randn(1, 2, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        FrontEnd(settings)(audio, 16_000)
    climbed = audio.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(FrontEnd(settings)(climbed, 16_000).sum(), climbed)
    assert bool(torch.isfinite(gradient).all())
