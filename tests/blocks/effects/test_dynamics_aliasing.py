"""What folds back from above half the sample rate when dynamics follow a tone's own waveform.

A detector that hears |x| hears ripple at twice the tone's frequency and above; what of it reaches the gain multiplies
the tone, and beyond half the sample rate folds back between the harmonics.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks

Accuracy = Callable[..., None]
RATE, LENGTH, BIN = 44100, 1 << 15, 3717
"""Whole periods of a tone at 5002 Hz, with no harmonic below half the rate where another folds to."""

BANDS = ("low", "mid", "high")
WORKING: dict[str, dict[str, float]] = {
    "effects/compressor": {"threshold": -30.0, "ratio": 8.0},
    "effects/multiband_compressor": {f"{band}_threshold": -30.0 for band in BANDS},
    "mastering/multiband_compressor": {f"{band}_threshold": -30.0 for band in BANDS},
    "effects/dynamic_eq": {"high_range": -18.0},
    "effects/de_esser": {"range": 24.0},
    "effects/gate": {"threshold": 0.0, "ratio": 2.0},
    "effects/transient_shaper": {"attack": 18.0, "sustain": 24.0},
    "effects/limiter": {"gain": 12.0},
}


FASTEST: dict[str, dict[str, float]] = {
    "effects/compressor": {"attack": 0.1, "release": 5.0},
    "effects/multiband_compressor": {"high_attack": 0.1, "high_release": 5.0},
    "effects/dynamic_eq": {"attack": 0.5, "release": 10.0},
    "effects/de_esser": {"attack": 0.1, "release": 5.0},
    "effects/gate": {"attack": 0.05, "release": 5.0, "hold": 0.1, "hysteresis": 0.0},
    "effects/limiter": {"release": 10.0},
}


@pytest.mark.parametrize("name", WORKING)
def test_a_tone_in_steady_reduction_does_not_alias(name: str, accuracy: Accuracy) -> None:
    """At the block's own times the gain hardly moves within a period: -70 dB, of the quickest of them, the limiter."""
    accuracy(name, "aliasing, 5 kHz sine in reduction", _aliasing(name, WORKING[name]), bound=-70.0)


@pytest.mark.parametrize("name", FASTEST)
def test_nor_much_at_the_fastest_times(name: str, accuracy: Accuracy) -> None:
    """A gain that follows the waveform itself distorts it, and none of these is oversampled: -45 dB."""
    level = _aliasing(name, {**WORKING[name], **FASTEST[name]})
    accuracy(name, "aliasing, 5 kHz sine in reduction, fastest times", level, bound=-45.0)


def _aliasing(name: str, knobs: dict[str, float]) -> float:
    """Of a tone at -6 dB: the largest of all but its harmonics, against the tone [dB]."""
    time = torch.arange(2 * RATE, dtype=torch.float64)
    tone = 0.5 * torch.sin(2 * math.pi * BIN / LENGTH * time + 0.3)[None, None]
    block = blocks.create(name)
    settings = block.defaults(1, torch.float64)
    for key, value in knobs.items():
        settings[key].fill_(value)
    spectrum = np.abs(np.fft.rfft(block(tone, settings)[0, 0, -LENGTH:].numpy() * np.hanning(LENGTH)))
    kept = np.ones(len(spectrum), dtype=bool)
    for harmonic in range(LENGTH // 2 // BIN + 1):  # and 0 Hz
        kept[max(harmonic * BIN - 4, 0) : harmonic * BIN + 5] = False
    return 20 * math.log10(spectrum[kept].max() / spectrum[BIN] + 1e-20)
