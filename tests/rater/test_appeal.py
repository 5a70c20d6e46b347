"""How the appeal rater is made: faults, examples, fitting and measuring, on material made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater.appeal import build, corpus, evaluate, examples, faults, fit, tunes

RATE = 32_000
Band = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def crop(band: Band) -> faults.Audio:
    audio = band(1.6, RATE)[0].numpy()
    return np.asarray(audio * 0.1 / faults.rms(audio), np.float32)


def spectrogram(audio: faults.Audio) -> np.ndarray:
    return np.abs(scipy.signal.stft(audio, RATE, nperseg=1024)[2])


@pytest.mark.parametrize("name", list(faults.FAULTS))
def test_a_fault_grows_with_its_strength_and_keeps_the_level(crop: faults.Audio, name: str) -> None:
    """The distance of the spectrogram to the untouched one, over eight draws of the fault's kind."""
    distance = []
    for strength in (0.05, 0.4, 1.0):
        out = [faults.degrade(crop, RATE, strength, np.random.default_rng(k), [name])[0] for k in range(8)]
        assert all(np.isfinite(audio).all() and audio.shape == crop.shape for audio in out)
        assert all(faults.rms(audio) == pytest.approx(faults.rms(crop), rel=1e-3) for audio in out)
        distance.append(float(np.median([faults.rms(spectrogram(audio) - spectrogram(crop)) for audio in out])))
    assert distance[0] < distance[1] < distance[2]


def test_strength_zero_changes_nothing(crop: faults.Audio) -> None:
    out, chain = faults.degrade(crop, RATE, 0.0, np.random.default_rng(0))
    assert chain == []
    np.testing.assert_array_equal(out, crop)


@settings(max_examples=20, deadline=None)
@given(strength=st.floats(0.01, 1.0), seed=st.integers(0, 10_000), silent=st.booleans())
def test_chains_repeat_by_seed_and_survive_silence(strength: float, seed: int, silent: bool) -> None:
    random = np.random.default_rng(seed)
    audio = (random.standard_normal((2, RATE // 2)) * (0.0 if silent else 0.1)).astype(np.float32)
    first, names = faults.degrade(audio, RATE, strength, np.random.default_rng(seed))
    second, _ = faults.degrade(audio, RATE, strength, np.random.default_rng(seed))
    assert 1 <= len(names) == len(set(names)) <= 3
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_mono_recordings_suffer_no_faults_of_the_image(crop: faults.Audio) -> None:
    mono = np.repeat(crop.mean(0, keepdims=True), 2, axis=0)
    drawn = {name for seed in range(60) for name in faults.draw_chain(mono, np.random.default_rng(seed))}
    assert drawn == set(faults.FAULTS) - set(faults.STEREO_FAULTS)


def test_pitch_shift_moves_a_tone() -> None:
    time = np.arange(2 * RATE) / RATE
    out = faults.shift_pitch(np.stack([np.sin(2 * np.pi * 440 * time)] * 2), RATE, 1.0)
    peak = np.abs(np.fft.rfft(out[0] * np.hanning(2 * RATE))).argmax() / 2
    assert peak == pytest.approx(440 * 2 ** (1 / 12), rel=0.02)  # the taps' crossfade adds side tones 1 % away


def test_hum_is_at_the_level_it_says(crop: faults.Audio) -> None:
    random = np.random.default_rng(0)
    difference = faults.noise(np.asarray(crop, np.float64), RATE, 1.0, random) - crop
    assert faults.rms(difference) == pytest.approx(faults.rms(crop), rel=1e-6)


def test_worst_cases_are_finite_and_level() -> None:
    for seed in range(40):
        audio = faults.worst_case(RATE, RATE, np.random.default_rng(seed))
        assert audio.shape == (2, RATE)
        assert np.isfinite(audio).all()
        assert faults.rms(audio) == pytest.approx(0.1, rel=1e-3) or not audio.any()


def make_tune() -> tunes.Tune:
    scale = (60, 62, 64, 65, 67, 69, 71, 72)
    return tunes.Tune("scale", tuple((n / 2, 0.5, scale[n % 8]) for n in range(32)), 0, False, 4.0)


def test_arrangements_follow_the_tune_and_its_harmony() -> None:
    parts = tunes.arrange(make_tune(), None, 120.0, 12.0, np.random.default_rng(0))
    melody = parts[0].notes
    assert melody[:, 0].max() < 12.1
    shift = melody[0, 2] - 60
    in_key = {(pitch + shift) % 12 for pitch in (0, 2, 4, 5, 7, 9, 11)}
    assert all({int(pitch) % 12 for pitch in part.notes[:, 2]} <= in_key for part in parts)


def test_faults_of_playing_grow_with_strength() -> None:
    parts = tunes.arrange(make_tune(), None, 120.0, 12.0, np.random.default_rng(0))

    def moved(strength: float) -> float:
        total = 0.0
        for seed in range(20):
            worse = tunes.degrade_notes(parts, strength, np.random.default_rng(seed))
            same = [(a, b) for a, b in zip(parts, worse, strict=True) if len(a.notes) == len(b.notes)]
            total += sum(float(np.abs(a.notes[:, [0, 2]] - b.notes[:, [0, 2]]).mean()) for a, b in same)
        return total

    assert moved(0.0) < 0.35 * moved(0.5) < 0.35 * moved(1.0)


def test_midi_versions_stand_side_by_side(tmp_path: Path) -> None:
    parts = tunes.arrange(make_tune(), None, 120.0, 8.0, np.random.default_rng(0))
    tunes.write_midi([parts, parts], 10.0, tmp_path / "two.mid")
    rows = tunes.read_drums(tmp_path / "two.mid")
    first, second = rows[rows[:, 0] < 9.99], rows[rows[:, 0] >= 9.99]
    assert len(first) == len(second) > 30
    np.testing.assert_allclose(second[:, 0] - 10.0, first[:, 0], atol=2e-3)


def synthetic(folder: Path, band: Band) -> list[corpus.Recording]:
    recordings = []
    for number in range(8):
        name = f"music-{number}"
        corpus._write(band(6.0, RATE, number)[0].numpy(), name, folder)
        recordings.append(corpus.Recording(name, f"{name}.wav", "first" if number < 6 else "test", "music", 6.0))
    return recordings


def test_examples_are_cached_and_repeat(tmp_path: Path, band: Band) -> None:
    recordings = synthetic(tmp_path, band)
    (tmp_path / "one").mkdir()
    first = examples.prepare(recordings, "test", 0, 2, tmp_path, tmp_path / "one")
    again = examples.prepare(recordings, "test", 0, 2, tmp_path, tmp_path / "two")
    np.testing.assert_array_equal(first.frames, again.frames)
    assert first.targets[:6].tolist() == sorted(first.targets[:6], reverse=True)
    assert first.targets[0] == 1.0
    assert set(first.recordings) <= {"music-6", "music-7", examples.WORST_CASE}
    joined = examples.join([first, again])
    assert joined.groups.max() == 3


@pytest.mark.slow
def test_a_member_learns_to_hear_faults_of_new_recordings(tmp_path: Path, band: Band) -> None:
    recordings = synthetic(tmp_path, band)
    training = examples.prepare(recordings, "first", 0, 40, tmp_path, tmp_path)
    unheard = examples.prepare(recordings, "test", 0, 20, tmp_path, tmp_path)
    network = fit.fit("mel_gru", training, 120, seed=0)
    result = evaluate.accuracy(evaluate.ratings_of(network, unheard), evaluate.pairs_of(unheard), unheard.recordings)
    assert result["accuracy"] > 0.7


def test_ranking_loss_wants_the_better_one_higher() -> None:
    targets, recordings = torch.tensor([1.0, 0.2, 0.9]), torch.tensor([0, 0, 1])
    right = fit.ranking_loss(torch.tensor([1.0, 0.2, -5.0]), targets, recordings)
    wrong = fit.ranking_loss(torch.tensor([0.2, 1.0, -5.0]), targets, recordings)
    assert right < 0.3 * wrong  # recording 1 has no partner: its absurd rating costs nothing
    worst = fit.ranking_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0]), torch.tensor([0, -1]))
    assert worst > 1.0


def make_examples(count: int = 30) -> examples.Examples:
    random = np.random.default_rng(0)
    names = [f"r{n % 10}" for n in range(count)]
    return examples.Examples(
        np.zeros((count, 2, 80, 4), np.float16), random.random(count).astype(np.float32), names,
        np.arange(count) % 10, [["noise"]] * count,
    )  # fmt: skip


def test_pairs_are_of_one_recording_and_far_enough_apart() -> None:
    given_examples = make_examples()
    better, worse = evaluate.pairs_of(given_examples)
    difference = given_examples.targets[better] - given_examples.targets[worse]
    assert len(better) > 0
    assert difference.min() >= 0.3 - 1e-6
    assert all(given_examples.recordings[a] == given_examples.recordings[b] for a, b in zip(better, worse, strict=True))


def test_accuracy_and_its_interval() -> None:
    """Two hundred recordings of one pair each are independent: the bootstrap must agree with the binomial interval."""
    random = np.random.default_rng(1)
    right = random.random(200) < 0.8
    ratings = np.concatenate([right.astype(float), 1.0 - right])
    pairs = (np.arange(200), np.arange(200, 400))
    result = evaluate.accuracy(ratings, pairs, [f"r{n % 200}" for n in range(400)])
    exact = binomtest(int(right.sum()), 200).proportion_ci(method="wilson")
    assert result["accuracy"] == pytest.approx(right.mean())
    assert result["low"] == pytest.approx(exact.low, abs=0.02)
    assert result["high"] == pytest.approx(exact.high, abs=0.02)


@pytest.mark.parametrize("licence", ["CC BY-SA 3.0", "GPL-3.0", "CC BY-NC 4.0", "", "no licence file in repo"])
def test_unclean_licences_are_refused(licence: str) -> None:
    with pytest.raises(UserError, match="only public domain"):
        corpus._check_licence("x.ogg", {"x.ogg": licence})
    corpus._check_licence("x.ogg", {"x.ogg": "CC BY 4.0 (LICENSE)"})


def test_the_build_explains_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([f"data={tmp_path}", f"out={tmp_path / 'out'}"]) == 2
    assert "SOURCES.tsv" in capsys.readouterr().err
    assert build.main(["date=x"]) == 2
    assert "data" in capsys.readouterr().err


def find_shared() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "shared" / "data", parent.parent / "shared" / "data"):
            if (folder / "SOURCES.tsv").exists():
                return folder
    return None


@pytest.mark.skipif(find_shared() is None, reason="the shared source material is not on this machine")
def test_everything_that_trains_has_a_clean_licence() -> None:
    data = find_shared()
    assert data is not None
    licences = corpus._licences(data)
    for file, split in corpus.MUSIC.items():
        corpus._check_licence(file, licences)
        assert split in corpus.SPLITS
    for folder in corpus.STEMS:
        for path in (data / folder / "stems").glob("*.flac"):
            corpus._check_licence(str(path.relative_to(data)), licences)
    for file in corpus.CHECKS:
        assert file not in corpus.MUSIC


@pytest.mark.skipif(find_shared() is None, reason="the shared source material is not on this machine")
@pytest.mark.parametrize("fault", list(faults.FAULTS))
def test_every_fault_lowers_the_rating_of_unheard_recordings(fault: str) -> None:
    """On average over two recordings that trained nothing, three places and three draws each, at strength 0.9."""
    data = find_shared()
    assert data is not None
    appeal = rater.load("appeal")
    clean, ruined = [], []
    for file in ("music/beatgame/great_mission.ogg", "music/librosa/Karissa_Hobbs_-_Lets_Go_Fishin.hq.ogg"):
        assert corpus.MUSIC[file] == "test"
        for start in (20.0, 45.0, 70.0):
            audio, rate = soundfile.read(data / file, start=int(start * 44_100), frames=3 * 44_100, dtype="float32")
            clean.append(audio.T)
            ruined += [faults.degrade(audio.T, rate, 0.9, np.random.default_rng(k), [fault])[0] for k in range(3)]
    with torch.no_grad():
        before, after = (appeal(torch.from_numpy(np.stack(crops)), 44_100).mean() for crops in (clean, ruined))
    assert after < before
