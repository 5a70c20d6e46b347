"""The room against a loop over its images with exact phases, and against what geometry says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hitchain.blocks.mics.room import Room
from hitchain.errors import UserError

RATE = 44_100
SPEED = 343.2


def chosen(block: Room, **knobs: float) -> dict[str, Tensor]:
    settings = block.defaults(1, torch.float64)
    return {**settings, **{key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}}


def by_loop(knobs: dict[str, float], order: int, hertz: np.ndarray) -> np.ndarray:
    """(2, bins): mirror, measure, add."""
    sides = np.array([knobs["length"], knobs["breadth"], knobs["height"]])
    source = np.array([knobs["source_along"] * sides[0], knobs["source_across"] * sides[1], 0.9])
    middle = np.array([knobs["mic_along"] * sides[0], knobs["mic_across"] * sides[1], 1.2])
    aim = (source - middle) * np.array([1.0, 1.0, 0.0])
    aim = aim / math.sqrt(aim @ aim + 0.01)
    corner = math.tan(math.pi * knobs["damping"] / RATE)  # one pole by the bilinear transform
    wall = math.sqrt(1 - knobs["absorption"]) / (1 + 1j * np.tan(np.pi * hertz / RATE) / corner)
    result = np.zeros((2, len(hertz)), complex)
    for channel, side in enumerate((-0.5, 0.5)):
        point = middle + np.array([0.0, side * knobs["spacing"] / 100, 0.0])
        for x in range(-order, order + 1):
            for y in range(-order + abs(x), order - abs(x) + 1):
                rest = order - abs(x) - abs(y)
                for z in range(-rest, rest + 1):
                    place = [
                        n * side_ + (own if n % 2 == 0 else side_ - own)
                        for n, side_, own in zip((x, y, z), sides, source, strict=True)
                    ]
                    path = np.array(place) - point
                    distance = math.sqrt(path @ path)
                    pattern = 1 - knobs["pattern"] + knobs["pattern"] * (path @ aim) / distance
                    late = np.exp(-2j * np.pi * hertz * distance / SPEED)
                    result[channel] += pattern / distance * late * wall ** (abs(x) + abs(y) + abs(z))
    return result


KNOBS = {
    "length": 5.0, "breadth": 3.7, "height": 2.6, "absorption": 0.3, "damping": 5000.0, "source_along": 0.3,
    "source_across": 0.4, "mic_along": 0.75, "mic_across": 0.6, "spacing": 35.0, "pattern": 0.4, "level": 0.0,
}  # fmt: skip


def test_against_a_loop_over_images(accuracy: Any) -> None:
    block, n_fft = Room(RATE, order=4), 1 << 15
    found = block.response(chosen(block, **KNOBS), n_fft)[0].numpy()
    hertz = np.arange(n_fft // 2 + 1) * RATE / n_fft
    band = (hertz > 20.0) & (hertz < 16_000.0)
    expected = by_loop(KNOBS, 4, hertz[band])
    error = np.abs(found[:, band] - expected)
    level = 10 * math.log10((error**2).sum() / (np.abs(expected) ** 2).sum())
    accuracy("mics/room", "a loop over images with exact phases, to 16 kHz", level, bound=-50.0)
    low = hertz[band] < 8000.0
    level = 10 * math.log10((error[:, low] ** 2).sum() / (np.abs(expected[:, low]) ** 2).sum())
    accuracy("mics/room", "a loop over images with exact phases, to 8 kHz", level, bound=-65.0)


def test_the_direct_sound_comes_first_and_by_1_over_r() -> None:
    block = Room(RATE, order=1)
    settings = chosen(block, **{**KNOBS, "absorption": 0.95, "pattern": 0.0, "spacing": 0.0})
    audio = torch.zeros(1, 1, 4000, dtype=torch.float64)
    audio[..., 0] = 1.0
    heard = block(audio, settings)[0]
    assert torch.allclose(heard[0], heard[1], atol=1e-9)
    distance = math.sqrt((0.45 * 5.0) ** 2 + (0.2 * 3.7) ** 2 + 0.3**2)
    assert int(heard[0].abs().argmax()) == pytest.approx(distance / SPEED * RATE, abs=1.0)
    near = heard[0, : round(distance / SPEED * RATE) + 20]
    assert float(near.sum()) == pytest.approx(1 / distance, rel=0.02)


def test_a_harder_room_is_louder_and_errors_are_said() -> None:
    block = Room(RATE, order=6)
    soft, hard = (
        float(block.response(chosen(block, **{**KNOBS, "absorption": value}), 1 << 15).abs().square().mean())
        for value in (0.9, 0.1)
    )
    assert hard > 2.0 * soft
    for order in (0, 13, 2.5, True):
        with pytest.raises(UserError, match="order"):
            Room(RATE, order=order)  # type: ignore[arg-type]
