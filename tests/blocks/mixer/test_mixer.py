"""The channel's fader and its sends against their formulas, in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks

Accuracy = Callable[..., None]


def play(name: str, audio: np.ndarray, **knobs: float) -> np.ndarray:
    block = blocks.create(name)
    settings = {**block.defaults(1, torch.float64)}
    settings |= {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(block(torch.from_numpy(audio)[None], settings)[0])


def decibels(output: np.ndarray, expected: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max() + 1e-20))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("level", "pan"), [(0.0, 0.0), (-7.3, -0.6), (12.0, 1.0), (-20.0, 0.35)])
def test_fader_is_the_constant_power_law(accuracy: Accuracy, channels: int, level: float, pan: float) -> None:
    """Half the power on each side in the centre: gains whose squares share 2 by (1 -+ sin(pan 90 degrees)) / 2."""
    audio = np.random.default_rng(0).uniform(-1, 1, (channels, 5000))
    shares = (1.0 + np.array([-1.0, 1.0]) * np.sin(pan * np.pi / 2)) / 2
    expected = 10 ** (level / 20) * np.sqrt(2.0 * shares)[:, None] * audio
    output = play("mixer/fader", audio, level=level, pan=pan)
    assert output.shape == (2, 5000)
    accuracy("mixer/fader", "numpy: constant-power pan law", decibels(output, expected), bound=-200.0)


@pytest.mark.parametrize("level", [-60.0, -12.0, 0.0, 12.0])
def test_send_is_a_level(accuracy: Accuracy, level: float) -> None:
    audio = np.random.default_rng(1).uniform(-1, 1, (2, 5000))
    output = play("mixer/send", audio, level=level)
    accuracy("mixer/send", "numpy: 10^(level / 20) x", decibels(output, 10 ** (level / 20) * audio), bound=-200.0)
