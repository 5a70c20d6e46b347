"""The parametric speaker against scipy's filters and the physics it states."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from hitchain.blocks.cabs.speaker import Speaker
from hitchain.errors import UserError

RATE = 44100
N_FFT = RATE  # a bin for each Hz
HERTZ = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
PLAIN = {"breakup_gain": 0.0, "open_back": 0.0}


def response(order: int = 4, rate: int = RATE, **chosen: float) -> np.ndarray:
    block = Speaker(rate, order=order)
    values = block.defaults(1, torch.float64)
    values |= {key: torch.tensor([value], dtype=torch.float64) for key, value in chosen.items()}
    return block.response(values, N_FFT)[0, 0].numpy()


def decibels(ratio: np.ndarray, hertz: float) -> float:
    return float(20 * np.log10(np.abs(ratio[round(hertz * N_FFT / RATE)])))


def digital(numerator: list[float], denominator: list[float], corner: float) -> np.ndarray:
    """scipy's bilinear transform of a prototype with its corner at 1, pre-warped."""
    warp = 2 * RATE * math.tan(math.pi * corner / RATE)
    powers = warp ** -np.arange(len(denominator), dtype=float)[::-1]
    b, a = scipy.signal.bilinear(np.array(numerator) * powers, np.array(denominator) * powers, fs=RATE)
    return scipy.signal.freqz(b, a, worN=HERTZ, fs=RATE)[1]


@pytest.mark.parametrize("order", [2, 4, 6])
def test_against_scipys_bilinear_transform_of_each_part(order: int) -> None:
    size, resonance, damping, breakup, gain, rolloff = 10.0, 110.0, 0.7, 2200.0, 8.0, 4500.0
    width, height, quality = 1.5 * size * 0.0254, 10 ** (gain / 40), 1.5
    expected = digital([1, 0, 0], [1, damping, 1], resonance)
    expected = expected * digital([1, math.sqrt(0.5)], [1, 1], 115.0 / width)
    expected = expected * digital([1, height / quality, 1], [1, 1 / (height * quality), 1], breakup)
    sections = scipy.signal.butter(order, rolloff, fs=RATE, output="sos")
    expected = expected * scipy.signal.sosfreqz(sections, worN=HERTZ, fs=RATE)[1]
    rear = scipy.signal.sosfreqz(scipy.signal.butter(2, 1500.0, fs=RATE, output="sos"), worN=HERTZ, fs=RATE)[1]
    expected = expected * (1 - 0.9 * 0.6 * rear * np.exp(-2j * np.pi * HERTZ * 1.6 * size * 0.0254 / 343.0))
    result = response(
        order, size=size, resonance=resonance, damping=damping, breakup=breakup, breakup_gain=gain, rolloff=rolloff,
        open_back=0.6,
    )  # fmt: skip
    inside = slice(20, -1)
    ratio = result[inside] / expected[inside]
    assert np.abs(ratio / ratio[100] - 1).max() < 1e-5  # all but the loudness, tested below


def pink_level(magnitude: np.ndarray) -> float:
    band = (HERTZ >= 50) & (HERTZ <= 10_000)
    return float(10 * np.log10((np.abs(magnitude[band]) ** 2 / HERTZ[band]).sum() / (1 / HERTZ[band]).sum()))


@pytest.mark.parametrize(
    "chosen", [{}, {"open_back": 1.0}, {"breakup_gain": 15.0}, {"rolloff": 2000.0}, {"size": 6.0}, {"resonance": 200.0}]
)
def test_every_setting_is_as_loud(chosen: dict[str, float]) -> None:
    assert pink_level(response(**chosen)) == pytest.approx(0.0, abs=0.5)


def test_knobs_do_what_they_say() -> None:
    base = response(**PLAIN)
    base[0] = 1.0  # at DC there is nothing to divide by
    assert decibels(response(**{**PLAIN, "breakup_gain": 9.0}) / base, 2600) - decibels(
        response(**{**PLAIN, "breakup_gain": 9.0}) / base, 300
    ) == pytest.approx(9.0, abs=0.3)
    boomy, dry = (response(**PLAIN, damping=damping)[:20_000] for damping in (0.4, 2.5))
    dry[0] = 1.0
    step = decibels(boomy / dry, 90) - decibels(boomy / dry, 1000)
    assert step == pytest.approx(20 * math.log10(2.5 / 0.4), abs=0.3)  # Q of the two at resonance
    low = decibels(base, 20) - decibels(base, 10)
    assert low == pytest.approx(12.0, abs=0.6)  # a closed box: 12 dB an octave
    steep = [decibels(response(order, **PLAIN, rolloff=2000.0), 4000) - decibels(
        response(order, **PLAIN, rolloff=2000.0), 8000) for order in (2, 4, 6)]  # fmt: skip
    assert steep == pytest.approx([12.0, 24.0, 36.0], rel=0.3)  # more, for the bilinear transform ends in a zero


def test_an_open_back_cancels_the_lows() -> None:
    closed, opened = response(open_back=0.0), response(open_back=1.0)
    change = np.ones(len(HERTZ))
    change[1:] = np.abs(opened[1:] / closed[1:])  # both are 0 at DC
    change /= change[5000]
    # |1 - 0.9 exp(-j w d / c)|: small where the path of 0.49 m is a small part of the wave
    assert decibels(change, 20) < -12.0
    assert decibels(change, 40) < -7.0
    assert decibels(change, 80) < -3.0
    peak = 343.0 / (1.6 * 0.0254 * 12) / 2  # half a wave late and inverted: adds
    assert decibels(change, peak) > 3.0


def test_response_is_causal_and_over_within_its_tail() -> None:
    block = Speaker(RATE)
    for chosen in ({}, {"resonance": 50.0, "damping": 0.4}, {"resonance": 50.0, "damping": 2.5}, {"open_back": 1.0}):
        values: dict[str, Tensor] = block.defaults(1, torch.float64)
        values |= {key: torch.tensor([value], dtype=torch.float64) for key, value in chosen.items()}
        kernel = np.fft.irfft(block.response(values, N_FFT)[0, 0].numpy())
        tail = round(block.tail(values) * RATE)
        assert np.abs(kernel[tail:]).max() < 1e-4 * np.abs(kernel).max()
        assert tail < RATE


@pytest.mark.parametrize("rate", [8000, 22050, 96000, 192000])
def test_session_rates_agree_where_they_overlap(rate: int) -> None:
    here, there = response(), response(rate=rate)
    for hertz in (60.0, 200.0, 1000.0, 2500.0):
        other = 20 * np.log10(np.abs(there[round(hertz * N_FFT / rate)]))
        assert decibels(here, hertz) == pytest.approx(other, abs=1.5)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(UserError, match="2, 4, 6"):
        Speaker(RATE, order=3)


@pytest.mark.parametrize("count", [1.0, 2.0, 4.0, 8.0, 2.5])
def test_several_drivers_by_their_geometry(count: float, accuracy: Callable[..., None]) -> None:
    """Each further driver by Pythagoras, in its own sum."""
    spacing, size = 30.0, 12.0
    total = np.ones_like(HERTZ, dtype=complex)
    for index in range(1, 8):
        share = min(max(count - index, 0.0), 1.0)
        across = 0.01 * spacing * math.hypot(index % 2, index // 2)
        path = math.hypot(0.5, across)
        wide = 2 * math.pi * HERTZ / 343.0 * (0.5 * size * 0.0254) * across / path
        total += share * 0.5 / path * np.exp(-2j * np.pi * HERTZ * (path - 0.5) / 343.0) / (1 + wide**2 / 8)
    found = response(count=count, spacing=spacing, size=size)[40:15_000] / response(size=size)[40:15_000]
    ratio = found / total[40:15_000]
    error = 20 * math.log10(np.abs(ratio / ratio[100] - 1).max() + 1e-15)
    accuracy("cabs/speaker", f"geometry of {count:g} drivers", error, bound=-100.0)
    assert pink_level(response(count=count)) == pytest.approx(0.0, abs=0.5)
