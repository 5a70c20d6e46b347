"""Loudness targets by name: what each preset of the limiter, and each mastering line, comes out at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.mastering.limiter import Limiter
from hitchain.blocks.mastering.peak_limiter import PeakLimiter
from hitchain.chain import Song

RATE = 44100
TARGETS = {"streaming": (-14.0, -1.0), "broadcast": (-23.0, -1.0), "club": (-8.0, -0.5), "dynamic": (-18.0, -2.0)}


def music(seconds: float = 6.0) -> torch.Tensor:
    """Hits over a tone, peaky as music is."""
    time = torch.arange(round(seconds * RATE)) / RATE
    hits = torch.exp(-((time * 2.0) % 1.0) * 12.0) * torch.randn(
        2, len(time), generator=torch.Generator().manual_seed(0)
    )
    tone = torch.sin(2 * torch.pi * 110.0 * time) + 0.3 * torch.sin(2 * torch.pi * 443.0 * time)
    return (0.1 * hits + 0.1 * tone)[None]


def true_peak(audio: torch.Tensor) -> float:
    """dBTP, by scipy's polyphase resampling to eight times the rate."""
    points = scipy.signal.resample_poly(audio.double().numpy(), 8, 1, axis=-1, window=("kaiser", 12.0))
    return 20.0 * float(np.log10(np.abs(points).max()))


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_is_reached_under_its_ceiling(name: str, accuracy: Callable[..., None]) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    block = Limiter(RATE)
    assert set(block.presets) == set(TARGETS)
    preset = {key: torch.tensor([float(value)]) for key, value in block.preset(name).items()}
    output = block(music(), {**block.defaults(), **preset})
    loudness, ceiling = TARGETS[name]
    measured = pyloudnorm.Meter(RATE).integrated_loudness(output[0].T.double().numpy())
    accuracy("mastering/limiter", f"pyloudnorm, target {name}", abs(measured - loudness), bound=0.1, unit="LU")
    over = true_peak(output) - ceiling
    accuracy("mastering/limiter", f"true peak over the ceiling, target {name}", over, bound=0.1)


@pytest.mark.parametrize("name", sorted(PeakLimiter.presets))
def test_a_peak_limiter_keeps_to_its_ceiling(name: str) -> None:
    block = PeakLimiter(RATE)
    preset = {key: torch.tensor([float(value)]) for key, value in block.preset(name).items()}
    output = block(3.0 * music(2.0), {**block.defaults(), **preset})
    assert true_peak(output) <= float(preset["ceiling"]) + 0.1


@pytest.mark.parametrize("name", [*sorted(TARGETS), "linear_phase", "minimum_phase", "wide"])
def test_a_mastering_line_has_its_target(name: str) -> None:
    song = Song.load("solo", [f"mastering={name}", "notes.file=demo", "notes.part=lead", "song.length=1"])
    limiter = song.start.settings["mastering.limiter"]
    target, ceiling = TARGETS.get(name, TARGETS["streaming"])
    assert (float(limiter["target"]), float(limiter["ceiling"])) == (target, ceiling)
