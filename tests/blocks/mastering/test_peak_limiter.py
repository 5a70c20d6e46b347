"""The plain limiter: its ceiling by scipy's interpolation, its options, and beside JUCE's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pedalboard
import pytest
import scipy.signal
import torch

from hitchain.blocks.mastering.peak_limiter import PeakLimiter

RATE = 44100


def bursts(seconds: float = 2.0) -> torch.Tensor:
    """Decaying noise twice a second, up to 0.4 of the rate, peaks near full scale: (1, 2, samples)."""
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * RATE)) / RATE
    noise = generator.standard_normal((2, time.size)) * np.exp(-20.0 * (time % 0.5)) * 0.3
    low = scipy.signal.sosfilt(scipy.signal.cheby2(12, 80.0, 0.85, output="sos"), noise, axis=-1)
    return torch.from_numpy(low.astype(np.float32))[None]


def limit(audio: torch.Tensor, oversampling: int = 4, **knobs: float) -> torch.Tensor:
    block = PeakLimiter(RATE, oversampling=oversampling)
    chosen = block.defaults(audio.shape[0], audio.dtype)
    return block(audio, {**chosen, **{key: torch.full_like(chosen[key], value) for key, value in knobs.items()}})


def between(audio: torch.Tensor) -> float:
    """[dBTP] by scipy's polyphase resampling at 16 times the rate."""
    raised = scipy.signal.resample_poly(audio.double().numpy(), 16, 1, axis=-1, window=("kaiser", 10.0))
    return float(20 * np.log10(np.abs(raised).max()))


@pytest.mark.parametrize("gain", [0.0, 12.0, 24.0])
def test_true_peaks_stay_under_the_ceiling(gain: float, accuracy: Callable[..., None]) -> None:
    """0.05 dB are allowed for what falls between the detector's four points."""
    output = limit(bursts(), gain=gain, ceiling=-3.0)
    over = between(output) + 3.0
    accuracy("mastering/peak_limiter", "true peak over the ceiling, by scipy's resampling", over, bound=0.05)


def test_without_oversampling_the_samples_do() -> None:
    """And reach it: no margin is kept. The peaks between them pass it."""
    output = limit(bursts(), oversampling=1, gain=18.0, ceiling=-3.0)
    highest = 20 * torch.log10(output.abs().max()).item()
    assert -3.5 < highest <= -3.0 + 1e-4
    assert between(output) > -2.9


def test_below_the_ceiling_nothing_changes() -> None:
    audio = 0.1 * bursts()
    assert torch.allclose(limit(audio), audio, rtol=1e-6, atol=0)


def test_nearly_the_same_as_juces(accuracy: Callable[..., None]) -> None:
    """Short-time levels within 2 dB on average of pedalboard's limiter at the same settings (its curve differs: a soft
    first stage), and peaks as high."""
    audio = bursts()
    theirs = pedalboard.Pedalboard([pedalboard.Gain(6.0), pedalboard.Limiter(-6.0, 100.0)])(audio[0].numpy(), RATE)
    ours = limit(audio, oversampling=1, gain=6.0, ceiling=0.0)[0]
    levels = [
        20 * np.log10(np.sqrt((signal[:, : RATE * 2] ** 2).reshape(2, -1, 441).mean(axis=-1)) + 1e-9)
        for signal in (ours.numpy(), theirs)
    ]
    offset = np.median(levels[0] - levels[1])  # JUCE's makes up for its threshold
    error = np.abs(levels[0] - levels[1] - offset).mean()
    accuracy("mastering/peak_limiter", "pedalboard (JUCE) Limiter, short-time levels on average", error, bound=2.0)


def test_no_samples() -> None:
    assert limit(torch.zeros(1, 2, 0)).shape == (1, 2, 0)
