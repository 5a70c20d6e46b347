"""The microphone as a whole: levels, delays, comb and room measured on what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks.mics.microphone import Microphone, capsule_response

RATE = 44100
TYPES = ("dynamic", "condenser", "ribbon")
DRY = {"floor": 0.0, "room": 0.0, "angle": 0.0}


def chosen(block: Microphone, type: str = "condenser", **knobs: float) -> dict[str, torch.Tensor]:
    defaults = block.defaults(1, torch.float64)
    weights = torch.tensor([[float(name == type) for name in TYPES]], dtype=torch.float64)
    return {**defaults, "type": weights, **{k: torch.tensor([v], dtype=torch.float64) for k, v in knobs.items()}}


def impulse(knobs: dict[str, float], samples: int = RATE, rate: int = RATE, type: str = "condenser") -> np.ndarray:
    block = Microphone(rate)
    audio = torch.zeros(1, 1, samples, dtype=torch.float64)
    audio[..., 0] = 1.0
    return block(audio, chosen(block, type, **knobs))[0, 0].numpy()


def level(response: np.ndarray, hertz: float, rate: int = RATE) -> float:
    """[dB] of an impulse response at a frequency, by its transform at that frequency alone."""
    turns = np.exp(-2j * np.pi * hertz / rate * np.arange(response.size))
    return float(20 * np.log10(np.abs(response @ turns)))


@pytest.mark.parametrize("type", TYPES)
def test_level_is_0_db_at_the_reference(type: str) -> None:
    """At 1 kHz and 30 cm an omnidirectional microphone on axis neither amplifies nor attenuates: 0.05 dB."""
    assert level(impulse({**DRY, "pattern": 0.0}, type=type), 1000.0) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("type", TYPES)
def test_pink_noise_is_as_loud_through_every_type(type: str) -> None:
    """Within 3 dB of no microphone, from 50 Hz to 16 kHz."""
    hertz = torch.from_numpy(np.geomspace(50.0, 16000.0, 400))  # equal steps in log frequency weigh as pink noise does
    power = capsule_response(type, hertz).abs().square().mean().item()
    assert abs(10 * math.log10(power)) < 3.0


def test_curves_have_the_character_of_their_types() -> None:
    def decibels(type: str, hertz: float) -> float:
        return 20 * math.log10(capsule_response(type, torch.tensor([hertz], dtype=torch.float64)).abs().item())

    assert 4.0 < decibels("dynamic", 5500.0) < 8.0  # presence
    assert -16.0 < decibels("dynamic", 50.0) < -6.0  # bass falls
    assert abs(decibels("condenser", 50.0)) < 1.0
    assert 1.0 < decibels("condenser", 10000.0) < 4.0
    assert -12.0 < decibels("ribbon", 14000.0) < -6.0  # soft on top
    assert abs(decibels("ribbon", 100.0)) < 1.5


@pytest.mark.parametrize(("near", "far"), [(10.0, 20.0), (30.0, 300.0)])
def test_one_over_r(near: float, far: float, accuracy: Callable[..., None]) -> None:
    """An omnidirectional microphone, without floor and room: 20 log10 of the distances. At 500 Hz air takes 0.01 dB."""
    levels = [level(impulse({**DRY, "pattern": 0.0, "distance": r}), 500.0) for r in (near, far)]
    error = abs(levels[0] - levels[1] - 20 * math.log10(far / near))
    accuracy("mics/microphone", "the 1 / r law, 10 cm to 3 m", error, bound=0.02)


def test_proximity_effect(accuracy: Callable[..., None]) -> None:
    """The cardioid's rise from 1 kHz to 100 Hz at 5 cm, over the omnidirectional one's: |1 + 0.5 / (j k r)|."""

    def boost(hertz: float) -> float:
        heard = [level(impulse({**DRY, "pattern": p, "distance": 5.0}), hertz) for p in (0.5, 0.0)]
        return heard[0] - heard[1]

    def exact(hertz: float) -> float:
        return 20 * math.log10(abs(1 + 0.5 / (1j * 2 * math.pi * hertz / 343.2 * 0.05)))

    for hertz in (100.0, 300.0, 1000.0):
        error = abs(boost(hertz) - exact(hertz))
        accuracy("mics/microphone", "proximity of a spherical wave at 5 cm", error, bound=0.12)  # coupled at 10 Hz


def test_the_direct_sound_comes_after_the_time_of_flight() -> None:
    """At 3 m it is late by 2 m / c over 1 m. By cross-correlation at 16 times the rate: a tenth of a sample."""
    one, three = (impulse({**DRY, "pattern": 0.0, "distance": d}, 2000) for d in (100.0, 300.0))
    raised = [scipy.signal.resample_poly(x, 16, 1) for x in (one, three)]
    lag = np.argmax(scipy.signal.correlate(raised[1], raised[0], method="fft")) - (raised[0].size - 1)
    assert lag / 16 == pytest.approx(2.0 / 343.2 * RATE, abs=0.1)


def test_the_floor_makes_a_comb(accuracy: Callable[..., None]) -> None:
    """Notches where the reflected path is longer by an odd number of half waves, each within 1 %, as deep as
    1 - floor r / r' for an omnidirectional microphone. Geometry worked out here: r = 1 m, h = 0.75 m, r' = 1.803 m."""
    knobs = {**DRY, "pattern": 0.0, "distance": 100.0, "height": 75.0, "floor": 0.95, "angle": 0.0}
    longer = math.sqrt(1.0 + 1.5**2) - 1.0
    dry, comb = impulse({**knobs, "floor": 0.0}, 8000), impulse(knobs, 8000)
    grid = np.arange(100.0, 1400.0, 2.0)
    ratio = np.array([level(comb, hertz) - level(dry, hertz) for hertz in grid])
    notches = grid[scipy.signal.argrelmin(ratio, order=25)[0]]
    expected = [343.2 / longer * (n + 0.5) for n in range(3)]
    assert len(notches) == len(expected)
    error = 100 * np.abs(notches / np.array(expected) - 1).max()
    accuracy("mics/microphone", "geometry: the floor's notches", error, bound=1.0, unit="%")
    depth = 20 * math.log10(1 - 0.95 / math.sqrt(1.0 + 1.5**2))
    assert ratio.min() == pytest.approx(depth, abs=0.3)  # the capsule takes a little off the slanted wave


@pytest.mark.parametrize("decay", [0.2, 0.6])
def test_the_room_decays_in_its_time(decay: float, accuracy: Callable[..., None]) -> None:
    """By Schroeder's backward integral from -5 to -25 dB, within 10 %: the room is one draw of noise."""
    response = impulse({"room": 1.0, "decay": decay, "floor": 0.0, "distance": 300.0}, 2 * RATE)
    tail = response[round(0.03 * RATE) :]
    energy = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2))
    start, end = np.argmax(energy < -5.0), np.argmax(energy < -25.0)
    error = 100 * abs((end - start) / RATE * 3.0 / decay - 1)
    accuracy("mics/microphone", "Schroeder's integral: the room's decay", error, bound=10.0, unit="%")


def test_moving_away_brings_the_room_up() -> None:
    def direct_to_diffuse(distance: float) -> float:
        response = impulse({"room": 0.3, "floor": 0.0, "pattern": 0.0, "distance": distance})
        split = round((distance / 100.0 / 343.2 + 0.005) * RATE)
        return float(10 * np.log10(np.sum(response[:split] ** 2) / np.sum(response[split:] ** 2)))

    assert direct_to_diffuse(30.0) - direct_to_diffuse(120.0) == pytest.approx(20 * math.log10(4.0), abs=1.5)


def test_a_cardioid_hears_a_third_of_the_room_of_an_omni() -> None:
    def diffuse(pattern: float) -> float:
        response = impulse({"room": 1.0, "floor": 0.0, "pattern": pattern})
        return float(10 * np.log10(np.sum(response[round(0.02 * RATE) :] ** 2)))

    assert diffuse(0.5) - diffuse(0.0) == pytest.approx(10 * math.log10(1 / 3), abs=0.5)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_nothing_comes_before_its_time(rate: int) -> None:
    """What wraps around to the start, or sounds before the sound has arrived, is 60 dB down (at 8 kHz the fractional
    delay rings for some samples before a wave that is late by little more than one)."""
    response = impulse({"distance": 100.0, "decay": 1.0, "room": 1.0}, 2 * rate, rate)
    arrival = round(1.0 / 343.2 * rate)
    before = np.abs(response[: arrival - 12]).max()
    assert 20 * np.log10(before / np.abs(response).max()) < -50.0
    assert np.abs(response[-rate // 10 :]).max() < 1e-4 * np.abs(response).max()


def test_the_same_in_every_instance() -> None:
    audio = torch.randn(1, 2, 3000, generator=torch.Generator().manual_seed(0))
    one, other = (Microphone(RATE) for _ in range(2))
    assert torch.equal(one(audio, one.defaults()), other(audio, other.defaults()))


@settings(max_examples=12)
@given(
    kind=st.sampled_from(["silence", "constant", "impulse", "noise", "one"]),
    channels=st.integers(1, 2),
    corner=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=7, max_size=7),
    type=st.sampled_from(TYPES),
)
def test_properties(kind: str, channels: int, corner: list[float], type: str) -> None:
    """At every corner finite, no louder than 5 cm of proximity makes it (50 dB), silence to silence, items apart."""
    block = Microphone(RATE)
    samples = 1 if kind == "one" else 3000
    audio = {
        "silence": torch.zeros(2, channels, samples),
        "constant": torch.full((2, channels, samples), 0.5),
        "impulse": torch.nn.functional.one_hot(torch.tensor(samples // 2), samples).float().expand(2, channels, -1),
        "noise": torch.rand(1, channels, samples, generator=torch.Generator().manual_seed(1))
        .mul(2)
        .sub(1)
        .repeat(2, 1, 1),
        "one": torch.ones(2, channels, 1),
    }[kind].clone()
    audio[1] *= 0.1
    knobs = {p.name: p.from_unit(torch.tensor([u, u])) for p, u in zip(block.parameters[1:], corner, strict=True)}
    weights = torch.tensor([[float(name == type) for name in TYPES]]).expand(2, -1)
    given = {**knobs, "type": weights}
    output = block(audio, given)
    assert output.shape == audio.shape
    assert output.isfinite().all()
    assert output.abs().max() <= 316.0 * audio.abs().max()
    assert kind != "silence" or output.abs().max() == 0
    assert torch.allclose(0.1 * output[0], output[1], atol=1e-3 * output.abs().max().item())
