"""Planted labels: songs, measures, counts with a known ceiling, and a curve that goes on where it was killed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.rater import sources
from hitchain.rater.planted import __main__ as command
from hitchain.rater.planted import corpus, recordings, report, rules, synth
from hitchain.rater.planted.curve import Point, settings_of

RATE = synth.RATE


def _click_track(bpm: float, seconds: float = 12.0, tone: float = 440.0, clicks: float = 0.5) -> NDArray[np.float32]:
    """(2, samples): a steady tone with a short burst of noise on every beat."""
    random = np.random.default_rng(0)
    time = np.arange(round(seconds * RATE)) / RATE
    audio = 0.1 * np.sin(2 * np.pi * tone * time)
    for start in np.arange(0.0, seconds - 0.1, 60.0 / bpm):
        first = round(start * RATE)
        audio[first : first + 800] += clicks * random.standard_normal(800) * np.exp(-np.arange(800) / 150)
    return np.stack([audio, audio]).astype(np.float32)


@pytest.mark.parametrize("bpm", [80.0, 100.0, 130.0])
def test_tempo_is_that_of_a_click_track(bpm: float) -> None:
    found = 2.0 ** rules.measure(_click_track(bpm), RATE)["tempo"]
    assert found == pytest.approx(bpm, rel=0.03)  # a step of the autocorrelation at 16 ms is up to 3.5 %


def test_brightness_is_the_frequency_of_a_tone() -> None:
    found = 2.0 ** rules.measure(_click_track(100.0, tone=1000.0, clicks=0.0), RATE)["brightness"]
    assert found == pytest.approx(1001.0, rel=0.02)


def test_drums_measure_rises_with_their_level() -> None:
    levels = [rules.measure(_click_track(110.0, clicks=level), RATE)["drums"] for level in (0.0, 0.1, 0.5)]
    assert levels[0] < levels[1] - 3.0 < levels[2] - 6.0


def test_repetition_tells_forms_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for form in ("ABAB", "ABCD"):
        monkeypatch.setattr(synth, "FORMS", (form,))
        songs = [synth.song(synth.Artist.of(np.random.default_rng(k)), np.random.default_rng([5, k])) for k in range(4)]
        found[form] = [rules.measure(song, RATE)["repetition"] for song in songs]
    assert min(found["ABAB"]) > max(found["ABCD"]) + 0.2
    assert max(found["ABAB"]) <= 1.0 + 1e-6


def test_songs_are_the_same_from_the_same_seed_and_fit_full_scale() -> None:
    plan = corpus.Plan((2, 1, 1), (2, 1, 1), seed=3)
    make = corpus.synthesiser(plan)
    one, again, other = make(0), corpus.synthesiser(plan)(0), make(1)
    assert one.shape == (2, round(synth.SECONDS * RATE))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert 0.09 < np.abs(one).max() <= 0.9


def test_artists_never_meet_and_any_first_part_has_as_many_as_can_be() -> None:
    places = corpus.Plan((12, 4, 6), (5, 2, 3)).places()
    by_split = {
        split: [artist for name, artist in places if name == split] for split in ("training", "validation", "test")
    }
    assert [len(by_split[split]) for split in by_split] == [12, 4, 6]
    sets = [set(artists) for artists in by_split.values()]
    assert [len(one) for one in sets] == [5, 2, 3]
    assert not (sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2])
    assert len(set(by_split["training"][:5])) == 5


@settings(max_examples=25, deadline=None)
@given(ceiling=st.floats(0.3, 0.99), seed=st.integers(0, 1000), skewed=st.booleans())
def test_counts_are_whole_possible_and_keep_the_ceiling(ceiling: float, seed: int, skewed: bool) -> None:
    values = np.random.default_rng(seed).standard_normal(300)
    if skewed:
        values = (values > 0.4) * 2.0 + 0.2 * values
        values = (values - values.mean()) / values.std()
    plays, likes = corpus.plant(values, ceiling, seed)
    assert np.array_equal(plays, np.round(plays))
    assert np.array_equal(likes, np.round(likes))
    assert (likes > 1).all()
    assert (likes <= plays).all()
    popularity = likes / plays * np.log(likes)
    assert scipy.stats.spearmanr(popularity, values).statistic == pytest.approx(ceiling, abs=0.01)


def test_without_noise_popularity_follows_the_rule_and_plays_do_not() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    plays, likes = corpus.plant(values, 1.0, 0)
    assert scipy.stats.spearmanr(likes / plays * np.log(likes), values).statistic > 0.9999
    assert abs(scipy.stats.spearmanr(plays, values).statistic) < 0.15


def test_rules_are_standardised_and_rise_with_their_measures() -> None:
    random = np.random.default_rng(1)
    measured = {name: random.uniform(2.0, 9.0, 50) for name in rules.MEASURES}
    for name, measures in (("drums", ["drums"]), ("tempo_and_brightness", ["tempo", "brightness"])):
        value = rules.RULES[name](measured, 50)
        assert value.mean() == pytest.approx(0.0, abs=1e-9)
        assert value.std() == pytest.approx(1.0)
        for measure in measures:
            more = {**measured, measure: measured[measure] + np.eye(50)[7] * 3.0}
            assert rules.RULES[name](more, 50)[7] > value[7]


def test_more_songs_leave_the_others_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal(120)
    few, many = corpus.plant(values[:80], 0.9, 1, 80), corpus.plant(values, 0.9, 1, 80)
    assert np.array_equal(few[1], many[1][:80])
    assert np.array_equal(corpus.plant(values[:100], 0.9, 1, 80)[0], many[0][:100])
    plan = corpus.Plan((10, 5, 5), (2, 1, 1))
    corpus.write_json(tmp_path / "plan.json", plan.as_dict())
    grown = corpus.Plan((23, 5, 5), (5, 1, 1)).within(tmp_path)
    assert grown.places()[:20] == plan.places()
    assert grown.places()[20:] == [("training", 4 + song // 5) for song in range(13)]
    assert corpus.Plan((8, 5, 5), (2, 1, 1)).within(tmp_path).places() == plan.places()
    make, again = corpus.synthesiser(plan), corpus.synthesiser(grown)
    assert np.array_equal(make(3), again(3))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words of a run that takes seconds."""
    monkeypatch.setattr("hitchain.rater.planted.curve.STEPS", {"drums": 2})
    monkeypatch.setattr("hitchain.rater.planted.curve.RESAMPLES", 20)
    return ["songs=10,12", "test_songs=10", "rules=drums"]


@pytest.mark.slow
def test_a_run_goes_on_and_ends_the_same(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[int] = []
    one = corpus._one

    def killed(path: Path, number: int, make: corpus.Make) -> NDArray[np.float64]:
        if len(made) == 9:
            raise KeyboardInterrupt
        made.append(number)
        return one(path, number, make)

    words = [f"out={tmp_path}", *small]
    monkeypatch.setattr(corpus, "_one", killed)
    monkeypatch.setattr(corpus, "SAVE_EVERY", -1.0)
    with pytest.raises(KeyboardInterrupt):
        command.main(words)
    monkeypatch.setattr(corpus, "_one", lambda path, number, make: (made.append(number), one(path, number, make))[1])
    first = command.main(words)
    assert sorted(made) == list(range(32))  # 12 + 10 + 10, each once
    again = command.main(words)
    assert again == first
    assert len(made) == 32
    names = [(point.name, point.songs) for point in first]
    assert names == [
        ("ceiling", 0), ("features + trees", 10), ("features + trees", 12), ("network", 10), ("network", 12)
    ]  # fmt: skip
    assert first[0].share["value"] == 1.0
    assert "| ceiling |" in capsys.readouterr().out
    kept = json.loads((tmp_path / "result.json").read_text())["points"]
    assert kept[-1]["correlation"] == first[-1].correlation
    page = (tmp_path / "report.html").read_text()
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    with pytest.raises(UserError, match="another plan"):
        command.main([*words, "seed=1"])
    rows, skipped = sources.read({"kind": "manifest", "path": str(tmp_path / "drums.csv")})
    assert (len(rows), skipped) == (32, [])
    assert {row.split for row in rows if row.artist == "artist 0"} == {"training"}


def _point(name: str, songs: int, value: float, share: float) -> Point:
    near = {"value": value, "low": value - 0.05, "high": value + 0.05}
    part = {"value": share, "low": share - 0.05, "high": share + 0.05}
    return Point("drums", name, songs, near, part, value)


def test_the_verdict_is_by_the_shares() -> None:
    ceiling = _point("ceiling", 0, 0.9, 1.0)
    short = [ceiling, _point("network", 50, 0.5, 0.55), _point("network", 100, 0.7, 0.78)]
    assert "falls short: at best 78% of the ceiling, with 100 songs" in report.verdict(short)
    enough = [*short, _point("network", 200, 0.82, 0.91)]
    assert report.verdict(enough).endswith("reaches 90% of the ceiling from 200 songs on.")
    sure = [*short, _point("network", 200, 0.87, 0.97)]
    assert report.verdict(sure).endswith("from 200 songs on, and its whole interval does.")
    assert report.markdown(enough).count("\n| network |") == 3


def test_label_preserving_changes_only() -> None:
    tempo = settings_of("tempo_and_brightness", 100, 0, "cpu")
    assert (tempo.stretch, tempo.pitch_semitones, tempo.eq_db) == (0.0, 0.0, 0.0)
    assert settings_of("repetition", 100, 0, "cpu").crop_seconds == synth.SECONDS
    few, many = (settings_of("drums", songs, 0, "cpu") for songs in (25, 200))
    assert few.epochs * 25 == pytest.approx(many.epochs * 200, rel=0.3)  # as many steps


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "out=planted"),
        (["out=x", "song=5"], "did you mean 'songs'"),
        (["out=x", "songs=many"], "songs=many should be whole numbers"),
        (["out=x", "rules=drum"], "did you mean 'drums'"),
        (["out=x", "ceiling=2"], "ceiling=2 should be"),
        (["out=x", "recordings=nowhere"], "is no folder"),
    ],
)
def test_what_cannot_be_meant_is_told(words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        command.main(words)


def test_recordings_are_cut_by_whole_recordings(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * random.standard_normal(31 * 8000), 8000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="holds 3 of 30 s or more"):
        recordings.recordings_in(tmp_path)
    soundfile.write(tmp_path / "3.wav", 0.1 * random.standard_normal((31 * 8000, 2)), 8000)
    files = recordings.recordings_in(tmp_path)
    plan = recordings.plan_of(files, (6, 2, 3), 0, "here")
    assert plan.artists == (2, 1, 1)
    make = recordings.cutter(files, plan)
    one = make(0)
    assert one.shape == (2, round(synth.SECONDS * RATE))
    assert np.array_equal(one, make(0))


def test_cut_sections_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 40 * RATE)).astype(np.float32)
    monkeypatch.setattr(synth, "FORMS", ("ABAB",))
    monkeypatch.setattr(synth, "finish", lambda stereo, random: stereo)
    monkeypatch.setattr(synth, "drums", lambda beat, kit, random, samples: np.zeros((2, samples)))
    song = recordings.song(noise, np.random.default_rng(0))
    half, inside = song.shape[1] // 2, slice(RATE, RATE * 2)
    np.testing.assert_allclose(song[:, :half][:, inside], song[:, half:][:, inside])
    assert abs(np.corrcoef(song[0, inside], song[0, half // 2 :][inside])[0, 1]) < 0.2
