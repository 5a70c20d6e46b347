"""Banks of decaying modes: against the plain sum, on the matrix product's way, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hitchain.blocks.dsp.modes import ring, ring_reference
from hitchain.blocks.dsp.voices import Voices

RATE = 8000


def _given(modes: int, span: int) -> tuple[Voices, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    zero = torch.zeros(3, dtype=torch.int64)
    voices = Voices(zero, zero, zero, torch.tensor([span, span, span // 2]), span, RATE)
    drawn = torch.rand(5, 3, modes, generator=generator, dtype=torch.float64)
    amplitude = torch.complex(drawn[0] - 0.5, drawn[1] - 0.5)
    rate = torch.complex(-40.0 * drawn[2].square(), 20000.0 * drawn[3])
    return voices, 0.3 * drawn[4, :, 0], amplitude, rate


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("modes", [1, 4, 11])
def test_is_the_sum_of_its_modes(modes: int, dtype: torch.dtype, tolerance: float) -> None:
    voices, since, amplitude, rate = _given(modes, 3000)
    time = since[:, None, None] + torch.arange(3000, dtype=torch.float64) / RATE
    expected = (amplitude[:, :, None] * torch.exp(rate[:, :, None] * time)).real.sum(dim=1)
    for audio in (
        ring(since, amplitude, rate, voices, dtype),
        ring_reference(since, amplitude, rate, voices, dtype),
    ):
        for voice in range(3):
            count = int(voices.count[voice])
            torch.testing.assert_close(
                audio[voice, :count].double(), expected[voice, :count], rtol=0, atol=tolerance * modes
            )


def test_gradients_against_finite_differences_and_the_reference() -> None:
    voices, since, amplitude, rate = _given(6, 700)
    inputs = [value.requires_grad_() for value in (since, amplitude, rate)]
    heard = torch.arange(700) < voices.count[:, None]

    def played(*given: Tensor) -> Tensor:
        return torch.where(heard, ring(*given, voices, torch.float64), 0.0)

    assert torch.autograd.gradcheck(played, inputs, eps=1e-7, atol=1e-4, rtol=1e-4)
    weights = torch.randn(3, 700, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * heard
    ours = torch.autograd.grad((weights * ring(*inputs, voices, torch.float64)).sum(), inputs)
    theirs = torch.autograd.grad((weights * ring_reference(*inputs, voices, torch.float64)).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_modes_from_the_top_on_are_left_out() -> None:
    voices, since, amplitude, rate = _given(6, 500)
    top = torch.tensor([2, 6, 0])
    kept = torch.where(torch.arange(6) < top[:, None], amplitude, 0.0)
    cut, silenced = (
        ring(since, amplitude, rate, voices, torch.float64, top),
        ring(since, kept, rate, voices, torch.float64),
    )
    torch.testing.assert_close(cut[:2], silenced[:2])
    assert not cut[2, :250].any()
