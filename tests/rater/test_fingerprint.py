"""Fingerprints: a recording is known again after what files go through, and taken for no other."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitchain.rater.fingerprint import NEAR_DUPLICATE, fingerprint, near_duplicates, similarity

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
Sound = tuple[NDArray[np.float32], int]
Band = Callable[..., torch.Tensor]
Change = Callable[[NDArray[np.float32], int], Sound]


def stretched(band: Band, seed: int, seconds: float = 8.0, rate: int = 44_100) -> NDArray[np.float32]:
    """The test band at another tempo and pitch for each seed, so that no two are the same recording."""
    made = band(seconds * (1.0 + 0.07 * seed), rate, seed)[0].numpy()
    steps = np.linspace(0, made.shape[1] - 1, round(seconds * rate))
    return np.stack([np.interp(steps, np.arange(made.shape[1]), one) for one in made]).astype(np.float32)


def encoded(audio: NDArray[np.float32], rate: int, container: str, subtype: str, level: float) -> Sound:
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", rate, audio.shape[0], subtype, format=container, compression_level=level
    ) as sound:
        for start in range(0, audio.shape[1], rate):  # libsndfile's Vorbis coder fails on long blocks
            sound.write(audio[:, start : start + rate].T)
    file.seek(0)
    data, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return data.T, rate


def resampled(audio: NDArray[np.float32], rate: int, to: int) -> Sound:
    return scipy.signal.resample_poly(audio, to, rate, axis=1).astype(np.float32), to


CHANGES: dict[str, Change] = {
    "level": lambda audio, rate: (audio * 0.05, rate),
    "polarity": lambda audio, rate: (-audio, rate),
    "mp3": lambda audio, rate: encoded(audio, rate, "MP3", "MPEG_LAYER_III", 0.5),
    "small mp3": lambda audio, rate: encoded(audio, rate, "MP3", "MPEG_LAYER_III", 0.9),
    "ogg": lambda audio, rate: encoded(audio, rate, "OGG", "VORBIS", 0.7),
    "22.05 kHz": lambda audio, rate: resampled(audio, rate, 22_050),
    "8 kHz": lambda audio, rate: resampled(audio, rate, 8_000),
    "trimmed": lambda audio, rate: (audio[:, round(1.237 * rate) :], rate),
    "lengthened": lambda audio, rate: (np.pad(audio, ((0, 0), (round(0.713 * rate), 0))), rate),
    "mono, clipped": lambda audio, rate: (np.clip(1.5 * audio.mean(axis=0, keepdims=True), -0.7, 0.7), rate),
    "noisy": lambda audio, rate: (
        audio + 0.02 * np.random.default_rng(0).standard_normal(audio.shape).astype(np.float32), rate
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def songs(band: Band) -> list[Sound]:
    return [(stretched(band, seed), 44_100) for seed in range(3)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_found_and_nothing_else(songs: list[Sound], name: str) -> None:
    originals = [fingerprint(*song) for song in songs]
    changed = [fingerprint(*CHANGES[name](*song)) for song in songs]
    for place, (one, other) in enumerate(zip(originals, changed, strict=True)):
        assert similarity(one, other) >= NEAR_DUPLICATE + 0.05, place
        assert all(similarity(one, changed[n]) < NEAR_DUPLICATE - 0.05 for n in range(len(songs)) if n != place)
    assert near_duplicates([*originals, *changed]) == [0, 1, 2, 0, 1, 2]


def test_channels_that_cancel_are_heard(songs: list[Sound]) -> None:
    audio, rate = songs[0]
    apart = np.stack([audio[0], -audio[0]])
    assert similarity(fingerprint(apart, rate), fingerprint(audio[:1], rate)) > 0.99


def test_similarity_is_the_share_of_equal_bits_at_the_best_shift() -> None:
    random = np.random.default_rng(0)
    first = random.integers(1, 2**32, 300, dtype=np.uint32)
    second = np.concatenate([random.integers(1, 2**32, 40, dtype=np.uint32), first[:250]])
    flips = (random.random((len(second), 32)) < 0.2) @ (2 ** np.arange(32, dtype=np.uint64))
    second ^= flips.astype(np.uint32)
    equal = 32 * 250 - sum(int(x).bit_count() for x in first[:250] ^ second[40:])
    assert similarity(first, second) == pytest.approx(equal / (32 * 250), abs=1e-5)
    assert similarity(first, second) == pytest.approx(similarity(second, first), abs=1e-6)
    assert similarity(first, first) == pytest.approx(1.0, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 63, 64, 200]), max_size=6), copies=st.lists(st.integers(0, 5), max_size=6)
)
def test_groups_are_named_after_their_first_member(lengths: list[int], copies: list[int]) -> None:
    prints = [np.random.default_rng(n).integers(1, 2**32, length, dtype=np.uint32) for n, length in enumerate(lengths)]
    sources = [source for source in copies if source < len(prints)]
    groups = near_duplicates([*prints, *(prints[source] for source in sources)])
    assert groups[: len(prints)] == list(range(len(prints)))  # random bits are never the same recording
    for place, source in enumerate(sources, len(prints)):
        # under 64 sub-fingerprints there is too little to tell
        assert groups[place] == (source if len(prints[source]) >= 64 else place)


def test_silence_and_shortness_are_like_nothing() -> None:
    silent = fingerprint(np.zeros((2, 44_100 * 5), np.float32), 44_100)
    assert not silent.any()
    short = fingerprint(np.ones((1, 100), np.float32), 44_100)
    assert len(short) == 0
    assert similarity(silent, silent) == 0.0
    assert near_duplicates([silent, silent, short, short]) == [0, 1, 2, 3]
    assert near_duplicates([]) == []


def test_many_copies_are_one_group_and_the_look_up_stays_linear() -> None:
    random = np.random.default_rng(0)
    prints = [random.integers(1, 2**32, 500, dtype=np.uint32) for _ in range(1500)]
    start = time.perf_counter()
    groups = near_duplicates([*prints, *([prints[7]] * 200)])
    assert time.perf_counter() - start < 10.0  # 1.4 million pairs of 0.4 ms each would take ten minutes
    assert groups == [*range(1500), *[7] * 200]


def test_it_is_much_faster_than_playing(songs: list[Sound]) -> None:
    start = time.perf_counter()
    for song in songs:
        fingerprint(*song)
    seconds = sum(audio.shape[1] / rate for audio, rate in songs)
    assert seconds / (time.perf_counter() - start) > 50.0  # 200 and more where nothing else runs


def test_the_middle_is_taken_of_a_long_recording(band: Band) -> None:
    audio = np.concatenate([stretched(band, seed, 12.0, 8_000) for seed in range(4)], axis=1)
    whole = fingerprint(audio, 8_000)
    assert similarity(whole, fingerprint(audio[:, 8_000 * 9 : -8_000 * 9], 8_000)) > 0.99
    assert similarity(whole, fingerprint(audio[:, 8_000 * 8 :], 8_000)) >= NEAR_DUPLICATE


@pytest.mark.skipif(not (SHARED / "music").is_dir(), reason="shared/data is not beside the repository")
def test_real_recordings_match_their_recodings_and_no_other() -> None:
    files = sorted((SHARED / "popularity" / "fma_audio").glob("*.mp3"))
    files += sorted(path for path in (SHARED / "music" / "librosa").iterdir() if path.suffix in (".ogg", ".wav"))
    sounds = []
    for path in files:
        data, rate = soundfile.read(path, frames=44_100 * 8, dtype="float32", always_2d=True)
        sounds.append((data.T, rate))
    sounds = [sound for sound in sounds if sound[0].shape[1] >= 5 * sound[1]]
    prints = [fingerprint(*sound) for sound in sounds]
    assert len(prints) >= 8
    changed = [fingerprint(*CHANGES["mp3"](audio[:, rate // 3 :] * 0.5, rate)) for audio, rate in sounds]
    assert near_duplicates([*prints, *changed]) == [*range(len(prints)), *range(len(prints))]
