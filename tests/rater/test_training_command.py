"""`hitchain train` and `hitchain ablate` as they are called: from a manifest to a rater, and what goes wrong."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from recordings import tone_or_hiss, tones_and_hisses

import hitchain
from hitchain import rater
from hitchain.chain import config as configs
from hitchain.cli import main
from hitchain.errors import UserError
from hitchain.rater.training import TrainSettings, commands, train
from hitchain.rater.training.ablate import ablate, variants

MakeManifest = Callable[..., Path]
RATE = 16_000
QUICK = ["rater.crop_seconds=1.0", "rater.batch_size=4", "rater.crops_per_song=1", "rater.stretch=0.0"]
QUICK += ["rater.pitch_semitones=0.0", "rater.learning_rate=0.003", "prepare.workers=1", "prepare.test_fraction=0.0"]


def planted(count: int, artists: int) -> list[tuple[torch.Tensor, float, float, str]]:
    """Tones are liked, hisses are not."""
    return [
        (
            torch.from_numpy(tone_or_hiss(n % 2 == 0, n, rate=RATE)),
            1000.0,
            400.0 if n % 2 == 0 else 2.0,
            f"artist {n % artists}",
        )
        for n in range(count)
    ]


def run(*words: str, config: str = "train") -> Any:
    return getattr(commands, config)(configs.compose(config, [*QUICK, *words]))


def test_the_configuration_file_holds_the_same_keys_and_values() -> None:
    folder = Path(hitchain.__file__).parent / "conf" / "rater"
    values = yaml.safe_load((folder / "popularity.yaml").read_text(encoding="utf-8"))
    assert values.pop("manifest") is None
    for shared in ("seed", "device"):  # keys of every command, filled in by it
        assert values[shared] == f"${{{shared}}}"
        values[shared] = getattr(TrainSettings(), shared)
    assert TrainSettings.from_mapping(values) == TrainSettings()
    assert set(values) == set(TrainSettings.__dataclass_fields__)


@pytest.mark.parametrize("name", ["jynet", "inception", "transformer", "self_similarity", "mfcc", "mel_tcn", "mel_gru"])
def test_every_architecture_is_a_choice(name: str) -> None:
    rater = configs.compose("train", [f"rater={name}", "rater.manifest=songs.csv"])["rater"]
    assert rater.pop("architecture") == name
    assert rater.pop("manifest") == "songs.csv"
    assert {**rater, "architecture": "mel_cnn", "manifest": None} == configs.compose("train")["rater"]


def test_from_a_manifest_to_a_rater(make_manifest: MakeManifest, tmp_path: Path) -> None:
    rows = planted(16, 8)
    rows[1] = (torch.zeros(2, RATE * 2), 10, 5, "artist 1")
    rows[2] = (rows[2][0][:, : RATE // 2], 10, 5, "artist 2")
    rows[3] = (rows[3][0], 10, 50, "artist 3")
    manifest = make_manifest(rows)
    (tmp_path / "song4.wav").write_bytes(b"RIFF not really")
    (tmp_path / "song5.wav").unlink()
    out = tmp_path / "run"
    result = run(f"rater.manifest={manifest}", f"out={out}", "rater.epochs=1", "seed=3")
    reasons = {row["line"]: row["reason"] for row in result["skipped"]}
    assert sorted(reasons) == [3, 4, 5, 6, 7]
    assert result["songs"] == 11
    assert result["seed"] == 3
    assert json.loads((out / "result.json").read_text()) == result
    kept = configs.read(out / "config.yaml")
    assert kept["command"] == "train"
    # The prepared set can be trained on directly, to the same rater.
    again = run(f"prepared={out / 'prepared'}", f"out={tmp_path / 'again'}", "rater.epochs=1", "seed=3")
    assert again["validation_loss"] == result["validation_loss"]
    assert (tmp_path / "again" / "rater.safetensors").read_bytes() == (out / "rater.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], r"rater\.manifest=songs\.csv"),
        (["rater.manifest=songs.csv", "prepared=there"], "leave one of them out"),
        (["prepared=nowhere"], "nowhere is not a prepared set"),
        (["rater.manifest=songs.csv", "rater.epochs=0"], "epochs is 0"),
        (["rater.manifest=songs.csv", "rater.epochs=2.5"], "whole number"),
        (["rater.manifest=songs.csv", "rater.epoch=2"], "did you mean 'epochs'"),
        (["rater.manifest=songs.csv", "rater.learning_rate=fast"], "a number"),
        (["rater.manifest=songs.csv", "rater.architecture=mel_cnnn"], "did you mean 'mel_cnn'"),
        (["rater.manifest=songs.csv", "rater.loss=pairwize"], "did you mean 'pairwise'"),
        (["rater.manifest=songs.csv", "rater.target=likes"], "target is 'likes'"),
        (["rater.manifest=songs.csv", "rater.heads=[popularity]"], "not popularity itself"),
        (["rater.manifest=songs.csv", "rater.options.dropuot=0.1"], "did you mean 'dropout'"),
    ],
)
def test_wrong_settings_are_explained(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_manifest: MakeManifest
) -> None:
    make_manifest(planted(8, 4))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        run(*words, "out=run")


def test_an_ensemble_is_better_than_its_members_and_says_how_sure_it_is(
    make_manifest: MakeManifest, tmp_path: Path
) -> None:
    manifest, out = make_manifest(planted(24, 8)), tmp_path / "run"
    result = run(f"rater.manifest={manifest}", f"out={out}", "rater.members=2", "rater.epochs=2")
    # The squared error of a mean is at most the mean of the squared errors.
    assert result["validation_loss"] <= np.mean(result["member_validation_loss"]) + 1e-9
    losses = [json.loads((out / f"member-{k}" / "history.jsonl").read_text().splitlines()[-1]) for k in (0, 1)]
    assert losses[0]["validation_loss"] != losses[1]["validation_loss"]
    assert (out / "member-1" / "rater.safetensors").exists()


def test_an_interval_is_fitted_on_validation_and_counted_on_test(tmp_path: Path) -> None:
    memory = tones_and_hisses(48, 16)
    sides = ["training"] * 10 + ["validation"] * 3 + ["test"] * 3
    memory.entries = [replace(entry, split=sides[n % 16]) for n, entry in enumerate(memory.entries)]
    settings = TrainSettings(crop_seconds=1.0, batch_size=8, crops_per_song=1, epochs=2, members=2, loss="pairwise")
    result = train(memory, tmp_path, settings)
    assert result["coverage_on"] == "test"
    assert result["coverage_songs"] == 9
    trained = rater.load(tmp_path)
    heard = torch.stack([torch.from_numpy(memory.pieces[n]) for n in range(48) if sides[n % 16] == "test"])
    likes = np.array([400.0 if n % 2 == 0 else 2.0 for n in range(48) if sides[n % 16] == "test"])
    p = torch.tensor([rater.popularity(count, 1000.0) for count in likes])
    # Crops of a second in training and 1.5 s here, but of tones and hisses that do not change.
    low, high = (trained.to_popularity(end) for end in trained.interval(heard, 32_000, result["level"]))
    share = float(((p >= low.double() - 1e-6) & (p <= high.double() + 1e-6)).double().mean())
    assert share == pytest.approx(result["coverage"], abs=0.25)
    assert trained.rate(heard, 32_000).shape == (9, 2)


def test_variants_of_an_ablation() -> None:
    names = [way.name for way in variants("augmentation", TrainSettings())]
    assert names[:2] == ["none", "all"]
    assert len(names) == 2 + 2 * 7
    by_name = {way.name: way.settings.augmentation for way in variants("augmentation", TrainSettings(gain_db=3.0))}
    assert by_name["only gain_db"].gain_db == by_name["all"].gain_db == 3.0
    assert by_name["only gain_db"].eq_db == by_name["without eq_db"].eq_db == 0.0
    assert by_name["without eq_db"].noise == by_name["all"].noise > 0.0
    with pytest.raises(UserError, match="did you mean 'loss'"):
        variants("losses", TrainSettings())


def test_an_ablation_prints_a_table_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainSettings(crop_seconds=1.0, batch_size=8, crops_per_song=1, epochs=1, gain_db=0.0)
    rows = ablate(tones_and_hisses(16, 8), tmp_path, settings, "loss", 2)
    assert [row.name for row in rows][:2] == ["mse", "pairwise, uniform pairs"]
    first = rows[0].validation_loss
    assert first.low is not None
    assert first.high is not None
    assert first.low <= first.value <= first.high
    table = list(csv.DictReader((tmp_path / "ablation.csv").open()))
    assert float(table[0]["validation_loss"]) == pytest.approx(first.value, rel=1e-4)
    effect = rows[2].validation_loss.value - first.value
    assert rows[2].effect.value == pytest.approx(effect)
    began = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("rater.safetensors")}
    assert len(began) == 10
    again = ablate(tones_and_hisses(16, 8), tmp_path, settings, "loss", 2)
    assert again == rows
    assert {path: path.stat().st_mtime_ns for path in began} == began


def test_the_command_line_trains(make_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest = make_manifest(planted(8, 4))
    words = [f"source.path={manifest}", "source=manifest", f"out={tmp_path / 'run'}", "rater.epochs=1", *QUICK]
    assert main(["train", *words]) == 0
    assert main(["train", *words]) == 0  # it has finished: nothing is done again
    before = (tmp_path / "run" / "config.yaml").read_text()
    assert main(["train", *words, "seed=9"]) == 2
    assert main(["train", *words, f"source.path={tmp_path / 'other.csv'}"]) == 2
    assert (tmp_path / "run" / "config.yaml").read_text() == before


@pytest.mark.slow
def test_torchrun_trains(make_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest = make_manifest(planted(12, 4))
    words = [f"rater.manifest={manifest}", f"out={tmp_path / 'run'}", "rater.epochs=1", *QUICK]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hitchain"]
    done = subprocess.run(
        [*launch, "train", *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rater    ") == 1  # one process speaks
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 1
