"""Features: what they may not care about, what they must hear, and audio that has none."""

from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample

from hitchain.errors import UserError
from hitchain.rater.features import NAMES, features

Band = Callable[..., torch.Tensor]
RATE = 32_000


def named(audio: np.ndarray, rate: int = RATE) -> dict[str, float]:
    return dict(zip(NAMES, features(audio, rate), strict=True))


def tone(frequency: float, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def test_names_are_the_vector() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(features(tone(440.0), RATE))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.floats(-60.0, 30.0), st.sampled_from(["music", "noise", "click", "tone"]))
def test_the_level_does_not_matter(seed: int, decibels: float, kind: str) -> None:
    random = np.random.default_rng(seed)
    audio = {
        "music": lambda: random.standard_normal((2, RATE)) * np.exp(-np.arange(RATE) % 8000 / 900),
        "noise": lambda: random.standard_normal((1, RATE)) * 0.2,
        "click": lambda: np.eye(1, RATE, int(random.integers(RATE))),
        "tone": lambda: tone(float(random.uniform(50, 5000)), 1.0)[None],
    }[kind]()
    audio = audio / np.sqrt(np.mean(audio**2)) * 0.1
    np.testing.assert_allclose(
        features(audio * 10 ** (decibels / 20), RATE), features(audio, RATE), rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_the_sample_rate_hardly_matters(band: Band, rate: int) -> None:
    # The same sound at another rate, through one long Fourier transform; its spread over crops is the yardstick.
    audio = band(6.0, RATE)[0].numpy()
    other = resample(audio, round(6.0 * rate), axis=-1)
    crops = np.array([features(audio[:, k * RATE // 2 : k * RATE // 2 + 4 * RATE], RATE) for k in range(5)])
    here = features(audio, RATE)
    assert np.all(np.abs(features(other, rate) - here) < 0.5 * crops.std(0) + 0.02 * np.abs(here) + 0.05)


def test_mono_is_the_same_sound_on_both_sides(band: Band) -> None:
    mono = band(2.0, RATE)[0].numpy().mean(0)
    np.testing.assert_allclose(features(mono, RATE), features(np.stack([mono, mono]), RATE), rtol=1e-3, atol=1e-3)


def test_known_sounds_have_the_numbers_they_should() -> None:
    """Centroid of a tone, crest of a sine (3.01 dB) and of a square (0 dB), flat noise, width of opposite sides."""
    low, high = named(tone(1000.0)), named(tone(4000.0))
    assert low["centroid.mean"] == pytest.approx(1000.0, rel=0.02)
    assert high["rolloff_85.mean"] == pytest.approx(4000.0, rel=0.02)
    assert low["crest"] == pytest.approx(3.01, abs=0.05)
    assert named(np.sign(tone(200.0)))["crest"] == pytest.approx(0.0, abs=0.05)
    assert low["zero_crossings.mean"] == pytest.approx(2 * 1000 / RATE, rel=0.05)
    noise = np.random.default_rng(0).standard_normal((2, 2 * RATE))
    assert named(noise)["flatness.mean"] > -4.0 > -30.0 > low["flatness.mean"]
    assert named(noise)["stereo.width"] == pytest.approx(0.0, abs=0.3)
    assert named(np.stack([noise[0], -noise[0]]))["stereo.correlation"] == pytest.approx(-1.0, abs=1e-3)
    assert named(np.stack([noise[0], -noise[0]]))["stereo.width"] > 40.0 > -40.0 > named(noise[:1])["stereo.width"]
    assert low["share.middle"] == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("tempo", [75.0, 100.0, 120.0, 150.0])
def test_clicks_have_their_tempo(tempo: float) -> None:
    times = np.arange(0.0, 10.0, 60.0 / tempo)
    clicks = librosa.clicks(times=times, sr=RATE, length=10 * RATE)
    heard = named(clicks)
    assert heard["tempo"] == pytest.approx(tempo, rel=0.03)
    assert heard["onset.rate"] == pytest.approx(tempo / 60.0, rel=0.15)


def test_a_cadence_is_in_its_key_whatever_its_root() -> None:
    def cadence(root: float, third: int) -> dict[str, float]:
        chords = [(0, third, 7), (5, 5 + third, 12), (7, 11, 14), (0, third, 7)]
        return named(np.concatenate([sum(tone(root * 2 ** (step / 12), 1.0) for step in chord) for chord in chords]))

    major, minor, higher = cadence(262.0, 4), cadence(262.0, 3), cadence(262.0 * 2 ** (5 / 12), 4)
    assert major["key.major"] > 0.05 > -0.05 > minor["key.major"]
    assert higher["key.major"] == pytest.approx(major["key.major"], abs=0.1)
    assert major["key.clarity"] > 0.8 > named(np.random.default_rng(0).standard_normal(2 * RATE))["key.clarity"]


@pytest.mark.parametrize("rate", [8_000, 22_050, 192_000])
@pytest.mark.parametrize("kind", ["silence", "offset", "impulse"])
def test_poor_audio_still_has_finite_features(rate: int, kind: str) -> None:
    audio = np.zeros((2, rate), dtype=np.float32)
    audio[:, rate // 2 :] = {"silence": 0.0, "offset": 1.0, "impulse": 0.0}[kind]
    audio[:, 100] += kind == "impulse"
    assert np.isfinite(features(audio, rate)).all()


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        (np.zeros((2, 31_999)), RATE, "too short"),
        (np.zeros((3, 32_000)), RATE, "1 or 2 channels"),
        (np.zeros((2, 32_000), dtype=np.int16), RATE, "floating-point"),
        (np.zeros((2, 32_000)), 4_000, "8000 to 192000"),
        (np.full((2, 32_000), np.nan), RATE, "NaN"),
    ],
)
def test_unfit_audio_is_refused(audio: np.ndarray, rate: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        features(audio, rate)
