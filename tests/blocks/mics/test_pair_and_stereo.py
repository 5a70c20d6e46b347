"""Two microphones by the physics of one spherical wave, worked out here with numpy alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.acoustics import air_absorption
from hitchain.blocks.mics.microphone import capsule_response
from hitchain.blocks.mics.pair import TYPES, Pair
from hitchain.blocks.mics.stereo import Stereo
from hitchain.blocks.parameter import Choice

RATE = 44_100
N_FFT = 1 << 15
HERTZ = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
BAND = (HERTZ > 30.0) & (HERTZ < 15_000.0)
RADII = {"dynamic": 0.011, "condenser": 0.0127, "ribbon": 0.006}
SPEED = 343.2


def chosen(block: LinearBlock, **knobs: float | str) -> dict[str, Tensor]:
    settings = block.defaults(1, torch.float64)
    for parameter in block.parameters:
        if parameter.name in knobs:
            value = knobs[parameter.name]
            settings[parameter.name] = (
                parameter.weights(str(value)).double()[None]
                if isinstance(parameter, Choice)
                else torch.tensor([value], dtype=torch.float64)
            )
    return settings


def wave(kind: str, pattern: float, angle: float, distance: float, level: float) -> np.ndarray:
    """level e^(-j w r / c) air ((1 - p) + p cos(a) (1 + c / (j w r + 2 pi 10 r))) loss, through the capsule's curve."""
    w = 2 * np.pi * HERTZ
    near = 1 + SPEED / (distance * (1j * w + 2 * np.pi * 10.0))
    air = 10 ** (-air_absorption(torch.from_numpy(HERTZ)).numpy() * distance / 20)
    size = w / SPEED * RADII[kind] * math.sin(angle)
    heard = level * air * np.exp(-1j * w * distance / SPEED) / (1 + size**2 / 8)
    heard = heard * ((1 - pattern) + pattern * math.cos(angle) * near)
    return heard * capsule_response(kind, torch.from_numpy(HERTZ)).numpy() * anti_aliasing()


def anti_aliasing() -> np.ndarray:
    sections = scipy.signal.butter(6, 0.45 * RATE, fs=RATE, output="sos")
    return scipy.signal.sosfreqz(sections, worN=HERTZ, fs=RATE)[1]


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    error = np.abs(found - expected)[BAND] ** 2
    return float(10 * np.log10(error.sum() / (np.abs(expected[BAND]) ** 2).sum()))


def test_a_pair_is_the_sum_of_two_waves(accuracy: Any) -> None:
    block = Pair(RATE)
    knobs = {"first_type": "dynamic", "first_distance": 6.0, "first_angle": 30.0, "second_type": "condenser"}
    more = {"second_distance": 80.0, "second_angle": 5.0, "pattern": 0.4, "balance": 0.3, "polarity": "inverted"}
    found = block.response(chosen(block, **knobs, **more), N_FFT)[0, 0].numpy()
    expected = 0.7 * wave("dynamic", 0.4, math.radians(30.0), 0.06, 1.0)
    expected = expected - 0.3 * wave("condenser", 0.4, math.radians(5.0), 0.8, 1.0)
    accuracy("mics/pair", "numpy: two spherical waves", apart(found, expected), bound=-80.0)


def test_the_comb_has_its_notches_where_the_paths_say() -> None:
    """Two of a kind, 34.32 cm apart: notches at 500, 1500, 2500 Hz, as deep as equal levels make them."""
    block = Pair(RATE)
    same = {f"{which}_type": "condenser" for which in ("first", "second")}
    angles = {f"{which}_angle": 1.0 for which in ("first", "second")}
    settings = chosen(block, **same, **angles, pattern=0.0, balance=0.5, first_distance=20.0, second_distance=54.32)
    level = np.abs(block.response(settings, N_FFT)[0, 0].numpy())
    notches = HERTZ[scipy.signal.argrelmin(level, order=200)[0]]
    assert notches[:3] == pytest.approx([500.0, 1500.0, 2500.0], abs=2.0)
    assert level[np.argmin(np.abs(HERTZ - 500.0))] < 0.01
    assert level[np.argmin(np.abs(HERTZ - 1000.0))] == pytest.approx(1.0, abs=0.02)


TECHNIQUES = {  # pattern, pattern, aim of the left [degrees], apart [m]
    "xy": (0.5, 0.5, 45.0, 0.0),
    "ortf": (0.5, 0.5, 55.0, 0.17),
    "spaced": (0.0, 0.0, 0.0, 0.6),
    "blumlein": (1.0, 1.0, 45.0, 0.0),
}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("position", [-50.0, 20.0])
def test_techniques_by_their_geometry(technique: str, position: float, accuracy: Any) -> None:
    block = Stereo(RATE)
    one, other, aim, between = TECHNIQUES[technique]
    settings = chosen(block, technique=technique, position=position, distance=120.0, width=1.0)
    found = block.response(settings, N_FFT)[0].numpy()
    where = np.array([1.2 * math.sin(math.radians(position)), 1.2 * math.cos(math.radians(position))])
    worst = -300.0
    for channel, (pattern, side) in enumerate(((one, -1.0), (other, 1.0))):
        path = where - np.array([side * between / 2, 0.0])
        axis = np.array([math.sin(math.radians(side * aim)), math.cos(math.radians(side * aim))])
        distance = float(np.hypot(*path))
        angle = math.acos(float(path @ axis) / distance)
        expected = wave("condenser", pattern, angle, distance, 1.2 / distance)
        worst = max(worst, apart(found[channel], expected))
    accuracy("mics/stereo", f"numpy: the geometry of {technique}", worst, bound=-80.0)


def test_mid_side_is_a_sum_and_a_difference(accuracy: Any) -> None:
    block, position = Stereo(RATE), math.radians(30.0)
    found = block.response(chosen(block, technique="mid_side", position=30.0, distance=100.0, width=0.5), N_FFT)[0]
    middle = wave("condenser", 0.5, position, 1.0, 1.0)
    side = wave("condenser", 1.0, position + math.pi / 2, 1.0, 1.0)
    worst = max(
        apart(channel.numpy(), middle + sign * 0.5 * side) for channel, sign in zip(found, (1.0, -1.0), strict=True)
    )
    accuracy("mics/stereo", "numpy: the geometry of mid_side", worst, bound=-80.0)


@pytest.mark.parametrize("technique", [*TECHNIQUES, "mid_side"])
def test_left_is_left_and_the_middle_is_even(technique: str) -> None:
    block = Stereo(RATE)
    left, centre = (
        block.response(chosen(block, technique=technique, position=position), N_FFT)[0].numpy()
        for position in (-30.0, 0.0)
    )
    assert np.abs(centre[0] - centre[1]).max() < 1e-9
    power = (np.abs(left[:, BAND]) ** 2).sum(axis=1)
    assert power[0] > power[1]


def test_presets_name_known_types() -> None:
    assert TYPES == ("dynamic", "condenser", "ribbon")
