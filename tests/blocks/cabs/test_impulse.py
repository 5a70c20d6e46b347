"""The impulse cabinet against scipy's convolution, and what it does with bad files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from torch import Tensor

from hitchain.blocks.cabs.impulse import Impulse, shipped
from hitchain.errors import UserError

RATE = 44100


def settings(block: Impulse, dtype: torch.dtype = torch.float64, **chosen: float) -> dict[str, Tensor]:
    values = block.defaults(1, dtype)
    return {**values, **{key: torch.tensor([value], dtype=dtype) for key, value in chosen.items()}}


def decaying_noise(path: Path, channels: int = 1, silence: int = 0) -> np.ndarray:
    samples = 3000
    generator = np.random.default_rng(0)
    kernel = generator.standard_normal((samples, channels)) * np.exp(-np.arange(samples) / 300.0)[:, None]
    kernel[0] = 2.0
    soundfile.write(path, np.concatenate([np.zeros((silence, channels)), kernel]), RATE, subtype="FLOAT")
    return kernel.astype(np.float32).astype(np.float64).T


def cut(audio: np.ndarray) -> np.ndarray:
    """The default cuts, wide open, by scipy: Butterworth at 20 Hz and 18 kHz."""
    for corner, kind in ((20.0, "highpass"), (18_000.0, "lowpass")):
        audio = scipy.signal.sosfilt(scipy.signal.butter(2, corner, kind, fs=RATE, output="sos"), audio)
    return audio


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("silence", [0, 137])
def test_against_scipys_convolution(tmp_path: Path, channels: int, silence: int, accuracy: Callable[..., None]) -> None:
    kernel = decaying_noise(tmp_path / "cab.wav", channels=channels, silence=silence)
    block = Impulse(RATE, file=str(tmp_path / "cab.wav"))
    audio = np.random.default_rng(1).standard_normal((1, 1, 20_000))
    result = block(torch.from_numpy(audio), settings(block))[0].numpy()
    assert result.shape == (channels, 20_000)
    expected = cut(scipy.signal.fftconvolve(audio[0].repeat(channels, axis=0), kernel, axes=1)[:, :20_000])
    gain = (result * expected).sum() / (expected**2).sum()  # the documented scaling, tested below
    error = 20 * np.log10(np.abs(result / gain - expected).max() / np.abs(expected).max())
    accuracy("cabs/impulse", "scipy.signal's convolution", error, bound=-100.0)  # the kernel is kept in float32


def pink(seconds: float = 4.0) -> np.ndarray:
    """Noise with equal power in each octave from 50 Hz to 10 kHz."""
    samples = round(seconds * RATE)
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(samples)) / np.sqrt(np.maximum(hertz, 1.0))
    spectrum[(hertz < 50) | (hertz > 10_000)] = 0
    return np.fft.irfft(spectrum, samples)


@pytest.mark.parametrize("name", [*sorted(shipped()), "noise"])
def test_pink_noise_keeps_its_level(tmp_path: Path, name: str) -> None:
    decaying_noise(tmp_path / "noise.wav")
    block = Impulse(RATE, file=name if name in shipped() else str(tmp_path / "noise.wav"))
    audio = torch.from_numpy(pink())[None, None]
    result = block(audio, settings(block))
    assert 20 * float((result.std() / audio.std()).log10()) == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
def test_a_file_at_another_rate_sounds_the_same(tmp_path: Path, rate: int) -> None:
    """The same continuous response, sampled at two rates: two resonances, none above 4 kHz."""
    for each in (RATE, rate):
        time = np.arange(each // 10) / each
        kernel = sum(np.exp(-time * 200) * np.sin(2 * np.pi * f * time) for f in (700.0, 2500.0))
        soundfile.write(tmp_path / f"{each}.wav", kernel, each, subtype="FLOAT")
    here, there = (Impulse(RATE, file=str(tmp_path / f"{each}.wav")) for each in (RATE, rate))
    responses = [block.response(settings(block), 1 << 14)[0, 0] for block in (here, there)]
    hertz = torch.arange((1 << 13) + 1) * RATE / (1 << 14)
    band = (hertz > 200) & (hertz < 5000)
    # Magnitudes: the onset is found on the grid of the file's samples, so the two start a fraction of one apart.
    error = (responses[0].abs() - responses[1].abs()).abs()[band] / responses[0].abs()[band].max()
    assert float(error.max()) < 0.03  # the response starts at once and so is not quite band-limited


def test_the_direct_sound_comes_at_once(tmp_path: Path) -> None:
    for rate in (RATE, 48000):
        kernel = np.zeros(500)
        kernel[200] = 1.0
        soundfile.write(tmp_path / "late.wav", kernel, rate, subtype="FLOAT")
        block = Impulse(RATE, file=str(tmp_path / "late.wav"))
        audio = torch.zeros(1, 1, 400, dtype=torch.float64)
        audio[..., 100] = 1.0
        result = block(audio, settings(block))[0, 0]
        assert int(result.abs().argmax()) == 100


def test_mix_cuts_and_level() -> None:
    block = Impulse(RATE)
    audio = torch.from_numpy(pink())[None, None]
    assert torch.allclose(block(audio, settings(block, mix=0.0)), audio, atol=1e-12)
    louder = block(audio, settings(block, level=6.0)) / block(audio, settings(block))
    assert torch.allclose(louder, torch.full_like(louder, 10 ** (6 / 20)), rtol=1e-6)
    response = block.response(settings(block), 1 << 14)[0, 0].abs()
    narrow = block.response(settings(block, low_cut=400.0, high_cut=2000.0), 1 << 14)[0, 0].abs() / response
    level = {f: 20 * float(narrow[round(f * (1 << 14) / RATE)].log10()) for f in (200, 400, 900, 2000, 4000)}
    assert level[400] == pytest.approx(-3.2, abs=0.5)
    assert level[2000] == pytest.approx(-3.2, abs=0.5)
    assert level[900] > -0.5
    assert level[200] == pytest.approx(-12.3, abs=0.6)  # 12 dB an octave
    assert level[4000] == pytest.approx(-12.5, abs=0.8)


def test_stereo_files_make_stereo(tmp_path: Path) -> None:
    decaying_noise(tmp_path / "cab.wav", channels=2)
    block = Impulse(RATE, file=str(tmp_path / "cab.wav"))
    assert block(torch.randn(2, 1, 300), block.defaults(2)).shape == (2, 2, 300)


def bad(path: Path, kind: str) -> str:
    name = str(path / "bad.wav")
    if kind == "empty":
        Path(name).touch()
    if kind == "text":
        Path(name).write_text("this is no sound")
    if kind == "silent":
        soundfile.write(name, np.zeros(100), RATE)
    if kind == "long":
        soundfile.write(name, np.ones(8000 * 21), 8000)
    if kind == "nan":
        soundfile.write(name, np.array([1.0, np.nan]), RATE, subtype="FLOAT")
    return str(path) if kind == "folder" else name


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "not found"),
        ("empty", "empty"),
        ("text", "cannot decode"),
        ("silent", "only silence"),
        ("long", "at most 20 s"),
        ("nan", "NaN"),
        ("folder", "folder"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Impulse(RATE, file=bad(tmp_path, kind))


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="closed_4x12"):
        Impulse(RATE, file="closed_4x10")
