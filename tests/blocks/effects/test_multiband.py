"""Multiband compressor and multiband rack: against scipy's crossovers and a loop, and each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.parameter import SIDECHAIN
from hitchain.errors import UserError

Accuracy = Callable[..., None]
RATE = 44100
NAMES = ["effects/multiband_compressor", "mastering/multiband_compressor", "effects/multiband"]
BANDS = ("low", "mid", "high")
ROW = {"gain": {"block": "effects/gain"}}


def make(name: str) -> blocks.Block:
    return blocks.create(name, **(dict.fromkeys(BANDS, ROW) if name == "effects/multiband" else {}))


def split(audio: np.ndarray, low: float, high: float) -> list[np.ndarray]:
    """Three bands by scipy: the lowest through the all-pass that the other two sum to at the upper crossover."""

    def through(signal: np.ndarray, kind: str, frequency: float) -> np.ndarray:
        sections = scipy.signal.butter(2, frequency, kind, fs=RATE, output="sos")
        return scipy.signal.sosfilt(np.concatenate([sections, sections]), signal)

    bottom, rest = through(audio, "lowpass", low), through(audio, "highpass", low)
    turned = through(bottom, "lowpass", high) + through(bottom, "highpass", high)
    return [turned, through(rest, "lowpass", high), through(rest, "highpass", high)]


def compressed(audio: np.ndarray, threshold: float, ratio: float, attack: float, release: float) -> np.ndarray:
    """One sample after the other, knee 6 dB."""
    state, output = 0.0, np.empty_like(audio)
    up, down = (1.0 - math.exp(-1000.0 / (time * RATE)) for time in (attack, release))
    for t in range(audio.shape[1]):
        over = 20 * math.log10(max(np.abs(audio[:, t]).max(), 1e-6)) - threshold
        above = 0.0 if over < -3.0 else over if over > 3.0 else (over + 3.0) ** 2 / 12.0
        reduction = above * (1 - 1 / ratio)
        state += (up if reduction > state else down) * (reduction - state)
        output[:, t] = audio[:, t] * 10 ** (-state / 20)
    return output


def test_compressor_is_the_loop_on_scipys_bands(accuracy: Accuracy) -> None:
    """-120 dB in float64: the same equations, the filters in another form."""
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 6000))
    block = make("effects/multiband_compressor")
    settings = block.defaults(1, torch.float64)
    for band in BANDS:
        settings[f"{band}_threshold"].fill_(-36.0)
    times = zip(split(noise, 180.0, 3000.0), (20.0, 10.0, 3.0), (180.0, 120.0, 80.0), strict=True)
    expected = sum(compressed(part, -36.0, 2.5, attack, release) for part, attack, release in times)
    output = block(torch.tensor(noise[None]), settings)[0].numpy()
    error = 20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max())
    accuracy("effects/multiband_compressor", "scipy.signal.butter and a loop over samples", error, bound=-120.0)


@pytest.mark.parametrize("name", NAMES)
def test_idle_it_is_flat(name: str, accuracy: Accuracy) -> None:
    """A faint impulse turns nothing down: 0 dB at every frequency."""
    block = make(name)
    impulse = torch.zeros(1, 1, 1 << 15, dtype=torch.float64)
    impulse[..., 0] = 1e-4
    output = block(impulse, block.defaults(1, torch.float64))
    level = 20 * torch.log10(torch.fft.rfft(output)[0, 0].abs() / 1e-4)
    accuracy(name, "a flat response when idle", float(level.abs().max()), bound=1e-3, unit="dB")


def test_a_rack_of_compressors_is_the_multiband_compressor() -> None:
    """Racks of `effects/compressor` set alike give the same sound."""
    whole = make("effects/multiband_compressor")
    rows = {}
    settings = whole.defaults(1, torch.float64)
    for band in BANDS:
        knobs = {key: float(settings[f"{band}_{key}"]) for key in ("threshold", "ratio", "attack", "release")}
        rows[band] = {"compressor": {"block": "effects/compressor", "knee": 6.0, **knobs}}
    rack = blocks.create("effects/multiband", **rows)
    audio = torch.randn(1, 2, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(rack(audio, rack.defaults(1, torch.float64)), whole(audio, settings), rtol=0, atol=1e-9)


def test_a_band_alone_is_turned() -> None:
    """12 dB less treble leaves the bass where it was."""
    rack = blocks.create("effects/multiband", high={"gain": {"block": "effects/gain", "level": -12.0}})
    assert {knob.name for knob in rack.parameters} >= {"high.gain.level", "high_level", "low_crossover"}
    impulse = torch.zeros(1, 1, 1 << 14, dtype=torch.float64)
    impulse[..., 0] = 1.0
    level = 20 * torch.log10(torch.fft.rfft(rack(impulse, rack.defaults(1, torch.float64)))[0, 0].abs())
    assert float(level[20]) == pytest.approx(0.0, abs=0.05)
    assert float(level[-20]) == pytest.approx(-12.0, abs=0.05)


def test_a_band_ducks_under_another_track() -> None:
    """A loud sidechain turns the low band down, by a compressor inside; the treble is left as it was."""
    knobs = {"threshold": -40.0, "ratio": 20.0, "attack": 1.0}
    rack = blocks.create("effects/multiband", low={"compressor": {"block": "effects/compressor", **knobs}})
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    audio = (0.05 * (torch.sin(2 * math.pi * 60.0 * time) + torch.sin(2 * math.pi * 8000.0 * time)))[None, None]
    settings = rack.defaults(1, torch.float64)
    levels = []
    for heard in (torch.zeros_like(audio), torch.ones_like(audio)):
        output = rack(audio, {**settings, SIDECHAIN: heard})[0, 0, RATE // 2 :]
        spectrum = 20 * torch.log10(torch.fft.rfft(output).abs())
        levels.append([float(spectrum[frequency // 2]) for frequency in (60, 8000)])
    assert levels[1][0] - levels[0][0] < -30.0  # 40 dB over at 20:1, and what of 60 Hz the middle band lets through
    assert levels[1][1] - levels[0][1] == pytest.approx(0.0, abs=0.01)


def test_an_empty_rack_says_what_should_stand_there() -> None:
    with pytest.raises(UserError, match="low should name at least one block"):
        blocks.create("effects/multiband")


@pytest.mark.parametrize("ceiling", [-3.0, -12.0])
def test_a_tracks_limiter_keeps_its_ceiling(ceiling: float, accuracy: Accuracy) -> None:
    """The largest sample above the ceiling, to float32's rounding."""
    block = blocks.create("effects/limiter")
    audio = 0.5 * torch.randn(2, 2, 20000, generator=torch.Generator().manual_seed(0))
    settings = block.defaults(2)
    settings["gain"].fill_(12.0)
    settings["ceiling"].fill_(ceiling)
    over = 20 * math.log10(float(block(audio, settings).abs().max())) - ceiling
    accuracy("effects/limiter", f"its ceiling, {ceiling:g} dB, by numpy's maximum", over, bound=1e-4, unit="dB")
