"""Reading between samples: the compiled form against the tensor form, and its gradients."""

from __future__ import annotations

import pytest
import torch

from hitchain.blocks.dsp.interpolation import band_limit, read_along, read_along_reference


def _voices() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    begin = torch.tensor([40.3, 100.0, -20.7, 380.2], dtype=torch.float64)
    step = torch.tensor([0.31, 1.0, 2.45, 1.37], dtype=torch.float64)
    return begin, step, torch.tensor([150, 200, 180, 90])


@pytest.mark.parametrize("loop", [(0.0, 0.0), (210.0, 333.0)])
def test_compiled_and_tensor_forms_agree(loop: tuple[float, float]) -> None:
    source = torch.randn(2, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    begin, step, count = _voices()
    let_go = torch.tensor([1000, 40, 90, 5])
    ours = read_along(source, begin, step, count, 200, loop, let_go)
    theirs = read_along_reference(source, begin, step, count, 200, loop, let_go)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_gradients() -> None:
    source = torch.randn(2, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    begin, step, count = _voices()
    begin.requires_grad_()
    step.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda b, s: read_along(source, b, s, count, 200, (210.0, 333.0)), (begin, step), eps=1e-7, atol=1e-4
    )


def test_band_limit_leaves_nothing_above_and_all_below() -> None:
    time = torch.arange(8192, dtype=torch.float64)
    low, high = torch.sin(0.3 * torch.pi * time), torch.sin(0.52 * torch.pi * time)
    window = slice(2000, 6000)
    assert (band_limit(low, 0.5) - low)[window].abs().max() < 1e-6
    assert band_limit(high, 0.5)[window].abs().max() < 1e-5
    assert band_limit(low, 1.0) is low
