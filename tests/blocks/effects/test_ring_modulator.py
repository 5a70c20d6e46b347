"""Ring modulator and frequency shifter: what comes out of a sine, and what should not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks

RATE = 44100
N = np.arange(RATE)


def _play(name: str, audio: np.ndarray, knobs: dict[str, float]) -> np.ndarray:
    block = blocks.create(name, sample_rate=RATE)
    settings = {**block.defaults(1, torch.float64)}
    settings |= {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(block(torch.tensor(audio)[None, None], settings)[0, 0])


def _decibels(value: float) -> float:
    return 20.0 * math.log10(abs(value) + 1e-16)


def _spectrum(audio: np.ndarray) -> np.ndarray:
    """Amplitudes by whole hertz, of what is a second of whole cycles."""
    return np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) * 4.0 / len(audio)


def test_a_product_of_sines_is_their_sum_and_difference(accuracy: Callable[..., None]) -> None:
    sine = np.sin(2 * math.pi * 3000.0 * N / RATE)
    heard = _play("effects/ring_modulator", sine, {"frequency": 700.0, "drift": 0.0, "mix": 1.0})
    expected = 0.5 * (np.cos(2 * math.pi * 2300.0 * N / RATE) - np.cos(2 * math.pi * 3700.0 * N / RATE))
    error = _decibels(np.abs(heard - expected)[500:-500].max())
    accuracy("effects/ring_modulator", "the product of two sines", error, bound=-95.0)


def test_the_carrier_swings_by_drift() -> None:
    """A constant through the ring is the carrier itself: its highest frequency is a quarter above the middle."""
    knobs = {"frequency": 1000.0, "sweep": 2.0, "drift": 0.25, "mix": 1.0}
    heard = _play("effects/ring_modulator", np.ones(RATE), knobs)
    up = np.flatnonzero((heard[:-1] < 0) & (heard[1:] >= 0)).astype(float)
    up += heard[up.astype(int)] / (heard[up.astype(int)] - heard[up.astype(int) + 1])
    hertz = RATE / np.diff(up)
    assert hertz[5:-5].max() == pytest.approx(1250.0, rel=2e-3)
    assert hertz[5:-5].min() == pytest.approx(750.0, rel=2e-3)


def test_ring_aliasing(accuracy: Callable[..., None]) -> None:
    """An 18 kHz sine by an 8 kHz one: the sum, 26 kHz, would fold to 18.1 kHz."""
    sine = np.sin(2 * math.pi * 18000.0 * N / RATE)
    spectrum = _spectrum(_play("effects/ring_modulator", sine, {"frequency": 8000.0, "drift": 0.0, "mix": 1.0}))
    level = _decibels(spectrum[18100] / spectrum[10000])
    accuracy("effects/ring_modulator", "aliasing, 18 kHz sine by an 8 kHz carrier", level, bound=-90.0)


@pytest.mark.parametrize(("frequency", "shift"), [(60.0, 300.0), (200.0, -130.0), (1000.0, 7.0), (15000.0, 1000.0)])
def test_one_sideband_is_left(frequency: float, shift: float, accuracy: Callable[..., None]) -> None:
    sine = np.sin(2 * math.pi * frequency * N / RATE)
    spectrum = _spectrum(_play("effects/frequency_shifter", sine, {"shift": shift, "mix": 1.0}))
    wanted, other = round(frequency + shift), round(abs(frequency - shift))
    assert spectrum[wanted] == pytest.approx(1.0, abs=2e-3)
    against = f"the other sideband, {frequency:g} Hz by {shift:g} Hz"
    accuracy("effects/frequency_shifter", against, _decibels(spectrum[other] / spectrum[wanted]), bound=-75.0)


def test_a_shifted_sine_is_the_sine_at_the_shifted_frequency(accuracy: Callable[..., None]) -> None:
    sine = np.cos(2 * math.pi * 2000.0 * N / RATE)
    heard = _play("effects/frequency_shifter", sine, {"shift": 333.3, "mix": 1.0})
    error = _decibels(np.abs(heard - np.cos(2 * math.pi * 2333.3 * N / RATE))[5000:-5000].max())
    accuracy("effects/frequency_shifter", "the shifted sine", error, bound=-80.0)


def test_shifter_aliasing(accuracy: Callable[..., None]) -> None:
    sine = np.sin(2 * math.pi * 19500.0 * N / RATE)
    spectrum = _spectrum(_play("effects/frequency_shifter", sine, {"shift": 1000.0, "mix": 1.0}))
    kept = spectrum[20500]
    beyond = _spectrum(
        _play("effects/frequency_shifter", np.sin(2 * math.pi * 21700.0 * N / RATE), {"shift": 1000.0, "mix": 1.0})
    )
    level = _decibels(beyond[RATE - 22700] / max(kept, 0.5))
    accuracy("effects/frequency_shifter", "aliasing, 21.7 kHz up by 1 kHz", level, bound=-90.0)
