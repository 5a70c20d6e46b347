"""The chorus against its formula, with sines delayed exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks
from hitchain.errors import UserError

RATE = 44100


@pytest.mark.parametrize("voices", [1, 2, 3, 4])
def test_each_voice_is_the_sine_at_its_own_delayed_time(voices: int, accuracy: Callable[..., None]) -> None:
    n = np.arange(RATE // 2)
    knobs = {"rate": 1.7, "depth": 2.0, "delay": 12.0, "spread": 0.6, "mix": 0.5}
    omega = 2.0 * math.pi * 3000.0
    block = blocks.create("effects/chorus", sample_rate=RATE, voices=voices)
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    heard = block(torch.tensor(np.sin(omega * n / RATE))[None, None], settings)[0].numpy()
    expected = np.zeros((2, len(n)))
    for voice in range(voices):
        swing = 2.0 * np.sin(2 * math.pi * (1.7 * n / RATE + voice / voices))
        place = 0.0 if voices == 1 else 2.0 * voice / (voices - 1) - 1.0
        angle = math.pi / 4 * (1.0 + 0.6 * place)
        delayed = np.sin(omega * (n / RATE - (12.0 + swing) / 1000.0))
        expected += np.array([[math.cos(angle)], [math.sin(angle)]]) * math.sqrt(2.0 / voices) * delayed
    expected = math.sqrt(0.5) * (np.sin(omega * n / RATE) + expected)
    error = 20.0 * math.log10(np.abs(heard - expected)[:, 800:].max())
    accuracy("effects/chorus", f"its formula on a 3 kHz sine, {voices} voices", error, bound=-70.0)


def test_it_is_no_louder_for_more_voices() -> None:
    noise = torch.randn(1, 1, 2 * RATE, generator=torch.Generator().manual_seed(0))
    levels = []
    for voices in (2, 8):
        block = blocks.create("effects/chorus", sample_rate=RATE, voices=voices)
        settings = {**block.defaults(), "mix": torch.ones(1)}
        levels.append(20 * math.log10(float(block(noise, settings)[..., RATE:].std())))
    assert abs(levels[0] - levels[1]) < 1.0


@pytest.mark.parametrize("voices", [0, 9, 2.5, True])
def test_a_wrong_number_of_voices_is_told(voices: object) -> None:
    with pytest.raises(UserError, match="voices="):
        blocks.create("effects/chorus", voices=voices)
