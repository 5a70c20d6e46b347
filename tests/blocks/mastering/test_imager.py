"""The imager against scipy's Butterworth filters run both ways, and what a stereo meter would show."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.mastering.imager import Imager

RATE = 44100
WIDTHS = {"low_width": 0.3, "low_mid_width": 1.4, "high_mid_width": 0.6, "high_width": 1.8}


def image(audio: torch.Tensor, **knobs: float) -> torch.Tensor:
    block = Imager(RATE)
    defaults = block.defaults(audio.shape[0], audio.dtype)
    return block(audio, {**defaults, **{key: torch.full_like(defaults[key], value) for key, value in knobs.items()}})


def stereo(samples: int = 30_000) -> torch.Tensor:
    audio = torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    audio[..., : samples // 4] = audio[..., -samples // 4 :] = 0.0
    return audio


def decibels(signal: np.ndarray, of: np.ndarray) -> float:
    return 20 * math.log10(float(np.linalg.norm(signal) / np.linalg.norm(of)))


def test_bands_are_scipys_filters_both_ways(accuracy: Callable[..., None]) -> None:
    """A second-order Butterworth forwards and backwards is the same f^4 / (f^4 + c^4) in the analogue world; scipy's
    digital one is warped towards the top: -45 dB with corners up to 2 kHz."""
    audio = stereo()
    corners = {"bass_mono": 60.0, "low_crossover": 200.0, "low_mid_crossover": 600.0, "high_mid_crossover": 3000.0}
    output = image(audio, **corners, low_width=0.3, low_mid_width=1.4, high_mid_width=0.6, high_width=0.6)
    side = 0.5 * (audio[0, 0] - audio[0, 1]).numpy()

    def both_ways(kind: str, corner: float, signal: np.ndarray) -> np.ndarray:
        sections = scipy.signal.butter(2, corner, kind, fs=RATE, output="sos")
        return scipy.signal.sosfiltfilt(sections, signal, padlen=0)

    above_1 = both_ways("highpass", 200.0, side)
    expected = 0.3 * both_ways("lowpass", 200.0, side)
    expected += 1.4 * both_ways("lowpass", 600.0, above_1) + 0.6 * both_ways("highpass", 600.0, above_1)
    expected = both_ways("highpass", 60.0, expected)
    measured = 0.5 * (output[0, 0] - output[0, 1]).numpy()
    accuracy("mastering/imager", "scipy.signal.sosfiltfilt", decibels(measured - expected, expected), bound=-45.0)


@pytest.mark.parametrize(
    ("frequency", "band", "corners"),
    [
        (90.0, "low", (400.0, 1200.0, 6000.0)),
        (260.0, "low_mid", (80.0, 900.0, 6000.0)),
        (2700.0, "high_mid", (200.0, 800.0, 9000.0)),
        (15000.0, "high", (200.0, 1200.0, 5000.0)),
    ],
)
def test_each_width_is_that_of_its_band(
    frequency: float, band: str, corners: tuple[float, ...], accuracy: Callable[..., None]
) -> None:
    """A sine on the side alone, far from the crossovers, is turned up by its band's width; at 24 dB an octave the
    neighbours turn at most 3 % of it, which is the error."""
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    sine = torch.sin(2 * math.pi * frequency * time) * torch.hann_window(RATE, dtype=torch.float64)
    names = ("low_crossover", "low_mid_crossover", "high_mid_crossover")
    output = image(torch.stack([sine, -sine])[None], **WIDTHS, **dict(zip(names, corners, strict=True)))
    gain = float((output[0, 0] @ sine) / (sine @ sine))
    error = abs(20 * math.log10(gain / WIDTHS[f"{band}_width"]))
    accuracy("mastering/imager", f"width of the band at {frequency:g} Hz", error, bound=0.3)


def test_the_middle_is_never_touched_and_ones_change_nothing_above_the_bass() -> None:
    audio = stereo()
    assert torch.allclose(image(audio, **WIDTHS).mean(dim=1), audio.mean(dim=1), atol=1e-12)
    kept = image(audio)
    spectrum = [np.fft.rfft((x[0, 0] - x[0, 1]).numpy()) for x in (kept, audio)]
    above = np.fft.rfftfreq(audio.shape[-1], 1 / RATE) > 200.0
    assert decibels((spectrum[0] - spectrum[1])[above], spectrum[1][above]) < -75.0


def test_bass_below_the_corner_is_mono() -> None:
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    sine = torch.sin(2 * math.pi * 40.0 * time) * torch.hann_window(RATE, dtype=torch.float64)
    output = image(torch.stack([sine, -sine])[None], bass_mono=160.0)
    assert decibels(output.numpy(), sine.numpy()) < -44.0  # 2 octaves below: -48 dB, and both channels


def test_mono_passes() -> None:
    audio = stereo()[:, :1]
    assert torch.equal(image(audio, **WIDTHS), audio)
