"""The compiled strike against its parts put together one by one, which have references of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hitchain.blocks.dsp.noise import PERIOD
from hitchain.blocks.dsp.percussion import BANDS, Layer, Skin, bands, strike, strike_reference
from hitchain.blocks.dsp.voices import Voices

RATE = 44100
COUNTS = (900, 1, 257, 800)


def _leaf(values: list[float] | list[list[float]], dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def _inputs(dtype: torch.dtype, with_skin: bool) -> tuple[Tensor, Skin | None, list[Layer], list[Tensor], Voices]:
    generator = torch.Generator().manual_seed(0)
    count = torch.tensor(COUNTS)
    since = _leaf([0.0000071, 0.0003, 0.2, 0.001], torch.float64)
    skin = Skin(
        pitch=_leaf([[52.0, 83.0], [185.0, 340.0], [82.0, 130.7], [2000.0, 3000.0]], dtype),
        weight=_leaf([[0.6, 0.2], [0.3, 0.3], [1.0, 0.0], [0.1, -0.3]], dtype),
        sweep=_leaf([30.0, 3.0, 6.0, 0.0], dtype),
        sweep_time=0.022,
        seconds=_leaf([0.4, 0.2, 0.3, 0.01017], dtype),  # the last one ends within its voice
    )
    layers = []
    for used, position in (((0, 1, 4, 7), [5, 70, -3, PERIOD - 300]), ((7, 8, 9, 10), [9, 0, PERIOD - 1, 44])):
        weights = torch.randn(4, len(BANDS), dtype=torch.float64, generator=generator).to(dtype).requires_grad_()
        seconds = _leaf([0.009123, 0.2, 0.3, 0.05], dtype)
        layers.append(Layer(weights, used, torch.tensor(position), seconds))
    leaves = [since, *(leaf for layer in layers for leaf in (layer.weights, layer.seconds))]
    if with_skin:
        leaves += [skin.pitch, skin.weight, skin.sweep, skin.seconds]
    places = torch.zeros(4, dtype=torch.int64)
    voices = Voices(places, places, places, count, int(count.max()), RATE)
    return since, skin if with_skin else None, layers, leaves, voices


@pytest.mark.parametrize("with_skin", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_strike_equals_its_parts_and_so_do_its_gradients(with_skin: bool, dtype: torch.dtype, tolerance: float) -> None:
    since, skin, layers, leaves, voices = _inputs(dtype, with_skin)
    heard = torch.arange(voices.span) < voices.count[:, None]
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(heard.shape, generator=generator, dtype=torch.float64).to(dtype) * heard
    results = []
    for way in (strike, strike_reference):
        audio = way(bands(0, RATE), voices, since, skin, layers, 0.0015)
        results.append((audio.detach() * heard, *torch.autograd.grad(audio, leaves, weights)))
    for ours, expected in zip(*results, strict=True):
        assert expected.abs().max() > 0
        scale = float(expected.abs().max())
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance * scale)
