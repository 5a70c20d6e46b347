"""Wah, auto-wah and filter sweep against scipy standing still and a loop over samples moving."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.parameter import SIDECHAIN

RATE = 44100
NOISE = np.random.default_rng(0).uniform(-1, 1, 5000) * np.linspace(1, 0.02, 5000)


def _play(name: str, knobs: dict[str, float | list[float]], **options: object) -> np.ndarray:
    block = blocks.create(name, sample_rate=RATE, **options)
    settings = {**block.defaults(1, torch.float64)}
    settings |= {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(block(torch.tensor(NOISE)[None, None], settings)[0, 0])


def _error(heard: np.ndarray, expected: np.ndarray) -> float:
    return 20.0 * math.log10(np.abs(heard - expected).max() / np.abs(expected).max() + 1e-16)


@pytest.mark.parametrize("pedal", [0.0, 0.5, 1.0])
def test_a_still_wah_is_the_analog_filter_by_the_bilinear_transform(
    pedal: float, accuracy: Callable[..., None]
) -> None:
    frequency, q = 450.0 * 2.0 ** (2.3 * pedal), 6.0
    g = math.tan(math.pi * frequency / RATE)  # the corner, warped, at a rate of 1/2
    b, a = scipy.signal.bilinear([g / q, 0.0], [1.0, g / q, g * g], fs=0.5)
    knobs = {"pedal": pedal, "heel": 450.0, "toe": 450.0 * 2.0**2.3, "resonance": q, "level": 0.0, "mix": 1.0}
    error = _error(_play("effects/wah", knobs), scipy.signal.lfilter(b, a, NOISE))
    accuracy("effects/wah", f"scipy.signal.bilinear and lfilter, pedal at {pedal:g}", error, bound=-190.0)


def _follower(sensitivity: float, attack: float, release: float) -> np.ndarray:
    state, found = 0.0, []
    for x in np.abs(NOISE):
        time = attack if x > state else release
        state += (1.0 - math.exp(-1000.0 / (time * RATE))) * (x - state)
        e = state * 10.0 ** (sensitivity / 20.0)
        found.append(e / (1.0 + e))
    return np.array(found)


def _state_variable(cutoff: np.ndarray, q: float) -> dict[str, np.ndarray]:
    """By implicit solution of the two trapezoidal integrators, sample by sample."""
    s1 = s2 = 0.0
    rows = []
    for x, f in zip(NOISE, cutoff, strict=True):
        g = math.tan(math.pi * f / RATE)
        # band/k = s1 + g high, low = s2 + g band/k, high = x - k band/k - low
        solved = np.linalg.solve([[1.0, -g, 0.0], [1.0 / q, 1.0, 1.0], [-g, 0.0, 1.0]], [s1, x, s2])
        v1, high, low = solved
        s1, s2 = 2.0 * v1 - s1, 2.0 * low - s2
        rows.append((low, v1 / q, high))
    return dict(zip(("low", "band", "high"), np.array(rows).T, strict=True))


@pytest.mark.parametrize("shape", ["band", "low"])
def test_auto_wah_is_the_loop(shape: str, accuracy: Callable[..., None]) -> None:
    knobs: dict[str, float | list[float]] = {
        "sensitivity": 10.0, "attack": 3.0, "release": 60.0, "frequency": 300.0, "range": 3.0,
        "resonance": 5.0, "level": 0.0, "mix": 1.0, "shape": [float(shape == "band"), float(shape == "low")],
    }  # fmt: skip
    cutoff = 300.0 * 2.0 ** (3.0 * _follower(10.0, 3.0, 60.0))
    error = _error(_play("effects/auto_wah", knobs), _state_variable(cutoff, 5.0)[shape])
    accuracy("effects/auto_wah", f"a loop over samples, {shape}", error, bound=-190.0)


@pytest.mark.parametrize("shape", ["low", "band", "high"])
def test_filter_sweep_is_the_loop(shape: str, accuracy: Callable[..., None]) -> None:
    weights = [float(shape == name) for name in ("low", "band", "high")]
    knobs: dict[str, float | list[float]] = {
        "rate": 9.0, "frequency": 800.0, "resonance": 3.0, "depth": 1.5, "follow": 1.2, "sensitivity": 12.0,
        "attack": 2.0, "release": 40.0, "mix": 1.0, "shape": weights,
    }  # fmt: skip
    swing = np.sin(2 * math.pi * 9.0 * np.arange(len(NOISE)) / RATE)
    cutoff = 800.0 * 2.0 ** (1.5 * swing + 1.2 * _follower(12.0, 2.0, 40.0))
    error = _error(_play("effects/filter_sweep", knobs), _state_variable(cutoff, 3.0)[shape])
    accuracy("effects/filter_sweep", f"a loop over samples, {shape}", error, bound=-190.0)


def test_auto_wah_opens_as_it_gets_louder() -> None:
    """The peak of the spectrum stands higher for a loud noise than for a faint one."""
    block = blocks.create("effects/auto_wah", sample_rate=RATE)
    noise = torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(0))
    settings = {**block.defaults(), "mix": torch.ones(1), "resonance": torch.tensor([10.0])}
    peaks = []
    for gain in (0.003, 0.3):
        spectrum = torch.fft.rfft(block(gain * noise, settings)[0, 0, RATE // 2 :]).abs().square()
        hertz = torch.fft.rfftfreq(RATE - RATE // 2, 1.0 / RATE)
        peaks.append(float((spectrum * hertz).sum() / spectrum.sum()))
    assert peaks[1] > 2.0 * peaks[0]


@pytest.mark.parametrize("name", ["effects/auto_wah", "effects/filter_sweep"])
def test_it_may_follow_another_track(name: str) -> None:
    """Another track that is silent leaves the filter where it stands in silence."""
    block = blocks.create(name, sample_rate=RATE)
    audio = torch.tensor(NOISE)[None, None]
    settings = {**block.defaults(1, torch.float64), "sensitivity": torch.tensor([40.0], dtype=torch.float64)}
    if name == "effects/filter_sweep":
        settings["follow"] = torch.tensor([2.0], dtype=torch.float64)
    silent = block(audio, {**settings, SIDECHAIN: torch.zeros_like(audio)})
    still = "range" if name == "effects/auto_wah" else "follow"
    torch.testing.assert_close(silent, block(audio, {**settings, still: torch.zeros(1, dtype=torch.float64)}))
    assert not torch.allclose(silent, block(audio, settings))
