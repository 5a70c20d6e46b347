"""The bit crusher against pedalboard's, and against a loop that holds samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from distortions import RATE, phrase, process

from hitchain import blocks
from hitchain.blocks.parameter import START

Accuracy = Callable[..., None]


@pytest.mark.parametrize("bits", [4.0, 2.5])
def test_rounding_is_that_of_pedalboard(accuracy: Accuracy, bits: float) -> None:
    pedalboard = pytest.importorskip("pedalboard")
    audio = phrase().float()
    expected = pedalboard.Bitcrush(bit_depth=bits)(audio[0].numpy(), RATE)[0]
    output = process("effects/bit_crusher", audio, bits=bits, rate=44100.0)[0, 0].numpy()
    error = 20 * math.log10(np.linalg.norm(output - expected) / np.linalg.norm(expected) + 1e-12)
    accuracy("effects/bit_crusher", f"pedalboard.Bitcrush, {bits:g} bits", error, bound=-100.0)


def test_holding_is_that_of_a_loop_over_samples(accuracy: Accuracy) -> None:
    audio, rate = phrase(), 7000.0
    source = audio[0, 0].numpy()
    expected = []
    for t in range(len(source)):
        taken = math.floor(t / RATE * rate + 1e-9) / rate * RATE
        whole = math.floor(taken)
        following = source[min(whole + 1, len(source) - 1)]
        expected.append(source[whole] + (taken - whole) * (following - source[whole]))
    rounded = np.round(np.array(expected) * 64.0) / 64.0
    output = process("effects/bit_crusher", audio, bits=6.0, rate=rate)[0, 0].numpy()
    error = 20 * math.log10(np.linalg.norm(output - rounded) / np.linalg.norm(rounded) + 1e-15)
    accuracy("effects/bit_crusher", "a loop over samples", error, bound=-120.0)


def test_a_window_is_that_stretch_of_the_whole() -> None:
    block = blocks.create("effects/bit_crusher", sample_rate=RATE)
    settings, audio, late = block.defaults(1, torch.float64), phrase(), 5000
    settings["rate"] = torch.tensor([3001.0], dtype=torch.float64)
    start = torch.tensor(late / RATE, dtype=torch.float64)
    window = block(audio[..., late:], {**settings, START: start})
    assert torch.allclose(window[..., 100:], block(audio, settings)[..., late + 100 :], atol=1e-9)


def test_the_gradient_to_the_audio_is_straight_through() -> None:
    audio = phrase().requires_grad_()
    process("effects/bit_crusher", audio, bits=3.0, rate=44100.0).sum().backward()
    assert audio.grad is not None
    assert torch.allclose(audio.grad, torch.ones_like(audio))
