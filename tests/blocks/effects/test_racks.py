"""The racks against arithmetic in numpy and scipy on what their blocks do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.signal
import torch

from hitchain.blocks.nesting import make

Accuracy = Callable[..., None]
RATE = 44100
AUDIO = np.random.default_rng(0).uniform(-1, 1, (2, 6000))
DELAY = {"block": "effects/delay", "time": 1000.0 * 300 / RATE, "feedback": 0.0, "tone": 500.0, "mix": 1.0}
QUIETER, QUIET = {"block": "effects/gain", "level": -4.0}, 10 ** (-4.0 / 20)


def play(entry: dict[str, Any]) -> np.ndarray:
    rack, knobs = make(entry, "lead.effects.rack", RATE)
    turned = {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(rack(torch.from_numpy(AUDIO)[None], {**rack.defaults(1, torch.float64), **turned})[0])


def echo(audio: np.ndarray) -> np.ndarray:
    """DELAY by scipy: 300 samples late through a first-order Butterworth at 500 Hz."""
    late = np.pad(audio, ((0, 0), (300, 0)))[:, : audio.shape[1]]
    return np.asarray(scipy.signal.lfilter(*scipy.signal.butter(1, 500.0, fs=RATE), late))


def decibels(output: np.ndarray, expected: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max() + 1e-20))


def test_serial(accuracy: Accuracy) -> None:
    found = play({"block": "effects/serial", "blocks": {"quieter": QUIETER, "delay": DELAY}, "mix": 0.3})
    error = decibels(found, 0.7 * AUDIO + 0.3 * echo(QUIET * AUDIO))
    accuracy("effects/serial", "numpy and scipy: dry and wet of a gain and an echo", error, bound=-120.0)


def test_parallel(accuracy: Accuracy) -> None:
    rows = {"echo": {"delay": DELAY}, "both": {"quieter": QUIETER, "delay": DELAY}}
    found = play({"block": "effects/parallel", "rows": rows, "dry": -3.0, "echo_level": 2.0, "both_level": -9.0})
    expected = 10 ** (-3 / 20) * AUDIO + 10 ** (2 / 20) * echo(AUDIO) + 10 ** (-9 / 20) * echo(QUIET * AUDIO)
    accuracy("effects/parallel", "numpy and scipy: sum of two rows and dry", decibels(found, expected), bound=-120.0)


def test_mid_side(accuracy: Accuracy) -> None:
    """One row alone and both, with levels: m = (l + r) / 2 and s = (l - r) / 2 are processed, l, r = m + s, m - s."""
    middle, side = (AUDIO[:1] + AUDIO[1:]) / 2, (AUDIO[:1] - AUDIO[1:]) / 2
    both = {"mid": {"quieter": QUIETER}, "side": {"delay": DELAY}}
    for rows, turned in ((both, (QUIET * middle, echo(side))), ({"side": both["side"]}, (middle, echo(side)))):
        found = play({"block": "effects/mid_side", **rows, "mid_level": -1.0, "side_level": 5.0})
        m, s = 10 ** (-1 / 20) * turned[0], 10 ** (5 / 20) * turned[1]
        error = decibels(found, np.concatenate([m + s, m - s]))
        accuracy("effects/mid_side", "numpy and scipy: a gain on the middle, an echo on the sides", error, bound=-120.0)
