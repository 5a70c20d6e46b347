"""Reading a bank of waveforms: the compiled loop against tensor operations, and its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hitchain.blocks.dsp import wavetable
from hitchain.blocks.dsp.voices import Voices

RATE = 8000


def _given(dtype: torch.dtype) -> tuple[Voices, Tensor, Tensor, Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    turns = torch.arange(64, dtype=torch.float64) / 64
    waves = [torch.sin(2 * torch.pi * k * turns) for k in (1, 2, 3, 4, 1, 2)]
    bank = torch.stack(waves).view(2, 3, 64).to(dtype)
    zero = torch.zeros(2, dtype=torch.int64)
    voices = Voices(zero, zero, zero, torch.tensor([400, 400]), 400, RATE)
    drawn = torch.rand(4, 2, 400, generator=generator, dtype=torch.float64)
    inputs = [0.01 * drawn[0, :, 0], 100.0 + 300.0 * drawn[1, :, :2], drawn[2, :, :2], (1.98 * drawn[3] + 0.01)]
    inputs[3] = inputs[3].to(dtype)
    return voices, bank, torch.tensor([0, 1]), torch.tensor([0.0, 0.3], dtype=torch.float64), inputs


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_compiled_is_the_reference(dtype: torch.dtype, tolerance: float) -> None:
    voices, bank, level, phase, (since, frequency, gain, position) = _given(dtype)
    found, expected = (
        way(bank, level, since, frequency, phase, gain, position, voices)
        for way in (wavetable.scan, wavetable.scan_reference)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_gradients_agree_and_are_right() -> None:
    voices, bank, level, phase, given = _given(torch.float64)
    inputs = [value.requires_grad_() for value in given]

    def played(since: Tensor, frequency: Tensor, gain: Tensor, position: Tensor) -> Tensor:
        return wavetable.scan(bank, level, since, frequency, phase, gain, position, voices)

    weights = torch.randn(2, 400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    since, frequency, gain, position = inputs
    reference = wavetable.scan_reference(bank, level, since, frequency, phase, gain, position, voices)
    ours = torch.autograd.grad((weights * played(*inputs)).sum(), inputs)
    theirs = torch.autograd.grad((weights * reference).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(
        lambda *some: (weights * played(*some)).sum(), inputs, eps=1e-7, atol=1e-3, rtol=1e-4
    )
