"""A row of filters on whatever grids and segments it takes, against scipy in the time domain."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.block import LinearBlock
from hitchain.blocks.certificate import example
from hitchain.blocks.dsp import filters, linear
from hitchain.blocks.parameter import Choice


def _low_pass(frequency: float) -> tuple[linear.Response, np.ndarray]:
    """A resonant low-pass at 8 kHz sample rate, as a response and as scipy's sections."""
    b, a = filters.low_pass(torch.tensor([[frequency]], dtype=torch.float64), torch.tensor([[4.0]]).double(), 8000)

    def evaluate(n_fft: int) -> Tensor:
        return filters.sections_response(b, a, n_fft).unsqueeze(1)

    sections = torch.cat([b[0], a[0]], dim=-1).numpy()
    return linear.Response(evaluate, math.ceil(float(filters.ring_time(a, 120.0).max()))), sections


@pytest.mark.parametrize("seconds", [1, 20, 100], ids=["one grid", "a short and a long grid", "segments"])
def test_a_row_is_scipys_filters_one_after_the_other(seconds: int) -> None:
    audio = torch.randn(1, 2, 8000 * seconds, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    row = [_low_pass(frequency) for frequency in (3.0, 400.0, 1000.0)]
    output = linear.apply_responses(audio, [response for response, _ in row])
    expected = audio.numpy()
    for _, sections in row:
        expected = scipy.signal.sosfilt(sections, expected)
    error = np.linalg.norm(output.numpy() - expected) / np.linalg.norm(expected)
    assert 20 * np.log10(error) < -90.0


def test_a_gain_needs_no_transform() -> None:
    audio = torch.randn(1, 2, 100)
    row = [linear.Response(lambda n_fft: torch.full((1, 1, 1), 0.5 + 0.0j), 0)] * 2
    assert torch.equal(linear.apply_responses(audio, row), 0.25 * audio)


@pytest.mark.parametrize("name", [n for n in blocks.names() if issubclass(blocks.get(n), LinearBlock)])
def test_every_linear_block_is_the_same_on_a_short_grid_and_in_segments(name: str) -> None:
    """A response whose ringing its tail does not cover, or that sounds far before its time, would differ."""
    block = example(name)
    assert isinstance(block, LinearBlock)
    audio = 0.1 * torch.randn(1, 2, 100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        settings = block.defaults(1, torch.float64)
        for parameter in block.parameters:
            if not isinstance(parameter, Choice):
                settings[parameter.name] = parameter.from_unit(torch.rand(1, generator=generator).double())
        response = block.as_response(settings)
        if response.tail > 100_000:
            continue
        whole = linear.fft.apply_response(audio, response.evaluate(400_000), 400_000)
        grid = linear._grid([response])
        if response.evaluate(16).shape[-1] == 1:
            continue
        product = linear._lengthened(response.evaluate(grid), grid, max(400_000, grid))
        n_fft = linear.fft.fast_length(max(32768, linear.SHARE * response.tail))
        for other in (
            linear.fft.apply_response(audio, product, max(400_000, grid)),
            linear._overlap_save(audio, response.evaluate(n_fft), n_fft, response.tail),
        ):
            assert 20 * torch.log10((other - whole).norm() / whole.norm()) < -90.0
