"""The room against a loop over images, one wall after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks
from hitchain.blocks.effects.room import CLOSEST, EARS
from hitchain.errors import UserError

RATE = 44100
Accuracy = Callable[..., None]
SIZE, SOURCE, LISTENER, ABSORPTION = (6.0, 4.5, 2.8), (1.8, 1.8, 1.26), (4.2, 2.475, 1.4), 0.35


def mirrored(order: int) -> dict[tuple[float, ...], int]:
    """Images found by mirroring in each wall again and again: their places and fewest reflections."""
    found = {SOURCE: 0}
    newest = [SOURCE]
    for number in range(1, order + 1):
        following = []
        for place in newest:
            for axis in range(3):
                for wall in (0.0, SIZE[axis]):
                    image = tuple(round(2 * wall - p, 9) if i == axis else p for i, p in enumerate(place))
                    if image not in found:
                        found[image] = number
                        following.append(image)
        newest = following
    return found


def test_room_is_the_loop_over_images(accuracy: Accuracy) -> None:
    block = blocks.create("effects/room", order=6)
    settings = {**block.defaults(1, torch.float64), "mix": torch.ones(1).double()}
    settings |= {k: torch.tensor([v], dtype=torch.float64) for k, v in (("absorption", ABSORPTION), ("tone", 18000.0))}
    for name, value in {"length": 6.0, "width": 4.5, "height": 2.8, "source_x": 0.3, "source_y": 0.4}.items():
        settings[name] = torch.tensor([value], dtype=torch.float64)
    settings |= {k: torch.tensor([v], dtype=torch.float64) for k, v in (("listener_x", 0.7), ("listener_y", 0.55))}
    n_fft = 1 << 14
    response = block.response(settings, n_fft)[0].numpy()
    hertz = np.fft.rfftfreq(n_fft, 1 / RATE)
    k = math.tan(math.pi * 18000.0 / RATE)
    low_pass = k * (1 + np.exp(-2j * np.pi * hertz / RATE)) / (1 + k - (1 - k) * np.exp(-2j * np.pi * hertz / RATE))
    direct = math.sqrt(math.dist(SOURCE, LISTENER) ** 2 + CLOSEST**2)
    expected = np.zeros_like(response)
    for side, offset in enumerate((-EARS / 2, EARS / 2)):
        ear = (LISTENER[0], LISTENER[1] + offset, LISTENER[2])
        for place, number in mirrored(6).items():
            r = math.sqrt(math.dist(place, ear) ** 2 + CLOSEST**2)
            gain = (1 - ABSORPTION) ** (number / 2) * direct / r
            expected[side] += gain * low_pass * np.exp(-2j * np.pi * hertz * (r - direct + EARS) / 343.2)
    heard = hertz < 16000.0  # above, the windowed sinc rolls off
    error = 20 * math.log10(np.abs((response - expected)[:, heard]).max() / np.abs(expected).max())
    accuracy("effects/room", "a loop over images, up to 16 kHz", error, bound=-55.0)


def test_orders_out_of_reach_are_refused() -> None:
    with pytest.raises(UserError, match="order=21"):
        blocks.create("effects/room", order=21)
