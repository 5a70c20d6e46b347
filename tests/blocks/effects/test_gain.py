"""The level control, constant and moving."""

from __future__ import annotations

import torch

from hitchain.blocks.effects.gain import Gain


def test_20_db_is_ten_times() -> None:
    audio = torch.rand(2, 2, 100, dtype=torch.float64)
    output = Gain()(audio, {"level": torch.tensor([20.0, -20.0], dtype=torch.float64)})
    torch.testing.assert_close(output, audio * torch.tensor([10.0, 0.1], dtype=torch.float64)[:, None, None])


def test_a_moving_level_is_interpolated_from_the_first_sample_to_the_last() -> None:
    output = Gain()(torch.ones(1, 1, 101), {"level": torch.tensor([[0.0, 20.0]])})
    torch.testing.assert_close(output[0, 0, [0, 50, 100]], torch.tensor([1.0, 5.5, 10.0]))
