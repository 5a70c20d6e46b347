"""The filter against scipy.signal.butter, in the time domain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.effects.filter import KINDS, ORDERS

Accuracy = Callable[..., None]
SCIPY = {"low pass": "lowpass", "high pass": "highpass", "band pass": "bandpass", "notch": "bandstop"}


def settings_of(kind: str, slope: str, frequency: float, resonance: float = 0.0) -> dict[str, torch.Tensor]:
    block = blocks.create("effects/filter")
    types, slopes, *_ = block.parameters
    return {
        "type": types.check(kind, "type")[None].double(),
        "slope": slopes.check(slope, "slope")[None].double(),
        "frequency": torch.tensor([frequency], dtype=torch.float64),
        "resonance": torch.tensor([resonance], dtype=torch.float64),
    }


def scipys(kind: str, slope: str, frequency: float, rate: int) -> np.ndarray:
    """Its second-order sections; a band of two thirds of 3 dB points, frequency / bandwidth = sqrt(1/2)."""
    middle, half = np.sqrt(1.5) * frequency, np.sqrt(0.5) * frequency
    edges = frequency if kind in ("low pass", "high pass") else [middle - half, middle + half]
    return scipy.signal.butter(ORDERS[slope], edges, SCIPY[kind], fs=rate, output="sos")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_scipys_butterworth(kind: str, accuracy: Accuracy) -> None:
    """-90 dB, in float64, of the largest sample: the response is taken where it has rung out to -90 dB."""
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 2, 8000))
    worst = -np.inf
    for rate in (44100, 96000):
        block = blocks.create("effects/filter", sample_rate=rate)
        for slope in ORDERS:
            for frequency in (60.0, 1000.0, 9000.0):
                expected = scipy.signal.sosfilt(scipys(kind, slope, frequency, rate), noise)
                output = block(torch.tensor(noise), settings_of(kind, slope, frequency)).numpy()
                worst = max(worst, 20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max() + 1e-20))
    accuracy("effects/filter", f"scipy.signal.butter, {kind}", worst, bound=-90.0)


@pytest.mark.parametrize("slope", ORDERS)
@pytest.mark.parametrize("kind", ["low pass", "high pass"])
def test_resonance_is_the_gain_at_the_cutoff(kind: str, slope: str) -> None:
    block = blocks.create("effects/filter")
    response = block.response(settings_of(kind, slope, 44100 / 32, 12.0), 1024)[0, 0, 32]
    assert 20 * np.log10(abs(complex(response))) == pytest.approx(12.0 - 10 * np.log10(2.0), abs=1e-9)


def test_resonance_narrows_a_band() -> None:
    """frequency / bandwidth = 10^(20/20) / sqrt(2) between the points at -3 dB."""
    block = blocks.create("effects/filter", sample_rate=192000)  # where the bilinear transform hardly warps
    response = block.response(settings_of("band pass", "48", 1000.0, 20.0), 1 << 20)[0, 0].abs().numpy()
    passed = np.flatnonzero(response >= np.sqrt(0.5)) * 192000 / (1 << 20)
    assert 1000.0 / np.ptp(passed) == pytest.approx(10.0 / np.sqrt(2.0), rel=0.01)


def test_types_and_slopes_blend() -> None:
    """Half a low pass and half a high pass of 12 dB: half of what each lets through."""
    block = blocks.create("effects/filter")
    audio = torch.randn(1, 1, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = (settings_of(kind, "12", 800.0) for kind in ("low pass", "high pass"))
    both = {**low, "type": 0.5 * (low["type"] + high["type"])}
    torch.testing.assert_close(block(audio, both), 0.5 * (block(audio, low) + block(audio, high)), rtol=0, atol=1e-9)
    both["type"].requires_grad_()
    torch.testing.assert_close(block(audio, both), 0.5 * (block(audio, low) + block(audio, high)), rtol=0, atol=1e-4)
