"""The diffuse delay and the spring, pass by pass with scipy's filters in time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.effects.diffuse_delay import DIFFUSERS
from hitchain.blocks.effects.spring import DISPERSION, SPRINGS, STAGES

RATE = 44100
Accuracy = Callable[..., None]
LOW = scipy.signal.firwin(255, 0.86, window=("kaiser", 12.0))  # above 0.45 of the rate the blocks roll off
AUDIO = np.pad(scipy.signal.lfilter(LOW, 1.0, np.random.default_rng(0).uniform(-1.0, 1.0, 2000)), (0, 14000))


def rendered(name: str, **knobs: float) -> np.ndarray:
    block = blocks.create(name)
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in {**knobs, "mix": 1.0}.items()}
    return block(torch.tensor(AUDIO[None, None]), settings)[0].numpy()


def error(output: np.ndarray, expected: np.ndarray) -> float:
    return 20.0 * math.log10(np.abs(output - expected).max() / np.abs(expected).max())


def late(audio: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(audio, (samples, 0))[: len(audio)]


def all_pass(audio: np.ndarray, samples: int, g: float) -> np.ndarray:
    numerator = np.zeros(samples + 1)
    numerator[0], numerator[-1] = g, 1.0
    return scipy.signal.lfilter(numerator, np.where(numerator == 1.0, g, 0.0) + np.eye(1, samples + 1)[0], audio)


def low_pass(audio: np.ndarray, frequency: float) -> np.ndarray:
    return scipy.signal.lfilter(*scipy.signal.butter(1, frequency, fs=RATE), audio)


def test_diffuse_delay_pass_by_pass(accuracy: Accuracy) -> None:
    """A rate of whole samples a millisecond times a tenth: every all-pass has a whole length at size 10 / 44.1."""
    size, g, feedback, length = 10.0 / 44.1, 0.6, 0.7, 1323
    knobs = {"time": 1000.0 * length / RATE, "feedback": feedback, "diffusion": g, "size": size, "tone": 6000.0}
    output = rendered("effects/diffuse_delay", **knobs)
    expected = np.zeros_like(output)
    for side in range(2):
        echo = AUDIO
        for number in range(len(AUDIO) // length):
            echo = low_pass(late(echo, length), 6000.0)
            for milliseconds in DIFFUSERS[side]:
                echo = all_pass(echo, round(milliseconds * 10), g)
            expected[side] += feedback**number * echo
    accuracy("effects/diffuse_delay", "scipy.signal.lfilter, echo by echo", error(output, expected), bound=-75.0)


def test_spring_pass_by_pass(accuracy: Accuracy) -> None:
    stretch, length, decay = 6, 441, 0.6
    tension = RATE / (2.0 * stretch)
    output = rendered("effects/spring", tension=tension, length=10 * length / 441.0 * 2.0, damping=5000.0, decay=decay)
    assert SPRINGS[0] == (1.0, 1.0)
    wave, spring = AUDIO, np.zeros_like(AUDIO)
    sections = np.concatenate(
        [
            scipy.signal.butter(2, 60.0, "highpass", fs=RATE, output="sos"),
            scipy.signal.butter(4, tension, fs=RATE, output="sos"),
        ]
    )
    for number in range(1, len(AUDIO) // (2 * length), 1):
        wave = low_pass(scipy.signal.sosfilt(sections, late(wave, 2 * length)), 5000.0)
        for _ in range(STAGES):
            wave = all_pass(wave, stretch, DISPERSION)
        if number % 2:
            spring += decay ** (number // 2) * wave
    near, far = math.sqrt(0.8), math.sqrt(0.2)  # the second spring cancels out
    first = (near * output[0] - far * output[1]) / (near**2 - far**2)
    accuracy("effects/spring", "scipy.signal.lfilter, pass by pass, one spring", error(first, spring), bound=-75.0)


def test_springs_chirp() -> None:
    """Near the transition frequency the first wave comes much later than at low frequencies: by the group delay."""
    impulse = torch.zeros(1, 1, 20000, dtype=torch.float64)
    impulse[..., 0] = 1.0
    block = blocks.create("effects/spring")
    settings = block.defaults(1, torch.float64) | {
        "mix": torch.ones(1).double(),
        "decay": torch.full((1,), 0.05).double(),
    }
    left = block(impulse, settings)[0, 0].numpy()
    arrivals = []
    for centre in (500.0, 3200.0):
        band = scipy.signal.butter(2, [0.9 * centre, 1.1 * centre], "bandpass", fs=RATE, output="sos")
        energy = np.cumsum(scipy.signal.sosfiltfilt(band, left) ** 2)
        arrivals.append(1000.0 * np.searchsorted(energy, 0.5 * energy[-1]) / RATE)
    assert 33.0 < arrivals[0] < 45.0
    assert arrivals[1] > arrivals[0] + 8.0
