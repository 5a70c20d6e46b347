"""Dither against the theory: error of known mean, power and spectrum, and no distortion of faint sounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hitchain.dither import SHAPING, quantise
from hitchain.errors import UserError
from hitchain.files import write_wav

RATE = 44100
SECONDS = 8


def faint_sine(level: float = -90.0, frequency: float = 997.0) -> torch.Tensor:
    time = torch.arange(SECONDS * RATE, dtype=torch.float64) / RATE
    return 10 ** (level / 20) * torch.sin(2 * math.pi * frequency * time)[None]


def written(path: Path, audio: torch.Tensor, subtype: str, dither: str, seed: int = 0) -> np.ndarray:
    write_wav(path, audio, RATE, subtype, dither, seed)
    return soundfile.read(path, dtype="float64", always_2d=True)[0].T


def harmonics(signal: np.ndarray, frequency: float = 997.0) -> float:
    """Power of the 2nd to 9th harmonic against the fundamental [dB]; a second of Hann window resolves them."""
    window = np.hanning(len(signal))
    spectrum = np.abs(np.fft.rfft(signal * window)) ** 2
    at = [round(frequency * k * len(signal) / RATE) for k in range(1, 10)]
    power = [spectrum[i - 3 : i + 4].sum() for i in at]
    return 10 * math.log10(sum(power[1:]) / power[0])


def test_distortion_of_a_faint_sine_is_gone(tmp_path: Path, accuracy: Callable[..., None]) -> None:
    """At -90 dBFS a sine is one step of 16 bits high: rounded alone it is a square wave, whose third harmonic stands
    at -9.5 dB. Dithered, what is found at the harmonics is the noise in those 7 bins alone, about -35 dB here."""
    plain, dithered, shaped = (
        harmonics(written(tmp_path / f"{kind}.wav", faint_sine(), "PCM_16", kind)[0])
        for kind in ("none", "tpdf", "shaped")
    )
    assert plain > -15.0
    accuracy("dither=tpdf", "harmonics of a -90 dBFS sine at 16 bits", dithered, bound=-30.0)
    accuracy("dither=shaped", "harmonics of a -90 dBFS sine at 16 bits", shaped, bound=-30.0)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_the_error_of_triangular_dither_is_white_and_a_quarter_step_squared(
    tmp_path: Path, subtype: str, bits: int, accuracy: Callable[..., None]
) -> None:
    audio = 0.3 * torch.randn(1, SECONDS * RATE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    audio = audio.clamp(-0.9, 0.9)
    error = (written(tmp_path / "a.wav", audio, subtype, "tpdf") - audio.numpy())[0] * 2 ** (bits - 1)
    power = 10 * math.log10(float(np.mean(error**2)) / 0.25)
    accuracy("dither=tpdf", f"power q^2 / 4 at {bits} bits", abs(power), bound=0.05)
    assert abs(np.mean(error)) < 0.005
    bands = np.abs(np.fft.rfft(error)[1:]) ** 2
    levels = 10 * np.log10([band.mean() / bands.mean() for band in np.array_split(bands, 16)])
    assert np.abs(levels).max() < 0.2


@pytest.mark.parametrize("level", [-90.0, -100.0, -20.0])
def test_the_error_does_not_follow_the_sound(level: float) -> None:
    """Mean and power of the error are the same wherever between two steps the sound stands."""
    audio = faint_sine(level)
    error = quantise(audio, 16, "tpdf")[0] - audio[0].numpy() * 2**15
    phase = (audio[0].numpy() * 2**15) % 1.0
    for low in np.arange(0.0, 1.0, 0.25):
        chosen = error[(phase >= low) & (phase < low + 0.25)]
        assert abs(chosen.mean()) < 0.02
        assert (chosen**2).mean() == pytest.approx(0.25, rel=0.05)


def test_shaped_noise_has_the_published_filters_spectrum(tmp_path: Path, accuracy: Callable[..., None]) -> None:
    audio = faint_sine(-20.0)
    error = (written(tmp_path / "a.wav", audio, "PCM_16", "shaped") - audio.numpy())[0] * 2**15
    frames = error[: len(error) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
    measured = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0) / (np.hanning(1024) ** 2).sum()
    frequencies = np.arange(513) / 1024
    phases = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(1, 10)))
    expected = 0.25 * np.abs(1 - phases @ np.array(SHAPING)) ** 2
    bands = np.array_split(np.arange(8, 505), 40)
    difference = [10 * math.log10(measured[band].mean() / expected[band].mean()) for band in bands]
    accuracy(
        "dither=shaped", "the published filter's spectrum, in 40 bands", float(np.abs(difference).max()), bound=0.5
    )
    where_it_matters = (frequencies * RATE > 2000) & (frequencies * RATE < 5000)
    assert 10 * math.log10(measured[where_it_matters].mean() / 0.25) < -15.0


def test_same_seed_same_bytes_and_channels_differ(tmp_path: Path) -> None:
    audio = torch.zeros(2, 5000)
    for kind in ("tpdf", "shaped"):
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            write_wav(tmp_path / name, audio, RATE, "PCM_16", kind, seed)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
        left, right = soundfile.read(tmp_path / "a")[0].T
        assert not np.array_equal(left, right)


@pytest.mark.parametrize("kind", ["none", "tpdf", "shaped"])
def test_full_scale_clips_and_does_not_wrap_around(kind: str) -> None:
    loud = torch.tensor([[2.0, -2.0, 1.0, -1.0] * 500])
    out = quantise(loud, 16, kind)
    assert out.max() == 32767
    assert out.min() == -32768
    assert ((out[0, 20:] > 30000) == (loud[0, 20:].numpy() > 0)).all()


def test_without_dither_24_bits_hold_a_sound_to_half_a_step(tmp_path: Path) -> None:
    audio = 0.5 * torch.randn(2, 1000, generator=torch.Generator().manual_seed(0)).clamp(-1.9, 1.9)
    back = written(tmp_path / "a.wav", audio, "PCM_24", "none")
    assert np.abs(back - audio.double().numpy()).max() <= 2**-24 + 1e-12


@pytest.mark.parametrize(("kind", "rate", "part"), [("tpfd", 44100, "did you mean 'tpdf'"), ("shaped", 96000, "44100")])
def test_mistakes(tmp_path: Path, kind: str, rate: int, part: str) -> None:
    with pytest.raises(UserError, match=part):
        write_wav(tmp_path / "a.wav", torch.zeros(1, 10), rate, "PCM_16", kind)
