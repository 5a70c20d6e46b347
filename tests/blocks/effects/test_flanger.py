"""The flanger against a comb of scipy's and an independent loop over samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.dsp.modulated_delay import LEAST

RATE = 44100


def _play(audio: np.ndarray, knobs: dict[str, float], **options: object) -> np.ndarray:
    block = blocks.create("effects/flanger", sample_rate=RATE, **options)
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(block(torch.tensor(audio)[None, None], settings)[0])


def test_at_rest_it_is_a_comb(accuracy: Callable[..., None]) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 20000)
    knobs = {"rate": 1.0, "depth": 0.0, "delay": 1000.0 * 60 / RATE, "feedback": -0.7, "stereo": 0.0, "mix": 1.0}
    period = 60 + int(LEAST)
    denominator = np.zeros(period + 1)
    denominator[[0, period]] = 1.0, 0.7
    comb = scipy.signal.lfilter(np.eye(period + 1)[period], denominator, noise)
    error = np.abs(_play(noise, knobs)[1] - math.sqrt(0.5) * (noise + comb)).max()
    accuracy("effects/flanger", "scipy.signal.lfilter, standing still", 20 * math.log10(error), bound=-200.0)


def test_moving_it_is_the_loop(accuracy: Callable[..., None]) -> None:
    """A loop over samples that reads between them by a Hann-windowed sinc of 48 taps, on audio below 12 kHz."""
    noise = np.random.default_rng(1).uniform(-1, 1, 6000)
    noise = scipy.signal.sosfiltfilt(scipy.signal.butter(12, 9000, fs=RATE, output="sos"), noise).copy()
    knobs = {"rate": 8.0, "depth": 0.5, "delay": 2.0, "feedback": 0.6, "stereo": 90.0, "mix": 1.0}
    taps = np.arange(-24, 24)
    for channel, heard in enumerate(_play(noise, knobs)):
        line, expected = np.zeros(len(noise) + 100), np.zeros(len(noise))
        for n in range(len(noise)):
            swing = math.sin(2 * math.pi * 8.0 * n / RATE + channel * math.pi / 2)
            place = n - 2.0e-3 * RATE * (1.0 + 0.5 * swing) - LEAST + 50  # the line begins 50 samples before
            near = taps + math.floor(place)
            kernel = np.sinc(place - near) * np.cos(np.pi * (place - near) / 48) ** 2
            delayed = float(kernel[near >= 0] @ line[near[near >= 0]])
            line[n + 50] = noise[n] + 0.6 * delayed
            expected[n] = math.sqrt(0.5) * (noise[n] + delayed)
        error = 20 * math.log10(np.abs(heard - expected).max() / np.abs(expected).max())
        accuracy("effects/flanger", f"a loop over samples, channel {channel}", error, bound=-55.0)


def test_through_zero_the_notches_pass_all_frequencies() -> None:
    """When the sweep meets the dry signal, both are the same: nothing is left of the comb, and with it all is loud."""
    noise = np.random.default_rng(2).uniform(-1, 1, RATE)
    noise = scipy.signal.sosfilt(scipy.signal.butter(8, 5000, fs=RATE, output="sos"), noise)
    knobs = {"rate": 1.0, "depth": 0.9, "delay": 1.0, "feedback": 0.0, "stereo": 0.0, "mix": 1.0}
    heard = _play(noise, knobs, through_zero=True)[0]
    met = slice(RATE // 2 - 20, RATE // 2 + 20)  # sin(2 pi t) = 0 at half a second
    late = 1.0e-3 * RATE + LEAST
    omega = np.fft.rfftfreq(RATE) * 2 * math.pi
    held = np.fft.irfft(np.fft.rfft(noise) * np.exp(-1j * omega * late), n=RATE)
    level = np.abs(heard - math.sqrt(2.0) * held)[met].max() / np.abs(held)[met].max()
    assert level < 0.1  # the sweep is within 0.1 samples there
