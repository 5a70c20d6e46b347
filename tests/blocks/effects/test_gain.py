"""The level control, constant and moving."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pedalboard
import torch

from hitchain.blocks.effects.gain import Gain

Accuracy = Callable[..., None]


def test_it_is_juces_gain(accuracy: Accuracy) -> None:
    """-120 dB: both in float32, JUCE's after a ramp from 0 dB, which a second before has ended."""
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 88200)).astype(np.float32)
    expected = pedalboard.Gain(gain_db=-7.3)(audio, 44100)[:, 44100:]
    output = Gain()(torch.from_numpy(audio)[None], {"level": torch.tensor([-7.3])})[0, :, 44100:].numpy()
    error = 20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max() + 1e-20)
    accuracy("effects/gain", "pedalboard (JUCE) Gain", error, bound=-120.0)


def test_20_db_is_ten_times() -> None:
    audio = torch.rand(2, 2, 100, dtype=torch.float64)
    output = Gain()(audio, {"level": torch.tensor([20.0, -20.0], dtype=torch.float64)})
    torch.testing.assert_close(output, audio * torch.tensor([10.0, 0.1], dtype=torch.float64)[:, None, None])


def test_a_moving_level_is_interpolated_from_the_first_sample_to_the_last() -> None:
    output = Gain()(torch.ones(1, 1, 101), {"level": torch.tensor([[0.0, 20.0]])})
    torch.testing.assert_close(output[0, 0, [0, 50, 100]], torch.tensor([1.0, 5.5, 10.0]))
