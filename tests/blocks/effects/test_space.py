"""Pan laws, width, the Haas delay and stereo from mono, against formulas and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks

RATE = 44100
Accuracy = Callable[..., None]
NOISE = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 8000))


def rendered(name: str, audio: np.ndarray, choice: str | None = None, **knobs: float) -> np.ndarray:
    block = blocks.create(name)
    settings = {
        **block.defaults(1, torch.float64),
        **{k: torch.tensor([v], dtype=torch.float64) for k, v in knobs.items()},
    }
    if choice is not None:
        known = next(p for p in block.parameters if hasattr(p, "options"))
        settings[known.name] = known.weights(choice).double()[None]
    return block(torch.tensor(audio[None]), settings)[0].numpy()


def error(output: np.ndarray, expected: np.ndarray) -> float:
    return 20.0 * math.log10(np.abs(output - expected).max() / np.abs(expected).max() + 1e-20)


@pytest.mark.parametrize("position", [-1.0, -0.3, 0.0, 1.0])
@pytest.mark.parametrize("law", ["-3 dB", "-4.5 dB", "-6 dB"])
def test_pan_laws(position: float, law: str, accuracy: Accuracy) -> None:
    p = (position + 1) / 2
    power, linear = np.array([math.cos(math.pi / 2 * p), math.sin(math.pi / 2 * p)]), np.array([1 - p, p])
    gains = {"-3 dB": power, "-4.5 dB": np.sqrt((power * linear).clip(0)), "-6 dB": linear}[law]
    expected = gains[:, None] * NOISE[:1] * 10 ** (-float(law.split()[0]) / 20)
    found = error(rendered("effects/pan", NOISE[:1], law, position=position), expected)
    accuracy("effects/pan", f"the {law} law", found, bound=-50.0)  # the names are rounded: 3.01, 4.52, 6.02 dB


def test_polarity(accuracy: Accuracy) -> None:
    worst = 0.0
    for choice, signs in {"none": (1, 1), "left": (-1, 1), "right": (1, -1), "both": (-1, -1)}.items():
        output = rendered("effects/polarity", NOISE, choice)
        worst = max(worst, float(np.abs(output - np.array(signs)[:, None] * NOISE).max()))
    accuracy("effects/polarity", "the input with its sign changed", 20 * math.log10(worst + 1e-20), bound=-300.0)


def test_dc_block_is_scipys_high_pass(accuracy: Accuracy) -> None:
    audio = NOISE + 0.5
    b, a = scipy.signal.butter(1, 20.0, "highpass", fs=RATE)
    expected = scipy.signal.lfilter(b, a, audio)
    found = error(rendered("effects/dc_block", audio, corner=20.0), expected)
    accuracy("effects/dc_block", "scipy.signal.butter and lfilter", found, bound=-85.0)  # its tail ends at -90 dB


def test_width_turns_and_widens() -> None:
    mid, side = NOISE.sum(axis=0) / 2, (NOISE[0] - NOISE[1]) / 2
    assert (
        error(rendered("effects/stereo_width", NOISE, width=1.7), np.stack([mid + 1.7 * side, mid - 1.7 * side])) < -250
    )
    left = np.stack([math.sqrt(2) * mid, 0 * mid])
    assert error(rendered("effects/stereo_width", NOISE, width=0.0, rotation=-45.0), left) < -250


def test_width_is_a_matrix(accuracy: Accuracy) -> None:
    angle, width = math.radians(20.0), 0.4
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    blumlein = 0.5 * np.array([[1 + width, 1 - width], [1 - width, 1 + width]])
    found = error(rendered("effects/stereo_width", NOISE, width=width, rotation=20.0), turn @ blumlein @ NOISE)
    accuracy("effects/stereo_width", "Blumlein's shuffler as a matrix", found, bound=-250.0)


def test_haas_delays_one_side(accuracy: Accuracy) -> None:
    """Half a sample between two: scipy's resampled signal at twice the rate, moved by a whole sample."""
    window = np.pad(np.hanning(7400), (0, 600)) * scipy.signal.lfilter(
        scipy.signal.firwin(255, 0.8, window=("kaiser", 12.0)), 1.0, NOISE[0]
    )
    output = rendered("effects/haas", window[None], "right", time=1000.0 * 100.5 / RATE, level=-6.0)
    twice = scipy.signal.resample(window, 16000)
    expected = 10 ** (-6 / 20) * np.roll(twice, 201)[::2]
    assert np.abs(output[0] - window).max() < 1e-4 * np.abs(window).max()
    accuracy("effects/haas", "scipy.signal.resample, moved by 100.5 samples", error(output[1], expected), bound=-70.0)


def test_stereo_maker_is_scipys_all_passes_and_sums_to_mono(accuracy: Accuracy) -> None:
    mono = NOISE[:1]
    output = rendered("effects/stereo_maker", mono, width=0.5, lowest=200.0, spacing=1.0, bass=100.0)
    b, a = scipy.signal.butter(2, 100.0, "highpass", fs=RATE)
    side = scipy.signal.lfilter(b, a, mono[0])
    for stage in range(6):
        centre = 200.0 * 2.0**stage
        centre /= (1 + (centre / (0.45 * RATE)) ** 8) ** 0.125
        w0 = 2 * math.pi * centre / RATE
        alpha = math.sin(w0) / (2 * 0.8)
        poles = [1 + alpha, -2 * math.cos(w0), 1 - alpha]
        side = scipy.signal.lfilter(poles[::-1], poles, side)
    c, s = math.cos(math.pi / 8), math.sin(math.pi / 8)
    found = error(output, np.stack([c * mono[0] + s * side, c * mono[0] - s * side]))
    accuracy("effects/stereo_maker", "scipy.signal.lfilter of the cookbook's all-passes", found, bound=-150.0)
    assert error(output.sum(axis=0), 2 * c * mono[0]) < -250


def test_stereo_maker_keeps_the_power_and_decorrelates() -> None:
    left, right = rendered("effects/stereo_maker", NOISE[:1].repeat(4, axis=1), width=1.0, bass=20.0)
    power = 10 * math.log10((left**2 + right**2).mean() / (2 * (NOISE[0] ** 2).mean()))
    assert abs(power) < 0.1
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.15
