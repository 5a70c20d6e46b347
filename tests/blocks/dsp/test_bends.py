"""Bent lines: the antialiased mean against quadrature, its gradients, and the two forms against each other."""

from __future__ import annotations

import pytest
import scipy.integrate
import torch

from hitchain.blocks.dsp.bends import CLIPPER, Bends, bend, bend_mean, bend_mean_parallel
from hitchain.blocks.effects.wavefolder import BUCHLA

CURVES = [CLIPPER, BUCHLA]


@pytest.mark.parametrize("curve", CURVES)
def test_each_sample_is_the_mean_over_the_step(curve: Bends) -> None:
    audio = torch.tensor([0.2, 0.9, -1.4, -1.40001, 3.0, 3.0, 0.0], dtype=torch.float64)
    bias, knee = (torch.tensor([value], dtype=torch.float64) for value in (0.3, 0.2))
    result, before = bend_mean(audio[None, None], bias, knee, curve)[0, 0], 0.3
    rest = float(bend(bias, knee, curve))
    for sample, value in zip((audio + 0.3).tolist(), result.tolist(), strict=True):
        line = bend(torch.linspace(before, sample, 20_001, dtype=torch.float64), knee, curve)
        assert value == pytest.approx(scipy.integrate.simpson(line, dx=1.0 / 20_000) - rest, abs=1e-6)
        before = sample


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio = 1.5 * torch.randn(2, 2, 20, dtype=torch.float64, generator=generator)
    audio[..., 7:9] = audio[..., 6:7]  # steps of nothing
    bias, knee = torch.tensor([0.2, -0.4], dtype=torch.float64), torch.tensor([0.3, 0.9], dtype=torch.float64)
    return [value.requires_grad_() for value in (audio, bias, knee)]


@pytest.mark.parametrize("curve", CURVES)
def test_gradients_are_those_of_finite_differences(curve: Bends) -> None:
    assert torch.autograd.gradcheck(lambda *given: bend_mean(*given, curve), inputs(), atol=1e-5)


@pytest.mark.parametrize("curve", CURVES)
def test_compiled_and_tensor_forms_agree(curve: Bends) -> None:
    given = inputs()
    assert torch.allclose(bend_mean(*given, curve), bend_mean_parallel(*given, curve), atol=1e-9)
