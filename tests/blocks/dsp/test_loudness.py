"""Loudness against the EBU's test cases, pyloudnorm and scipy; true peak against sines of known amplitude."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks.dsp import loudness
from hitchain.files import read_audio

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "music"
EBU = DATA / "essentia-audio" / "ebur128"

# EBU Tech 3341, table 1, and Tech 3342, table 1: levels [dBFS] and durations [s] of 1 kHz sines in both channels, and
# what a meter must read. Its tolerances are 0.1 LU (loudness) and 1 LU (range).
INTEGRATED = {
    "seq-3341-1-16bit": ([(-23.0, 20.0)], -23.0),
    "seq-3341-2-16bit": ([(-33.0, 20.0)], -33.0),
    "seq-3341-3-16bit-v02": ([(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)], -23.0),
    "seq-3341-4-16bit-v02": ([(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)], -23.0),
    "seq-3341-5-16bit-v02": ([(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)], -23.0),
    "1kHz_sine_-20LUFS-16bit": ([(-20.0, 20.0)], -20.0),
    "1kHz_sine_-26LUFS-16bit": ([(-26.0, 20.0)], -26.0),
    "1kHz_sine_-40LUFS-16bit": ([(-40.0, 20.0)], -40.0),
}
RANGE = {
    "seq-3342-1-16bit": ([(-20.0, 20.0), (-30.0, 20.0)], 10.0),
    "seq-3342-2-16bit": ([(-20.0, 20.0), (-15.0, 20.0)], 5.0),
    "seq-3342-3-16bit": ([(-40.0, 20.0), (-20.0, 20.0)], 20.0),
    "seq-3342-4-16bit": ([(-50.0, 20.0), (-35.0, 20.0), (-20.0, 20.0), (-35.0, 20.0), (-50.0, 20.0)], 15.0),
}
AUTHENTIC = "seq-3341-7_seq-3342-5-16bit"  # a narrow-range programme: -23 LUFS, 5 LU


def sines(steps: list[tuple[float, float]], sample_rate: int) -> torch.Tensor:
    """1 kHz in both channels at each level [dBFS, of the peak] for each duration [s]: (1, 2, samples)."""
    level = np.concatenate([np.full(round(seconds * sample_rate), 10 ** (dbfs / 20)) for dbfs, seconds in steps])
    wave = level * np.sin(2 * np.pi * 1000.0 * np.arange(level.size) / sample_rate)
    return torch.from_numpy(np.stack([wave, wave]).astype(np.float32))[None]


def sequence(name: str) -> tuple[torch.Tensor, int]:
    if not EBU.is_dir():
        pytest.skip(f"the EBU sequences are not beside the repository ({EBU.name} folder absent)")
    audio, rate = read_audio(EBU / f"{name}.flac")
    return audio[None], rate


@pytest.mark.parametrize("name", INTEGRATED)
def test_ebu_sequences_read_their_published_loudness(name: str) -> None:
    audio, rate = sequence(name)
    assert loudness.integrated_loudness(audio, rate).item() == pytest.approx(INTEGRATED[name][1], abs=0.1)


@pytest.mark.parametrize("name", RANGE)
def test_ebu_sequences_read_their_published_range(name: str) -> None:
    audio, rate = sequence(name)
    assert loudness.loudness_range(audio, rate).item() == pytest.approx(RANGE[name][1], abs=0.1)


def test_the_authentic_programme_reads_its_published_values() -> None:
    audio, rate = sequence(AUTHENTIC)
    assert loudness.integrated_loudness(audio, rate).item() == pytest.approx(-23.0, abs=0.1)
    assert loudness.loudness_range(audio, rate).item() == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("sample_rate", [44100, 48000])
@pytest.mark.parametrize("name", INTEGRATED)
def test_synthetic_ebu_cases(name: str, sample_rate: int) -> None:
    steps, expected = INTEGRATED[name]
    measured = loudness.integrated_loudness(sines(steps, sample_rate), sample_rate).item()
    assert measured == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("name", RANGE)
def test_synthetic_ebu_ranges(name: str) -> None:
    steps, expected = RANGE[name]
    assert loudness.loudness_range(sines(steps, 16000), 16000).item() == pytest.approx(expected, abs=0.1)


def test_momentary_and_short_term_of_a_steady_sine() -> None:
    """EBU Tech 3341, case 1: all three readings are -23 LUFS; one window each 100 ms."""
    audio = sines([(-23.0, 5.0)], 48000)
    momentary = loudness.momentary_loudness(audio, 48000)
    short_term = loudness.short_term_loudness(audio, 48000)
    assert momentary.shape == (1, 47)
    assert short_term.shape == (1, 21)
    assert torch.allclose(momentary, torch.tensor(-23.0), atol=0.1)
    assert torch.allclose(short_term, torch.tensor(-23.0), atol=0.1)


def test_coefficients_at_48_khz_are_the_standards() -> None:
    """BS.1770-4, tables 1 and 2, print 14 decimals; our prototype's constants carry fewer: 1e-9."""
    shelf, high_pass = loudness.k_weighting_coefficients(48000)
    printed = (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585)
    assert shelf == pytest.approx(printed, abs=1e-9)
    assert high_pass == pytest.approx((1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621), abs=1e-9)


@pytest.mark.parametrize(
    ("sample_rate", "tolerance"), [(8000, 0.3), (22050, 0.15), (44100, 0.02), (96000, 0.1), (192000, 0.1)]
)
def test_the_weighting_is_the_same_at_every_rate(sample_rate: int, tolerance: float) -> None:
    """Against the standard's own filter at 48 kHz, up to a fifth of the rate. The bilinear transform bends the slope
    of the shelf where it nears the Nyquist frequency: 0.25 dB at 8 kHz, where the slope itself lies there."""
    hertz = np.geomspace(20.0, min(sample_rate, 48000) / 5, 50)

    def decibels(rate: int) -> np.ndarray:
        sos = [[b0, b1, b2, 1.0, a1, a2] for b0, b1, b2, a1, a2 in loudness.k_weighting_coefficients(rate)]
        _, response = scipy.signal.sosfreqz(np.array(sos), worN=hertz, fs=rate)
        return 20 * np.log10(np.abs(response))

    assert np.abs(decibels(sample_rate) - decibels(48000)).max() < tolerance


@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000])
def test_k_weighting_is_the_recursive_filter(sample_rate: int) -> None:
    """Against scipy.signal.sosfilt in float64; sampling in frequency wraps what rings past the padding: -120 dB."""
    noise = np.random.default_rng(0).standard_normal((1, 2, sample_rate // 2))
    sos = [[b0, b1, b2, 1.0, a1, a2] for b0, b1, b2, a1, a2 in loudness.k_weighting_coefficients(sample_rate)]
    expected = scipy.signal.sosfilt(np.array(sos), noise, axis=-1)
    measured = loudness.k_weighted(torch.from_numpy(noise), sample_rate).numpy()
    assert np.abs(measured - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("step", [15, 441, 4410, 9000])
def test_weighted_power_is_the_mean_square_of_the_recursive_filter(step: int, parallel: bool) -> None:
    """Against scipy.signal.sosfilt in float64, channels added up, the incomplete step left out; the transform's padding
    allows -120 dB."""
    audio = np.random.default_rng(0).standard_normal((2, 2, 10_000))
    sos = [[b0, b1, b2, 1.0, a1, a2] for b0, b1, b2, a1, a2 in loudness.k_weighting_coefficients(44100)]
    squares = (scipy.signal.sosfilt(np.array(sos), audio, axis=-1) ** 2).sum(axis=1)
    steps = 10_000 // step
    expected = squares[:, : steps * step].reshape(2, steps, step).mean(axis=-1)
    measured = loudness.weighted_power(torch.from_numpy(audio), 44100, step, parallel)
    torch.testing.assert_close(measured, torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


def test_weighted_power_goes_back_the_same_compiled_and_composed() -> None:
    """Over several blocks of the compiled loop, in float64; 1e-9 for what the transform's padding wraps around."""
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 2, 10_000, generator=generator, dtype=torch.float64).requires_grad_()
    for step in (15, 1000):
        weight = torch.randn(2, 10_000 // step, generator=generator, dtype=torch.float64)
        compiled, composed = (
            torch.autograd.grad((weight * loudness.weighted_power(audio, 8000, step, parallel)).sum(), audio)[0]
            for parallel in (False, True)
        )
        torch.testing.assert_close(compiled, composed, rtol=0, atol=1e-9 * float(composed.abs().max()))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [22050, 44100, 48000])
def test_agrees_with_pyloudnorm(sample_rate: int, channels: int) -> None:
    """Within 0.1 LU on noise with a loud and a quiet half. Known differences: pyloudnorm's high-pass has unit gain
    where the standard's has 0.04 dB, and it counts an incomplete block at the end."""
    generator = np.random.default_rng(channels)
    audio = generator.standard_normal((7 * sample_rate, channels)) * 0.05
    audio[: 3 * sample_rate] *= 0.05
    expected = pyloudnorm.Meter(sample_rate).integrated_loudness(audio)
    measured = loudness.integrated_loudness(torch.from_numpy(audio.T.copy())[None], sample_rate).item()
    assert measured == pytest.approx(expected, abs=0.1)


def test_agrees_with_pyloudnorm_on_music() -> None:
    files = sorted((DATA / "instruments").glob("*.flac"))
    if not files:
        pytest.skip("the recordings are not beside the repository (instruments folder absent)")
    for file in files:
        audio, rate = read_audio(file)
        expected = pyloudnorm.Meter(rate).integrated_loudness(audio.T.double().numpy())
        assert loudness.integrated_loudness(audio[None], rate).item() == pytest.approx(expected, abs=0.1), file.name


def test_mono_reads_3_lu_less_than_dual_mono() -> None:
    dual = sines([(-20.0, 2.0)], 44100)
    difference = loudness.integrated_loudness(dual, 44100) - loudness.integrated_loudness(dual[:, :1], 44100)
    assert difference.item() == pytest.approx(10 * math.log10(2.0), abs=1e-4)


def test_short_audio_is_one_block() -> None:
    """100 ms of a sine reads what a long one does, but for the filter's onset: within 0.2 LU."""
    assert loudness.integrated_loudness(sines([(-20.0, 0.1)], 48000), 48000).item() == pytest.approx(-20.0, abs=0.2)


def test_gradient_agrees_with_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 2, 3000, dtype=torch.float64, generator=generator) * 0.1
    audio[..., :1000] *= 0.2
    assert torch.autograd.gradcheck(
        lambda x: loudness.integrated_loudness(x, 4000), audio.requires_grad_(), fast_mode=True
    )
    assert torch.autograd.gradcheck(lambda x: loudness.true_peak(x, 4000), audio, fast_mode=True)


def test_silence_has_a_floor_and_a_finite_gradient() -> None:
    audio = torch.zeros(1, 2, 44100, requires_grad=True)
    measured = loudness.integrated_loudness(audio, 44100)
    (measured.sum() + loudness.true_peak(audio, 44100).sum() + loudness.loudness_range(audio, 44100).sum()).backward()
    assert measured.item() == pytest.approx(loudness.LOWEST_LOUDNESS, abs=1e-3)
    assert audio.grad is not None
    assert bool(audio.grad.isfinite().all())


@settings(max_examples=20, deadline=None)
@given(
    samples=st.sampled_from([1, 2, 441, 17640, 17641, 30000]),
    channels=st.integers(1, 2),
    gain=st.floats(-40.0, 20.0),
    seed=st.integers(0, 99),
)
def test_properties(samples: int, channels: int, gain: float, seed: int) -> None:
    """Finite; a gain moves loudness (above the gate) and true peak by just that; items do not touch each other."""
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(2, channels, samples, generator=generator, dtype=torch.float64)
    factor = 10 ** (gain / 20)
    one = loudness.integrated_loudness(audio, 44100)
    assert bool(one.isfinite().all())
    assert torch.allclose(loudness.integrated_loudness(audio * factor, 44100), one + gain, atol=1e-6)
    assert torch.allclose(loudness.true_peak(audio * factor, 44100), loudness.true_peak(audio, 44100) + gain, atol=1e-6)
    assert torch.allclose(loudness.integrated_loudness(audio[1:], 44100), one[1:], atol=1e-9)


@pytest.mark.parametrize(("hertz", "phase"), [(997.0, 0.3), (11025.0, math.pi / 4), (7000.0, 1.0)])
def test_true_peak_of_a_sine(hertz: float, phase: float) -> None:
    """A sine faded in and out has its amplitude as true peak (at a quarter of the rate and 45 degrees, the samples
    read 3 dB less). Four points a sample may miss it by 20 log10 cos(pi f / 4 rate), 0.17 dB at most here."""
    time = torch.arange(44100, dtype=torch.float64) / 44100
    fade = torch.sin(math.pi * time).square()
    audio = (fade * torch.sin(2 * math.pi * hertz * time + phase))[None, None]
    assert loudness.true_peak(audio, 44100).item() == pytest.approx(0.0, abs=0.18)
    assert loudness.true_peak(audio, 44100, oversampling=32).item() == pytest.approx(0.0, abs=0.01)


def test_true_peak_agrees_with_scipy() -> None:
    """Against scipy.signal.resample_poly with its own filter, at four times the rate: within 0.1 dB on faded noise."""
    noise = np.random.default_rng(3).standard_normal(8000)
    noise = scipy.signal.sosfilt(scipy.signal.butter(6, 0.6, output="sos"), noise) * np.hanning(8000)
    expected = 20 * np.log10(np.abs(scipy.signal.resample_poly(noise, 4, 1, window=("kaiser", 12.0))).max())
    assert loudness.true_peak(torch.from_numpy(noise)[None, None], 44100).item() == pytest.approx(expected, abs=0.1)
