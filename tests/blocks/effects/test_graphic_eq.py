"""The graphic equalisers: their curve by scipy's transfer function, their sound by scipy's filter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.effects.graphic_eq import GraphicEq

Accuracy = Callable[..., None]
NAMES = ["effects/graphic_eq", "effects/graphic_eq_31"]


def made(name: str, rate: int = 44100) -> GraphicEq:
    block = blocks.create(name, sample_rate=rate)
    assert isinstance(block, GraphicEq)
    return block


def sliders(block: GraphicEq, levels: np.ndarray) -> dict[str, torch.Tensor]:
    return {
        knob.name: torch.tensor([level], dtype=torch.float64)
        for knob, level in zip(block.parameters, levels, strict=True)
    }


def curves(block: GraphicEq) -> list[np.ndarray]:
    """All up, alternately up and down, one alone, and at random, to the ends and between."""
    count = len(block.centres)
    random = np.random.default_rng(0)
    alone = np.zeros(count)
    alone[count // 2] = -12.0
    ends = [12.0 * np.sign(random.standard_normal(count)) for _ in range(8)]
    between = [random.uniform(-12, 12, count) for _ in range(4)]
    return [np.full(count, 12.0), 12.0 * (-1.0) ** np.arange(count), alone, *ends, *between]


def heard(block: GraphicEq, levels: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """[dB] by scipy.signal.sosfreqz."""
    b, a = block.sections(sliders(block, levels))
    sections = torch.cat([b, a], dim=-1)[0].numpy()
    _, response = scipy.signal.sosfreqz(sections, worN=frequencies, fs=block.sample_rate)
    return 20 * np.log10(np.abs(response))


@pytest.mark.parametrize("name", NAMES)
def test_each_slider_is_the_gain_at_its_centre(name: str, accuracy: Accuracy) -> None:
    """To a millionth of a dB: the search is exact, and float64 designs a band at 20 Hz to about 1e-9 dB."""
    worst = 0.0
    for rate in (44100, 48000, 96000):
        block = made(name, rate)
        for levels in curves(block):
            worst = max(worst, np.abs(heard(block, levels, np.array(block.exact)) - levels).max())
    accuracy(name, "its sliders at their centres, by scipy.signal.sosfreqz", worst, bound=1e-6, unit="dB")


@pytest.mark.parametrize("name", NAMES)
def test_between_centres_it_joins_the_sliders(name: str, accuracy: Accuracy) -> None:
    """Within 2 dB of straight lines, with neighbours at opposite ends too: smooth bands cannot draw corners."""
    worst = 0.0
    for rate in (44100, 96000):
        block = made(name, rate)
        centres = np.array(block.exact)
        between = np.geomspace(centres[0], centres[-1], 1000)
        for levels in curves(block):
            lines = np.interp(np.log(between), np.log(centres), levels)
            worst = max(worst, np.abs(heard(block, levels, between) - lines).max())
    accuracy(name, "straight lines from slider to slider", worst, bound=2.0, unit="dB")


@pytest.mark.parametrize("name", NAMES)
def test_it_sounds_as_scipys_filter(name: str, accuracy: Accuracy) -> None:
    """-80 dB: float32 in blocks against float64 sample by sample."""
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 2, 20000))
    worst = -np.inf
    block = made(name)
    for levels in curves(block)[:5]:
        settings = sliders(block, levels)
        b, a = block.sections(settings)
        expected = scipy.signal.sosfilt(torch.cat([b, a], dim=-1)[0].numpy(), noise)
        single = {key: value.float() for key, value in settings.items()}
        error = block(torch.tensor(noise, dtype=torch.float32), single).numpy() - expected
        worst = max(worst, 20 * np.log10(np.abs(error).max() / np.abs(expected).max()))
    accuracy(name, "scipy.signal.sosfilt", worst, bound=-80.0)


def test_centres_are_the_preferred_frequencies() -> None:
    """ISO 266: 1 kHz times powers of 10^0.1 and 10^0.3, within 2 % of their names."""
    for name in NAMES:
        block = made(name)
        np.testing.assert_allclose(block.exact, block.centres, rtol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_at_a_low_rate_the_highest_sliders_do_nothing(name: str) -> None:
    block = made(name, 8000)
    levels = np.where(np.array(block.centres) > 3680.0, 12.0, 0.0)
    audio = torch.rand(1, 1, 500, dtype=torch.float64)
    torch.testing.assert_close(block(audio, sliders(block, levels)), audio, rtol=0, atol=1e-9)
