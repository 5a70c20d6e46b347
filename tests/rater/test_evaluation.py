"""The command `evaluate`: on sets whose truth is known, killed and gone on with, and on mistakes."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import torch
from browser import Browser, needs_browser

from hitchain import rater as raters
from hitchain.cli import main
from hitchain.errors import UserError
from hitchain.files import write_wav
from hitchain.rater import networks, weights
from hitchain.rater.evaluation import baselines, recordings
from hitchain.rater.evaluation.command import evaluate
from hitchain.rater.evaluation.loudness import SILENCE, loudness
from hitchain.rater.evaluation.table import Table
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.row import Row
from hitchain.rater.uncertainty import fit as calibrate

RATE = 16_000
ARTISTS = 6
SONGS = 3
QUICK = {"resamples": 50, "k": 5, "baselines": False}


def make_set(folder: Path, seconds: float = 1.5, extra: Sequence[str] = ()) -> Path:
    """Noise of `ARTISTS` artists, `SONGS` each: the longer a recording, the more popular. Two thirds is training."""
    random = np.random.default_rng(0)
    lines = ["path,plays,likes,artist,genre,split"]
    for number in range(ARTISTS * SONGS):
        artist = number // SONGS
        length = round((seconds + 0.1 * number) * RATE)
        write_wav(
            folder / f"{number:02d}.wav", torch.from_numpy(0.1 * random.standard_normal((1, length))).float(), RATE
        )
        split = "test" if artist % 3 == 0 else "training"
        lines.append(f"{number:02d}.wav,1000,{2 + 5 * number},artist {artist},{'AB'[artist % 2]},{split}")
    (folder / "songs.csv").write_text("\n".join([*lines, *extra]) + "\n")
    return folder / "songs.csv"


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("songs"))


def config(source: Path | None, out: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "rater": "appeal/0", "prepared": None, "source": {"kind": "manifest", "path": str(source)}, "split": "test",
        "target": "popularity", "group": "genre", "k": 10, "baselines": True, "feature_seconds": 30.0,
        "window_seconds": 10.0, "resamples": 200, "device": "cpu", "seed": 0, "out": str(out),
    }  # fmt: skip
    return {**values, **changes}


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def run(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "one"
    words = [f"source.path={songs}", f"out={out}", "rater=[appeal/0,appeal/1]", "resamples=100", "split=all"]
    assert main(["evaluate", *words]) == 0
    return out


def test_the_command_leaves_a_run_folder(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["raters"] == ["appeal/0", "appeal/1"]
    assert (result["songs"], result["artists"]) == (ARTISTS * SONGS, ARTISTS)
    assert set(result["systems"]) == {
        "appeal/0", "appeal/1", "loudness", "duration", "genre mean", "features + ridge", "features + trees",
    }  # fmt: skip
    assert "mse" not in result["systems"]["appeal/0"]["metrics"]  # it has no popularity scale: said so
    assert any("without its scale" in note for note in result["notes"])
    for system in result["systems"].values():
        for found in system["metrics"].values():
            assert found["low"] <= found["value"] <= found["high"] or found["value"] is None
    assert "NaN" not in (run / "result.json").read_text()


def test_the_baseline_that_knows_the_truth_wins(run: Path) -> None:
    """Popularity was made to follow the duration: that baseline finds it, and nothing beats it."""
    result = json.loads((run / "result.json").read_text())
    duration = result["systems"]["duration"]["metrics"]
    assert duration["spearman"]["value"] > 0.99
    assert duration["spearman"]["beats_chance"]
    assert duration["r2"]["value"] > 0.9
    for rater in result["raters"]:
        difference = result["differences"][rater]["spearman"]
        assert difference["against"] == "duration"
        assert not difference["beats"]
        assert difference["loses"]
        assert difference["high"] < 0.0


def test_predictions_are_what_the_rater_says(run: Path, songs: Path) -> None:
    rows = {row["name"]: row for row in csv.DictReader((run / "predictions.csv").open())}
    assert len(rows) == ARTISTS * SONGS
    appeal = raters.load("appeal/0")
    for name in ("03.wav", "17.wav"):
        from hitchain.files import read_audio

        audio, rate = read_audio(songs.parent / name)
        assert float(rows[name]["appeal/0"]) == pytest.approx(float(appeal.rate(audio[None], rate).mean()), abs=1e-4)
        number = int(name[:2])
        assert float(rows[name]["target"]) == pytest.approx(raters.popularity(2 + 5 * number, 1000))


def test_groups_are_told(run: Path) -> None:
    groups = json.loads((run / "result.json").read_text())["groups"]["appeal/0"]
    assert [row["group"] for row in groups] == ["A", "B"]
    assert sum(row["songs"] for row in groups) == ARTISTS * SONGS
    assert sum(row["songs"] * row["bias"]["value"] for row in groups) == pytest.approx(0.0, abs=1e-6)  # standardised


@needs_browser
def test_the_page_opens(run: Path, tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    found = browser.after(
        run / "report.html",
        """const charts = [...document.querySelectorAll('figure.chart svg')];
        return {charts: charts.map(c => c.getBoundingClientRect().width > 200 && c.children.length > 5),
                dots: document.querySelectorAll('.dot').length, text: document.body.textContent};""",
    )
    assert found["charts"] == [True] * 5  # Spearman of all; scatter and calibration of each rater
    assert found["dots"] == 2 * ARTISTS * SONGS
    assert "artists, not over songs" in str(found["text"])
    assert not browser.requested_hosts()


def test_killed_and_gone_on_with_it_is_the_same(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rating dies after the fourth song, with half a line written; the same command then gives the same bytes."""
    whole = evaluate(config(songs, tmp_path / "whole", **QUICK), quiet)
    rate, count = recordings.SourceRecordings.rate, [0]

    def dying(self: recordings.SourceRecordings, *arguments: Any) -> Any:
        count[0] += 1
        if count[0] == 5:
            raise KeyboardInterrupt
        return rate(self, *arguments)

    monkeypatch.setattr(recordings.SourceRecordings, "rate", dying)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config(songs, tmp_path / "part", **QUICK), quiet)
    path = tmp_path / "part" / "ratings.csv"
    assert len(path.read_text().splitlines()) == 5
    with path.open("a") as handle:
        handle.write("11.wav,2.")
    again = evaluate(config(songs, tmp_path / "part", **QUICK), quiet)
    assert count[0] == 5 + 2  # six test songs: four were not rated again
    assert path.read_bytes() == (tmp_path / "whole" / "ratings.csv").read_bytes()
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}


def test_another_evaluation_does_not_go_on_in_the_folder(songs: Path, tmp_path: Path) -> None:
    evaluate(config(songs, tmp_path / "run", **QUICK), quiet)
    with pytest.raises(UserError, match="holds another run"):
        evaluate(config(songs, tmp_path / "run", **{**QUICK, "split": "training"}), quiet)


def popularity_rater(folder: Path, seed: int, calibrated: bool = False) -> Path:
    """Untrained weights with a popularity scale."""
    torch.manual_seed(seed)
    network = networks.create("mel_cnn", FrontEndSettings().mel_bands, width=8)
    about = {"target": "popularity", "target_mean": 0.2, "target_deviation": 0.1}
    weights.save(folder / "rater.safetensors", network, "mel_cnn", {"width": 8}, FrontEndSettings(), about)
    if calibrated:
        from hitchain.rater import ensemble

        random = np.random.default_rng(0)
        scale = calibrate(random.standard_normal((60, 1)), random.standard_normal(60))
        ensemble.save(folder, ["rater.safetensors"], calibration=scale)
    return folder


def test_a_rater_with_a_scale_has_errors_and_coverage(songs: Path, tmp_path: Path) -> None:
    rater = popularity_rater(tmp_path / "rater", 0, calibrated=True)
    result = evaluate(config(songs, tmp_path / "run", rater=str(rater), split="all", **QUICK), quiet)
    found = result["systems"][str(rater)]
    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").open()))
    said, true = (np.array([float(row[key]) for row in rows]) for key in (str(rater), "target"))
    assert found["metrics"]["mse"]["value"] == pytest.approx(np.mean((said - true) ** 2))
    assert said == pytest.approx(0.2, abs=0.2)
    shares = [row["share"] for row in found["interval"]]
    assert shares == sorted(shares)
    assert [row["level"] for row in found["interval"]] == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Residuals" in page
    assert "Coverage of its intervals" in page


def test_a_changed_rater_is_noticed(songs: Path, tmp_path: Path) -> None:
    rater = str(popularity_rater(tmp_path / "rater", 0))
    evaluate(config(songs, tmp_path / "run", rater=rater, **QUICK), quiet)
    popularity_rater(tmp_path / "rater", 1)
    with pytest.raises(UserError, match="has changed"):
        evaluate(config(songs, tmp_path / "run", rater=rater, **QUICK), quiet)


@pytest.mark.parametrize("kind", ["audio", "mel"])
def test_a_prepared_set_gives_the_same_ratings(songs: Path, tmp_path: Path, kind: str) -> None:
    from hitchain.rater.shards import PrepareSettings, prepare

    section = {"kind": "manifest", "path": str(songs)}
    prepare(section, tmp_path / "prepared", PrepareSettings(kind=kind, workers=1, validation_fraction=0.0), quiet)
    plain = evaluate(config(songs, tmp_path / "plain", split="all", **QUICK), quiet)
    found = evaluate(config(None, tmp_path / "run", prepared=str(tmp_path / "prepared"), split="all", **QUICK), quiet)
    assert found["songs"] == plain["songs"]
    one, other = (
        {row["name"]: float(row["appeal/0"]) for row in csv.DictReader((tmp_path / name / "predictions.csv").open())}
        for name in ("plain", "run")
    )
    for name, value in one.items():
        assert other[name] == pytest.approx(value, abs=0.1)  # resampled to 32 kHz; frames in half precision


def test_recordings_that_cannot_be_heard_are_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "short.wav", torch.zeros(1, 4000), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing")
    extra = ["short.wav,10,5,someone,A,test", "broken.wav,10,5,nobody,B,test"]
    manifest = make_set(tmp_path, extra=extra)
    result = evaluate(config(manifest, tmp_path / "run", **QUICK), quiet)
    assert result["skipped"] == {"undecodable": 1, "short": 1}
    named = {row["path"]: row["kind"] for row in csv.DictReader((tmp_path / "run" / "skipped.csv").open())}
    assert named == {"short.wav": "short", "broken.wav": "undecodable"}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["source.path=nowhere.csv"], "manifest not found"),
        (["source.path={songs}", "split=tset"], "did you mean 'test'?"),
        (["source.path={songs}", "split=validation"], "split=validation is empty (training 12, validation 0, test 6"),
        (["source.path={songs}", "rater=nobody"], "no rater 'nobody'"),
        (["source.path={songs}", "rater=3"], "rater=3 should be a name or a list"),
        (["source.path={songs}", "target=populartiy"], "did you mean 'popularity'?"),
        (["source.path={songs}", "k=0"], "k=0 should be from 1"),
        (["source.path={songs}", "resample=3"], "did you mean 'resamples'?"),
        (["prepared=nowhere"], "is not a prepared set"),
        ([], "source.path=songs.csv"),
    ],
)
def test_mistakes_are_told(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert main(["evaluate", f"out={tmp_path / 'run'}", *(word.format(songs=songs) for word in words)]) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_is_that_of_pyloudnorm(band: Callable[..., torch.Tensor], rate: int, channels: int) -> None:
    """pyloudnorm with the filters of De Man 2018. Quiet parts test the gates."""
    audio = band(4.0, rate)[0, :channels].double().numpy()
    audio[:, 2 * rate : 3 * rate] *= 0.01
    meter = pyloudnorm.Meter(rate, filter_class="DeMan")
    assert loudness(audio, rate) == pytest.approx(meter.integrated_loudness(audio.T), abs=0.05)


def test_silence_has_the_lowest_loudness() -> None:
    assert loudness(np.zeros((2, 48_000)), 48_000) == SILENCE


def test_folds_keep_artists_whole_and_even() -> None:
    groups = np.repeat(np.arange(7), [5, 1, 2, 3, 1, 4, 2])
    parts = baselines.folds(groups, 3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(18))
    assert all(set(groups[a]).isdisjoint(groups[b]) for a, b in ((parts[0], parts[1]), (parts[1], parts[2])))
    assert max(map(len, parts)) - min(map(len, parts)) <= 2


def test_group_means_and_lines_are_those_of_the_fitted() -> None:
    rows = [Row(Path("x"), labels={"genre": genre} if genre else {}) for genre in ("A", "A", "B", "B", "A", "C")]
    targets = np.array([1.0, 3.0, 5.0, 7.0, 0.0, 0.0])
    columns = {"duration": np.array([[1.0], [3.0], [5.0], [7.0], [2.0], [9.0]])}
    known, asked = [np.arange(4)], [np.array([4, 5])]
    found = baselines.fit_and_rate(columns, rows, "genre", targets, known, asked, 0)
    assert found["genre mean"][4:].tolist() == [2.0, 4.0]  # a genre never heard gets the mean of all
    assert found["duration"][4:] == pytest.approx([2.0, 9.0])
    assert all(math.isnan(value) for value in found["duration"][:4])
    assert baselines.fit_and_rate(columns, rows, "genre", targets, [np.arange(3)], asked, 0) == {}


def test_tags_count_each() -> None:
    rows = [Row(Path("x"), labels={"tags": tags}) for tags in ("loud, fast", "loud", "fast", "slow", "fast, loud", "")]
    targets = np.array([1.0, 3.0, 5.0, 7.0, 0.0, 0.0])
    found = baselines.fit_and_rate({}, rows, "tags", targets, [np.arange(4)], [np.array([4, 5])], 0)
    assert found["tags mean"][4:].tolist() == [2.5, 4.0]  # of loud 2, of fast 3


def test_a_table_drops_half_a_line_and_refuses_another_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with Table(path, ["name", "value"]) as table:
        table.append(["a, b", 0.1 + 0.2])
        table.append(["c", None])
    with path.open("a") as handle:
        handle.write("d,0.")
    with Table(path, ["name", "value"]) as table:
        assert "a, b" in table
        assert "d" not in table
        assert table.numbers("a, b", ["value"]) == [0.1 + 0.2]
        assert math.isnan(table.numbers("c", ["value"])[0])
        table.append(["d", 1.0])
    assert path.read_text() == 'name,value\n"a, b",0.30000000000000004\nc,\nd,1.0\n'
    with pytest.raises(UserError, match="other raters"):
        Table(path, ["name", "other"])
    path.write_text("name,value\na,1,2\n")
    with pytest.raises(UserError, match="line 2 is damaged"):
        Table(path, ["name", "value"])
