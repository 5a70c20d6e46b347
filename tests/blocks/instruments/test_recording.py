"""A recording enters the chain as it is, in any window, and its track needs no notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from hitchain.blocks import registry
from hitchain.chain import Song, Window
from hitchain.errors import UserError
from hitchain.files import write_wav

RATE = 44_100


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Three seconds of stereo noise."""
    audio = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3 * RATE)).astype(np.float32))
    write_wav(tmp_path / "noise.wav", audio, RATE)
    return tmp_path / "noise.wav"


def test_it_is_the_file(noise: Path, accuracy) -> None:  # type: ignore[no-untyped-def]
    song = Song.load("recording", [f"instrument.file={noise}", "effects=none", "mastering=none"])
    expected = torch.from_numpy(soundfile.read(noise, dtype="float32", always_2d=True)[0].T)
    played = song.mix(song.start)[0]
    assert played.shape == expected.shape
    error = 20 * np.log10(float((played - expected).abs().max()) + 1e-12)
    accuracy("instruments/recording", "the file as soundfile reads it", error, bound=-120.0)
    window = song.mix(song.start, Window(1.25, 1.0))[0]
    assert torch.equal(window, played[:, round(1.25 * RATE) : round(1.25 * RATE) + RATE])


def test_another_rate_is_resampled(noise: Path) -> None:
    block = registry.create("instruments/recording", sample_rate=48_000, file=str(noise))
    assert block.seconds == pytest.approx(3.0)
    data, _ = soundfile.read(noise, dtype="float32", always_2d=True)
    # White noise reaches up to where the two filters differ; below 18 kHz they must not.
    band = scipy.signal.firwin(255, 18_000, fs=48_000)
    expected, played = (
        scipy.signal.lfilter(band, 1.0, audio)[48_000:96_000]
        for audio in (scipy.signal.resample(data[:, 0], 3 * 48_000), block.audio[0].numpy())
    )
    assert np.corrcoef(expected, played)[0, 1] > 0.999


def test_part_of_the_file(noise: Path) -> None:
    whole = registry.create("instruments/recording", sample_rate=RATE, file=str(noise)).audio
    part = registry.create("instruments/recording", sample_rate=RATE, file=str(noise), offset=1.0, seconds=0.5).audio
    assert torch.equal(part, whole[:, RATE : RATE + RATE // 2])


@pytest.mark.parametrize(("key", "value"), [("offset", -1.0), ("seconds", "x"), ("offset", 10.0)])
def test_what_leaves_nothing_is_refused(noise: Path, key: str, value: object) -> None:
    with pytest.raises(UserError, match="instruments/recording"):
        registry.create("instruments/recording", sample_rate=RATE, file=str(noise), **{key: value})
