"""The linear-phase equaliser against scipy's evaluation of published coefficients and JUCE's filters' magnitudes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.effects.gain import Gain
from hitchain.blocks.mastering.linear_phase_eq import LinearPhaseEq
from hitchain.blocks.row import run_row

RATE = 44100
CURVE = {
    "low_shelf_frequency": 90.0,
    "low_shelf_gain": 4.0,
    "peak1_frequency": 150.0,
    "peak1_gain": -9.0,
    "peak1_q": 2.0,
    "peak2_frequency": 900.0,
    "peak2_gain": 6.0,
    "peak2_q": 0.7,
    "high_shelf_frequency": 7000.0,
    "high_shelf_gain": -5.0,
}


def settings(block: LinearBlock, **knobs: float) -> dict[str, Tensor]:
    return block.defaults(1, torch.float64) | {k: torch.tensor([v], dtype=torch.float64) for k, v in knobs.items()}


def impulse_response(block: LinearPhaseEq, samples: int = 1 << 16, **knobs: float) -> np.ndarray:
    """Measured: an impulse in the middle, played through the block."""
    audio = torch.zeros(1, 1, samples, dtype=torch.float64)
    audio[..., samples // 2] = 1.0
    return block(audio, settings(block, **knobs))[0, 0].numpy()


def biquad(kind: str, frequency: float, gain: float, q: float) -> np.ndarray:
    """The Audio EQ Cookbook by the letter, in numpy."""
    a, w = 10 ** (gain / 40), 2 * np.pi * frequency / RATE
    cosine, alpha = np.cos(w), np.sin(w) / (2 * q)
    if kind == "peak":
        section = [1 + alpha * a, -2 * cosine, 1 - alpha * a, 1 + alpha / a, -2 * cosine, 1 - alpha / a]
    else:
        s, root = (1 if kind == "low" else -1), 2 * np.sqrt(a) * alpha
        section = [
            a * (a + 1 - s * (a - 1) * cosine + root),
            s * 2 * a * (a - 1 - s * (a + 1) * cosine),
            a * (a + 1 - s * (a - 1) * cosine - root),
            a + 1 + s * (a - 1) * cosine + root,
            -s * 2 * (a - 1 + s * (a + 1) * cosine),
            a + 1 + s * (a - 1) * cosine - root,
        ]
    return np.array(section) / section[3]


def test_magnitude_is_scipys_of_the_cookbook(accuracy: Callable[..., None]) -> None:
    """0.1 dB: what the cut at 185 ms blurs a band of Q 2 at 150 Hz."""
    kernel = impulse_response(LinearPhaseEq(RATE), **CURVE)
    sections = np.stack(
        [
            biquad("low", 90.0, 4.0, np.sqrt(0.5)),
            biquad("peak", 150.0, -9.0, 2.0),
            biquad("peak", 900.0, 6.0, 0.7),
            biquad("high", 7000.0, -5.0, np.sqrt(0.5)),
        ]
    )
    frequencies = np.fft.rfftfreq(len(kernel), 1 / RATE)
    _, expected = scipy.signal.sosfreqz(sections, worN=frequencies, fs=RATE)
    error = np.abs(20 * np.log10(np.abs(np.fft.rfft(kernel)) / np.abs(expected))).max()
    accuracy("mastering/linear_phase_eq", "scipy.signal.sosfreqz, magnitude", error, bound=0.1)


def test_magnitude_is_juces(accuracy: Callable[..., None]) -> None:
    pedalboard = pytest.importorskip("pedalboard")
    knobs = {"peak3_frequency": 2000.0, "peak3_gain": 8.0, "peak3_q": 1.5}
    kernel = impulse_response(LinearPhaseEq(RATE), **knobs)
    impulse = np.zeros((1, len(kernel)), dtype=np.float32)
    impulse[0, 0] = 1.0
    expected = pedalboard.PeakFilter(2000.0, 8.0, 1.5).process(impulse, RATE)[0]
    ratio = np.abs(np.fft.rfft(kernel)) / np.abs(np.fft.rfft(expected.astype(np.float64)))
    error = np.abs(20 * np.log10(ratio)).max()
    accuracy("mastering/linear_phase_eq", "pedalboard.PeakFilter, magnitude", error, bound=0.1)


def test_phase_is_zero_and_the_ringing_ends_at_its_reach() -> None:
    block = LinearPhaseEq(RATE, reach=50.0)
    kernel = impulse_response(block, **CURVE)
    middle, side = len(kernel) // 2, block.side
    assert block.latency == 0
    assert np.abs(kernel - np.roll(kernel[::-1], 1)).max() < 1e-12
    assert np.abs(kernel[: middle - side]).max() < 1e-12
    assert np.abs(kernel[middle - side : middle]).max() > 1e-3  # it does ring before


@pytest.mark.parametrize("seconds", [0.3, 3.0, 20.0], ids=["short", "one grid", "segments"])
def test_long_and_short_audio_is_scipys_convolution(seconds: float, accuracy: Callable[..., None]) -> None:
    block = LinearPhaseEq(RATE)
    audio = torch.randn(1, 2, round(seconds * RATE), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taps = block.taps(settings(block, **CURVE))[0].numpy()
    expected = scipy.signal.fftconvolve(audio[0].numpy(), taps[None], axes=-1)[:, block.side : -block.side]
    beside = run_row([(block, settings(block, **CURVE))], audio)[0].numpy()
    error = 20 * np.log10(np.linalg.norm(beside - expected) / np.linalg.norm(expected))
    accuracy("mastering/linear_phase_eq", f"scipy.signal.fftconvolve, {seconds:g} s", error, bound=-120.0)


def test_it_fuses_with_its_neighbours() -> None:
    equaliser, gain = LinearPhaseEq(RATE), Gain(RATE)
    audio = torch.randn(1, 2, 40_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    row = [(equaliser, settings(equaliser, **CURVE))] * 2
    fused = run_row([*row, (gain, gain.defaults(1, torch.float64))], audio)
    apart = equaliser(equaliser(audio, row[0][1]), row[0][1])
    inside = slice(2 * equaliser.side, -2 * equaliser.side)  # at the ends, one after the other is cut twice
    error = (fused - apart)[..., inside].norm() / apart[..., inside].norm()
    assert 20 * torch.log10(error) < -90.0


@pytest.mark.parametrize("reach", [0.0, 2000.0])
def test_a_reach_out_of_range_is_refused(reach: float) -> None:
    with pytest.raises(ValueError, match="reach"):
        LinearPhaseEq(RATE, reach=reach)
