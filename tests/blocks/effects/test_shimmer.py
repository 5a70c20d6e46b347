"""The shimmer: without feedback the plate, with it octaves of what went in."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from hitchain import blocks

RATE = 44100
Accuracy = Callable[..., None]


def rendered(name: str, audio: torch.Tensor, **knobs: float) -> torch.Tensor:
    block = blocks.create(name)
    settings = block.defaults(1, torch.float64) | {k: torch.tensor([v], dtype=torch.float64) for k, v in knobs.items()}
    output: torch.Tensor = block(audio, settings)
    return output


def test_without_feedback_it_is_the_plate(accuracy: Accuracy) -> None:
    audio = torch.randn(1, 2, RATE // 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plate = rendered("effects/plate", audio, decay=0.8, damping=5000.0, mix=0.5)
    output = rendered("effects/shimmer", audio, decay=0.8, damping=5000.0, mix=0.5, shimmer=0.0)
    error = 20 * math.log10(float((output - plate).norm() / plate.norm()) + 1e-12)
    accuracy("effects/shimmer", "effects/plate, without feedback", error, bound=-120.0)


def test_octaves_appear() -> None:
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    audio = (torch.sin(2 * math.pi * 300.0 * time) * (time < 0.5))[None, None]
    output = rendered("effects/shimmer", audio, shimmer=0.8, decay=0.85, mix=1.0)[0, 0, RATE // 4 :]
    power = torch.fft.rfft(output * torch.hann_window(len(output), dtype=torch.float64)).abs().square()
    hertz = torch.fft.rfftfreq(len(output), 1 / RATE)

    def near(centre: float) -> float:
        return 10 * math.log10(float(power[(hertz - centre).abs() < 0.05 * centre].sum() / power.sum()))

    assert near(600.0) > -20.0
    assert near(1200.0) > -30.0
    assert near(900.0) < -35.0
