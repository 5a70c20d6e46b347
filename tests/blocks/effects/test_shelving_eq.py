"""The shelves against pedalboard's and against the cookbook's curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pedalboard
import pytest
import scipy.signal
import torch

from hitchain import blocks

Accuracy = Callable[..., None]
RATE = 44100


def settings_of(**knobs: float) -> dict[str, torch.Tensor]:
    settings = blocks.create("effects/shelving_eq").defaults(1, torch.float64)
    for key, value in knobs.items():
        settings[key].fill_(value)
    return settings


@pytest.mark.parametrize("gain", [-15.0, 9.0])
def test_at_slope_1_they_are_juces_shelves(gain: float, accuracy: Accuracy) -> None:
    """Slope 1 is Q = sqrt(1/2), which JUCE's shelves take. -80 dB: it filters in float32."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 20000)).astype(np.float32)
    board = pedalboard.Pedalboard(
        [
            pedalboard.LowShelfFilter(cutoff_frequency_hz=200.0, gain_db=gain, q=np.sqrt(0.5)),
            pedalboard.HighShelfFilter(cutoff_frequency_hz=4000.0, gain_db=-gain, q=np.sqrt(0.5)),
        ]
    )
    expected = board(noise, RATE)
    settings = settings_of(
        low_frequency=200.0,
        low_gain=gain,
        low_slope=1.0,
        high_frequency=4000.0,
        high_gain=-gain,
        high_slope=1.0,
    )
    output = blocks.create("effects/shelving_eq")(torch.from_numpy(noise)[None].double(), settings)[0].numpy()
    error = 20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max())
    accuracy("effects/shelving_eq", f"pedalboard (JUCE) shelves, slope 1, {gain:g} dB", error, bound=-80.0)


@pytest.mark.parametrize("slope", [0.2, 0.6, 1.0])
def test_the_curve_is_the_analogue_shelf(slope: float, accuracy: Accuracy) -> None:
    """The cookbook's H(s) at the prewarped frequencies, by scipy.signal.freqs: rounding only."""
    gain, frequency = 12.0, 1000.0
    a = 10 ** (gain / 40)
    q = 1.0 / np.sqrt((a + 1 / a) * (1 / slope - 1) + 2)
    numerator = np.array([1.0, np.sqrt(a) / q, a]) * a
    denominator = np.array([a, np.sqrt(a) / q, 1.0])
    n_fft = 4096
    bins = np.arange(1, n_fft // 2)
    warped = np.tan(np.pi * bins / n_fft) / np.tan(np.pi * frequency / RATE)
    _, expected = scipy.signal.freqs(numerator, denominator, worN=warped)
    settings = settings_of(low_frequency=frequency, low_gain=gain, low_slope=slope)
    response = blocks.create("effects/shelving_eq").response(settings, n_fft)[0, 0, 1:-1].numpy()
    error = 20 * np.log10(np.abs(response / expected - 1).max() + 1e-20)
    accuracy("effects/shelving_eq", f"the cookbook's analogue shelf, slope {slope:g}", error, bound=-180.0)
