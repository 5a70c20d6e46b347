"""The phaser against JUCE's (through pedalboard) standing still, and against a loop over samples moving."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks
from hitchain.errors import UserError

RATE = 44100


def _play(audio: np.ndarray, knobs: dict[str, float], stages: int) -> np.ndarray:
    block = blocks.create("effects/phaser", sample_rate=RATE, stages=stages)
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(block(torch.tensor(audio)[None, None], settings)[0])


def test_at_rest_it_is_juces(accuracy: Callable[..., None]) -> None:
    """JUCE subtracts what it feeds back. Compared when its smoothed controls have arrived."""
    pedalboard = pytest.importorskip("pedalboard")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    settings = {"rate_hz": 0.5, "depth": 0.0, "centre_frequency_hz": 900.0, "feedback": 0.5, "mix": 1.0}
    expected = pedalboard.Phaser(**settings)(noise.astype(np.float32)[None], RATE)[0].astype(float)
    knobs = {"rate": 0.5, "frequency": 900.0, "depth": 0.0, "feedback": -0.5, "stereo": 0.0, "mix": 1.0}
    turned = math.sqrt(2.0) * _play(noise, knobs, stages=6)[0] - noise
    error = 20 * math.log10(np.abs(turned - expected)[RATE // 2 :].max() / np.abs(expected).max())
    accuracy("effects/phaser", "pedalboard.Phaser (JUCE), standing still", error, bound=-90.0)


def test_moving_it_is_the_loop(accuracy: Callable[..., None]) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 4000)
    knobs = {"rate": 9.0, "frequency": 600.0, "depth": 2.0, "feedback": 0.7, "stereo": 120.0, "mix": 0.7}
    heard = _play(noise, knobs, stages=4)
    for channel in range(2):
        state, last, expected = [0.0] * 4, 0.0, []
        for n, x in enumerate(noise):
            corner = 600.0 * 2.0 ** (2.0 * math.sin(2 * math.pi * (9.0 * n / RATE + channel * 120.0 / 360.0)))
            g = math.tan(math.pi * corner / RATE)
            u = x + 0.7 * last
            for k in range(4):
                v = (u - state[k]) * g / (1.0 + g)
                low = v + state[k]
                state[k] = low + v
                u = 2.0 * low - u
            last = u
            expected.append(math.cos(math.pi / 4 * 0.7) * x + math.sin(math.pi / 4 * 0.7) * u)
        error = 20 * math.log10(np.abs(heard[channel] - expected).max())
        accuracy("effects/phaser", f"a loop over samples, channel {channel}", error, bound=-200.0)


def test_two_notches_of_four_stages_stand_where_the_formula_says() -> None:
    """Each stage turns by 2 atan(f / corner): 45 and 135 degrees a stage at tan(22.5) and tan(67.5) of the corner."""
    impulse = np.zeros(1 << 15)
    impulse[0] = 1.0
    knobs = {"rate": 1.0, "frequency": 1000.0, "depth": 0.0, "feedback": 0.0, "stereo": 0.0, "mix": 1.0}
    spectrum = np.abs(np.fft.rfft(_play(impulse, knobs, stages=4)[0]))
    hertz = np.fft.rfftfreq(len(impulse), 1.0 / RATE)
    for degrees in (22.5, 67.5):
        at = np.argmin(np.abs(hertz - 1000.0 * math.tan(math.radians(degrees))))
        lowest = hertz[at - 200 + np.argmin(spectrum[at - 200 : at + 200])]
        assert lowest == pytest.approx(1000.0 * math.tan(math.radians(degrees)), rel=0.02)  # the bilinear transform
        assert spectrum[at - 200 : at + 200].min() < 0.02


@pytest.mark.parametrize("stages", [3, 14, 0, "many"])
def test_a_wrong_number_of_stages_is_told(stages: object) -> None:
    with pytest.raises(UserError, match="stages="):
        blocks.create("effects/phaser", stages=stages)
