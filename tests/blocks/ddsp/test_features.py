"""Pitch and loudness at the decoder's frames, against tones of known pitch and the A-weighting standard's table."""

from __future__ import annotations

import math

import pytest
import torch

from hitchain.blocks.ddsp import features
from hitchain.blocks.ddsp.decoder import FRAME_RATE

RATE = 44100


def test_a_weighting_is_the_standards(accuracy) -> None:
    """IEC 61672-1, table 3: rounded to 0.1 dB."""
    table = {31.5: -39.4, 63.0: -26.2, 125.0: -16.1, 250.0: -8.6, 500.0: -3.2, 1000.0: 0.0, 2000.0: 1.2, 4000.0: 1.0,
             8000.0: -1.1, 16000.0: -6.6}  # fmt: skip
    gains = 10 * torch.log10(features.a_weighting(torch.tensor(list(table), dtype=torch.float64)))
    error = float((gains - torch.tensor(list(table.values()), dtype=torch.float64)).abs().max())
    accuracy("instruments/ddsp", "A-weighting of IEC 61672-1", error, bound=0.15, unit="dB of level")


def test_pitch_and_loudness_of_a_tone() -> None:
    time = torch.arange(RATE) / RATE
    tone = 0.5 * torch.sin(2 * math.pi * 1000.0 * time)
    frames = features.frames_of(RATE, RATE)
    loudness = features.loudness(tone, RATE, frames)
    assert float(loudness[20:150].mean()) == pytest.approx(-6.02 - 3.01, abs=0.1)
    saw = sum(torch.sin(2 * math.pi * 220.0 * k * time) / k for k in range(1, 20)) * 0.3
    pitch, pitched = features.pitch(torch.as_tensor(saw), RATE)
    assert abs(len(pitch) - FRAME_RATE) < 3
    assert bool(pitched[20:150].all())
    assert float((pitch[20:150] - 57.0).abs().max()) < 0.15


def test_silence_has_no_pitch() -> None:
    pitch, pitched = features.pitch(torch.zeros(RATE // 2), RATE)
    assert not pitched.any()
    assert torch.isfinite(pitch).all()
    assert float(features.loudness(torch.zeros(RATE // 2), RATE, 40).max()) <= features.FLOOR + 1e-3
