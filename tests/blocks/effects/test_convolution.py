"""Convolution with a file against scipy; decay, size and the errors people see."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.effects.convolution import _reverberation_time
from hitchain.errors import UserError

RATE = 44100
Accuracy = Callable[..., None]
FLAT = {"decay": 1.0, "size": 1.0, "low": 0.0, "high": 0.0, "pre_delay": 0.0, "mix": 1.0}


def rendered(block: object, audio: np.ndarray, **knobs: float) -> np.ndarray:
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in {**FLAT, **knobs}.items()}
    return block(torch.tensor(audio[None]), settings)[0].numpy()  # type: ignore[operator]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    response = generator.standard_normal((8000, 2)) * np.exp(-np.arange(8000) / 1000.0)[:, None]
    response[0] = 3.0
    scipy.io.wavfile.write(tmp_path / "place.wav", RATE, response.astype(np.float32))
    return tmp_path / "place.wav"


def test_a_file_is_convolved_with(file: Path, accuracy: Accuracy) -> None:
    response = scipy.io.wavfile.read(file)[1].T.astype(np.float64)
    response /= math.sqrt((response**2).sum(axis=1).mean())
    low = scipy.signal.firwin(255, 0.86, window=("kaiser", 12.0))  # above 0.45 of the rate it rolls off
    audio = scipy.signal.lfilter(low, 1.0, np.random.default_rng(1).uniform(-1, 1, (2, 20000)))
    output = rendered(blocks.create("effects/convolution", impulse=str(file)), audio)
    expected = scipy.signal.fftconvolve(audio, response, axes=1)[:, :20000]
    apart = (output - expected)[:, :-300]  # the audio's sudden end is no longer below 0.45 of the rate
    error = 20 * math.log10(np.abs(apart).max() / np.abs(expected).max())
    accuracy("effects/convolution", "scipy.signal.fftconvolve", error, bound=-80.0)


@pytest.mark.parametrize(("decay", "size"), [(0.5, 1.0), (1.0, 1.4), (0.3, 0.6)])
def test_decay_and_size_scale_the_reverberation_time(decay: float, size: float, accuracy: Accuracy) -> None:
    block = blocks.create("effects/convolution", impulse="chamber")
    impulse = np.zeros((1, 3 * RATE))
    impulse[0, 0] = 1.0
    found = _reverberation_time(torch.tensor(rendered(block, impulse, decay=decay, size=size)), RATE)
    error = abs(found / (block.rt60 * decay * size) - 1.0) * 100.0
    accuracy(
        "effects/convolution", "reverberation time asked for", error, bound=8.0, unit="%"
    )  # it is no pure exponential


def test_what_is_made_here_decays_as_it_says() -> None:
    for name, (least, most) in {"chamber": (0.6, 1.2), "hall": (1.2, 2.6)}.items():
        assert least < blocks.create("effects/convolution", impulse=name).rt60 < most


def test_wrong_files_are_named(tmp_path: Path) -> None:
    scipy.io.wavfile.write(tmp_path / "silent.wav", RATE, np.zeros(100, dtype=np.float32))
    scipy.io.wavfile.write(tmp_path / "long.wav", 8000, np.ones(100000, dtype=np.float32))
    for path, message in (("hal", "hall"), (tmp_path / "silent.wav", "silence"), (tmp_path / "long.wav", "12 s")):
        with pytest.raises(UserError, match=message):
            blocks.create("effects/convolution", impulse=str(path))
