"""Training: a planted rule is learnt, a killed run ends where it would have, unusable songs are named."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater import commands
from hitchain.rater.augment import AugmentSettings, augment, change_tempo_and_pitch
from hitchain.rater.dataset import inspect, read_crop, training_crop
from hitchain.rater.train import TrainSettings

MakeManifest = Callable[..., Path]
RATE = 16_000
QUICK = {"crop_seconds": 1.0, "batch_size": 4, "crops_per_song": 1, "stretch": 0.0, "pitch_semitones": 0.0}


def tone_or_hiss(tonal: bool, seed: int, seconds: float = 1.5) -> torch.Tensor:
    random = np.random.default_rng(seed)
    time_axis = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * random.uniform(200, 800) * time_axis) * 0.3
    hiss = 0.1 * random.standard_normal(len(time_axis))
    return torch.from_numpy(np.stack([tone if tonal else hiss] * 2)).float()


def planted(count: int, artists: int) -> list[tuple[torch.Tensor, float, float, str]]:
    """Tones are liked, hisses are not."""
    return [
        (tone_or_hiss(n % 2 == 0, n), 1000.0, 400.0 if n % 2 == 0 else 2.0, f"artist {n % artists}")
        for n in range(count)
    ]


def test_the_configuration_file_holds_the_same_keys_and_values() -> None:
    import hitchain

    path = Path(hitchain.__file__).parent / "conf" / "rater" / "popularity.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert values.pop("manifest") is None
    for shared in ("seed", "device"):  # keys of every command, filled in by it
        assert values[shared] == f"${{{shared}}}"
        values[shared] = getattr(TrainSettings(), shared)
    assert TrainSettings.from_mapping(values) == TrainSettings()
    assert set(values) == set(TrainSettings.__dataclass_fields__)


def test_a_planted_rule_is_learnt(make_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest = make_manifest(planted(24, 8))
    result = commands.train(
        {"manifest": str(manifest), "out": str(tmp_path / "run"), "epochs": 8, "learning_rate": 3e-3, **QUICK}
    )
    # Always answering the mean scores baseline_loss; the rule is easy, so a trained network beats it by far.
    assert result["validation_loss"] < 0.3 * result["baseline_loss"]
    trained = rater.load(tmp_path / "run")
    with torch.no_grad():
        tone, hiss = (trained(tone_or_hiss(tonal, 99).unsqueeze(0), RATE) for tonal in (True, False))
    assert tone > hiss
    assert float(trained.to_popularity(tone)) == pytest.approx(rater.popularity(400, 1000), rel=0.5)
    assert [json.loads(line)["epoch"] for line in (tmp_path / "run" / "history.jsonl").open()] == list(range(1, 9))


def test_a_run_killed_at_any_moment_ends_where_it_would_have(make_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest = make_manifest(planted(12, 4))
    config = {"manifest": str(manifest), "epochs": 3, "checkpoint_seconds": 0.0, "seed": 3, **QUICK}
    whole = commands.train({**config, "out": str(tmp_path / "whole")})
    out = tmp_path / "killed"
    code = (
        "import sys, json, torch; torch.set_num_threads(1); from hitchain.rater import commands; "
        "commands.train(json.loads(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, json.dumps({**config, "epochs": 100, "out": str(out)})])
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed = commands.train({**config, "out": str(out)})
        reference = commands.train({**config, "out": str(tmp_path / "again")})
    finally:
        torch.set_num_threads(threads)
    first, second = (load_file(tmp_path / name / "rater.safetensors") for name in ("killed", "again"))
    assert all(torch.equal(first[name], second[name]) for name in second)
    assert resumed["validation_loss"] == reference["validation_loss"]
    assert whole["validation_loss"] == pytest.approx(reference["validation_loss"], rel=1e-3)
    # A finished run is not trained again.
    assert commands.train({**config, "out": str(out)}) == resumed


def test_another_run_in_the_folder_is_not_overwritten(make_manifest: MakeManifest, tmp_path: Path) -> None:
    config = {"manifest": str(make_manifest(planted(8, 4))), "out": str(tmp_path / "run"), "epochs": 1, **QUICK}
    commands.train(config)
    with pytest.raises(UserError, match="other settings"):
        commands.train({**config, "seed": 1})


def test_unusable_songs_are_counted_named_and_skipped(make_manifest: MakeManifest, tmp_path: Path) -> None:
    rows = planted(10, 5)
    rows[1] = (torch.zeros(2, RATE * 2), 10, 5, "artist 1")
    rows[2] = (rows[2][0][:, : RATE // 2], 10, 5, "artist 2")
    rows[3] = (rows[3][0], 10, 50, "artist 3")
    manifest = make_manifest(rows)
    (tmp_path / "song4.wav").write_bytes(b"RIFF not really")
    (tmp_path / "song5.wav").unlink()
    result = commands.train({"manifest": str(manifest), "out": str(tmp_path / "run"), "epochs": 1, **QUICK})
    reasons = {row["line"]: row["reason"] for row in result["skipped"]}
    assert sorted(reasons) == [3, 4, 5, 6, 7]
    assert "silent" in reasons[3]
    assert "0.50 s" in reasons[4]
    assert "exceed plays" in reasons[5]
    assert "not found" in reasons[7]
    assert result["songs"] == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"manifest": None}, "rater.manifest="),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 2.5}, "whole number"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"architecture": "mel_cnnn"}, "did you mean 'mel_cnn'"),
    ],
)
def test_wrong_settings_are_explained(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        commands.train({"manifest": "songs.csv", "out": str(tmp_path), **change})


def test_too_few_artists_and_nothing_to_learn(make_manifest: MakeManifest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 artists"):
        commands.train({"manifest": str(make_manifest(planted(6, 1))), "out": str(tmp_path / "run"), **QUICK})
    same = [(audio, 100.0, 10.0, artist) for audio, _, _, artist in planted(6, 3)]
    with pytest.raises(UserError, match="same popularity"):
        commands.train({"manifest": str(make_manifest(same)), "out": str(tmp_path / "run"), **QUICK})


def test_training_crops_repeat_by_seed_and_differ_between_seeds(make_manifest: MakeManifest) -> None:
    rows, _ = rater.read_manifest(make_manifest([(tone_or_hiss(False, 0, 6.0), 10.0, 5.0, "x")]))
    songs, _ = inspect(rows)
    first, again, other = (training_crop(songs[0], 2.0, AugmentSettings(), np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.shape == (2, 64_000)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_short_and_multichannel_files_fill_a_crop(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).standard_normal((RATE * 2, 4)).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "four.wav", audio, RATE, subtype="FLOAT")
    songs, skipped = inspect([rater.Row(tmp_path / "four.wav", 1, 0, "x", 2)])
    assert skipped == []
    crop = read_crop(songs[0], 0, RATE * 3).numpy()
    np.testing.assert_allclose(crop[0, : RATE * 2], audio[:, [0, 2]].mean(1), atol=1e-6)
    np.testing.assert_array_equal(crop[:, RATE * 2 :], crop[:, :RATE])


@pytest.mark.parametrize(("tempo", "pitch"), [(1.1, 1.0), (1.0, 1.06), (0.93, 0.95)])
def test_tempo_and_pitch_change_as_asked(tempo: float, pitch: float) -> None:
    """A 440 Hz tone: its length follows the tempo, its frequency the pitch (spectrum peak, 0.5 % of it)."""
    audio = torch.sin(2 * torch.pi * 440 * torch.arange(RATE * 4) / RATE).expand(2, -1)
    out = change_tempo_and_pitch(audio, RATE, tempo, pitch)
    assert out.shape[-1] == pytest.approx(RATE * 4 / tempo, rel=0.005)
    middle = out[0, RATE : RATE * 3] * torch.hann_window(RATE * 2)
    peak = float(torch.fft.rfft(middle, RATE * 8).abs().argmax()) / 8
    assert peak == pytest.approx(440 * pitch, rel=0.005)


def test_amplitude_moves_within_its_range() -> None:
    audio = torch.ones(2, 1000)
    for seed in range(20):
        out = augment(audio, RATE, 1000, AugmentSettings(6.0, 0.0, 0.0), np.random.default_rng(seed))
        decibels = 20 * torch.log10(out)
        assert decibels.abs().max() <= 7.5 + 1e-4


def test_rating_files(tmp_path: Path, music: torch.Tensor) -> None:
    path = tmp_path / "music.wav"
    soundfile.write(path, music[0].T.numpy(), 44_100, subtype="FLOAT")
    (row,) = commands.rate([path])
    assert row["seconds"] == pytest.approx(4.0)
    assert row["rating"] == pytest.approx(sum(row["members"].values()) / len(row["members"]))
    assert row["rating"] == pytest.approx(float(rater.load("appeal")(music, 44_100)), abs=1e-5)
    assert row["heldout"] == pytest.approx(float(rater.load("appeal/heldout")(music, 44_100)), abs=1e-5)
    assert "popularity" not in row
    with pytest.raises(UserError, match="no audio file"):
        commands.rate([])
    with pytest.raises(UserError, match="did you mean 'rater'"):
        commands.rate([path], {"ratr": "appeal"})
    soundfile.write(path, np.zeros((1000, 2)), 44_100)
    with pytest.raises(UserError, match=r"music\.wav.*too short"):
        commands.rate([path])


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, hitchain.rater; assert hitchain.rater.popularity(2, 4) > 0; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
