"""Tremolo and auto-pan against their formulas, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from hitchain import blocks

RATE = 44100
NOISE = np.random.default_rng(0).uniform(-1, 1, (2, 4000))


def _play(name: str, knobs: dict[str, float]) -> np.ndarray:
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(blocks.create(name, sample_rate=RATE)(torch.tensor(NOISE)[None], settings)[0])


def _swing(n: int, rate: float, shape: float, degrees: float) -> float:
    s = math.sin(2.0 * math.pi * rate * n / RATE + math.radians(degrees))
    return s / math.sqrt(1.0 - 0.98 * shape + 0.98 * shape * s * s)


def test_tremolo_is_the_loop(accuracy: Callable[..., None]) -> None:
    heard = _play("effects/tremolo", {"rate": 7.0, "depth": 0.8, "shape": 0.6, "stereo": 90.0})
    expected = np.zeros_like(NOISE)
    for channel in range(2):
        for n in range(NOISE.shape[1]):
            w = _swing(n, 7.0, 0.6, 90.0 * channel)
            expected[channel, n] = NOISE[channel, n] * (1.0 - 0.8 * (1.0 - w) / 2.0)
    error = 20.0 * math.log10(np.abs(heard - expected).max() + 1e-16)
    accuracy("effects/tremolo", "a loop over samples", error, bound=-240.0)


def test_auto_pan_is_the_loop(accuracy: Callable[..., None]) -> None:
    heard = _play("effects/auto_pan", {"rate": 3.0, "width": 0.9, "shape": 0.4, "phase": 30.0})
    expected = np.zeros_like(NOISE)
    for n in range(NOISE.shape[1]):
        angle = math.pi / 4.0 * (1.0 + 0.9 * _swing(n, 3.0, 0.4, 30.0))
        expected[:, n] = NOISE[:, n] * math.sqrt(2.0) * np.array([math.cos(angle), math.sin(angle)])
    error = 20.0 * math.log10(np.abs(heard - expected).max() + 1e-16)
    accuracy("effects/auto_pan", "a loop over samples", error, bound=-240.0)


def test_auto_pan_keeps_the_power_and_tremolo_reaches_silence() -> None:
    same = np.tile(NOISE[:1], (2, 1))
    settings = {"rate": 2.0, "width": 1.0, "shape": 0.0, "phase": 0.0}
    pan = blocks.create("effects/auto_pan", sample_rate=RATE)
    heard = np.asarray(
        pan(torch.tensor(same)[None], {key: torch.tensor([value]).double() for key, value in settings.items()})[0]
    )
    np.testing.assert_allclose((heard**2).sum(axis=0), (same**2).sum(axis=0), atol=1e-12)
    quiet = _play("effects/tremolo", {"rate": 20.0, "depth": 1.0, "shape": 0.0, "stereo": 0.0})
    lowest = round(RATE * 0.0375)  # three quarters of the cycle
    assert np.abs(quiet[:, lowest - 2 : lowest + 2]).max() < 1e-4
