"""The rotary speaker against its geometry, on sines delayed exactly; its speeds and their ramp."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.errors import UserError

RATE = 44100


def _settings(**knobs: float) -> dict[str, torch.Tensor]:
    block = blocks.create("effects/rotary", sample_rate=RATE)
    chosen = {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return {**block.defaults(1, torch.float64), **chosen}


@pytest.mark.parametrize("frequency", [200.0, 800.0, 3000.0])
def test_a_sine_reaches_the_microphones_as_the_geometry_says(frequency: float, accuracy: Callable[..., None]) -> None:
    time = np.arange(RATE) / RATE
    settings = _settings(speed=1.0, fast=6.0, depth=0.8, distance=0.6, width=100.0, crossover=800.0, balance=4.0)
    block = blocks.create("effects/rotary", sample_rate=RATE)
    heard = block(torch.tensor(np.sin(2 * math.pi * frequency * time))[None, None], settings)[0].numpy()
    for side, channel in ((-1, 0), (1, 1)):
        expected = np.zeros(RATE)
        for kind, radius, turning, beam, gain in (
            ("high", 0.19, 6.0, 0.8, 2.0), ("low", 0.10, -5.1, 0.4, -2.0),
        ):  # fmt: skip
            sections = scipy.signal.butter(2, 800.0, kind, fs=RATE, output="sos")
            response = scipy.signal.sosfreqz(sections, [frequency], fs=RATE)[1][0] ** 2
            angle = 2 * math.pi * (turning * time) + side * math.radians(50.0)
            path = np.sqrt(0.6**2 + radius**2 - 2 * 0.6 * radius * np.cos(angle))
            phase = 2 * math.pi * frequency * (time - (path - 0.6 + radius) / 343.0) + np.angle(response)
            level = 10 ** (gain / 20) * abs(response) * (1 - beam * (1 - np.cos(angle)) / 2) * 0.6 / path
            expected += level * np.sin(phase)
        error = 20 * math.log10(np.abs(heard[channel] - expected)[4000:-20].max() / np.abs(expected).max())
        accuracy("effects/rotary", f"its geometry on a {frequency:g} Hz sine, channel {channel}", error, bound=-70.0)


def test_rotors_ramp_when_the_speed_is_switched() -> None:
    """One time constant after the switch the horn has covered 63 % of the way; the drum far less."""
    block = blocks.create("effects/rotary", sample_rate=RATE, ramp=0.5)
    speed = torch.cat([torch.zeros(RATE), torch.ones(2 * RATE)]).double()[None]
    settings = {**_settings(slow=1.0, fast=8.0), "speed": speed}
    rates = [block.cycles(settings, 3 * RATE, ratio, ramp)[0].diff() * RATE for ratio, ramp in ((1.0, 0.5), (1.0, 2.0))]
    assert float(rates[0][RATE // 2]) == pytest.approx(1.0)
    assert float(rates[0][RATE + RATE // 2]) == pytest.approx(8.0 ** (1 - math.exp(-1)), rel=1e-3)
    assert float(rates[1][RATE + RATE // 2]) < float(rates[0][RATE + RATE // 2])
    held = block.cycles({**settings, "speed": torch.ones(1)}, 100, 1.0, 0.5)
    followed = block.cycles({**settings, "speed": torch.ones(1, 100)}, 100, 1.0, 0.5)
    torch.testing.assert_close(held, followed)


def test_lows_and_highs_together_are_whole() -> None:
    """Without a beam and far away the two add up flat, but for the phase of the crossover and the path's length."""
    settings = _settings(speed=0.0, depth=0.0, distance=2.0, width=0.0)
    impulse = torch.zeros(1, 1, 1 << 14, dtype=torch.float64)
    impulse[..., 0] = 1.0
    block = blocks.create("effects/rotary", sample_rate=RATE)
    low, high = block._crossed(impulse, settings["crossover"])
    level = torch.fft.rfft((low + high)[0, 0]).abs()
    assert float((level - 1.0).abs().max()) < 1e-3


@pytest.mark.parametrize("ramp", [0.0, 20.0, "slow"])
def test_a_wrong_ramp_is_told(ramp: object) -> None:
    with pytest.raises(UserError, match="ramp="):
        blocks.create("effects/rotary", ramp=ramp)
