"""Training on a prepared set: a planted rule is learnt, and a killed run ends where it would have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recordings import Memory, tone_or_hiss, tones_and_hisses
from safetensors import safe_open
from safetensors.torch import load_file

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd
from hitchain.rater.training import TrainSettings, checkpoint, train
from hitchain.rater.training.average import Average

QUICK = TrainSettings(
    crop_seconds=1.0, batch_size=4, crops_per_song=1, stretch=0.0, pitch_semitones=0.0, epochs=3, learning_rate=3e-3
)
FOLDER = Path(__file__).parent


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order: the same bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights(folder: Path) -> bytes:
    return (folder / "rater.safetensors").read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of `QUICK`, which others are compared with."""
    folder = tmp_path_factory.mktemp("plain")
    torch.set_num_threads(1)
    return folder, train(tones_and_hisses(), folder, QUICK)


def test_a_planted_rule_is_learnt(tmp_path: Path) -> None:
    result = train(tones_and_hisses(), tmp_path, replace(QUICK, epochs=6))
    # Always answering the mean scores baseline_loss; the rule is easy, so a trained network beats it by far.
    assert result["validation_loss"] < 0.3 * result["baseline_loss"]
    trained = rater.load(tmp_path)
    with torch.no_grad():
        tone, hiss = (trained(torch.from_numpy(tone_or_hiss(kind, 99))[None], 32_000) for kind in (True, False))
    assert tone > hiss
    assert float(trained.to_popularity(tone)) == pytest.approx(rater.popularity(400, 1000), rel=0.5)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").open()]
    assert [line["epoch"] for line in lines] == list(range(1, 7))
    assert min(line["validation_loss"] for line in lines) == pytest.approx(result["validation_loss"], rel=1e-6)
    table = (tmp_path / "history.csv").read_text().splitlines()
    assert table[0].split(",") == list(lines[0])
    assert len(table) == 7
    assert 0.0 < result["data_wait"] < 1.0
    assert result["crops_per_second"] > 0.0
    assert result["songs"] == 24
    assert result["artists"] == 8


def test_a_run_killed_at_any_moment_ends_where_it_would_have(
    plain: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """Killed after its first checkpoint and, with the newest checkpoint lost, after the one before: the same bytes."""
    out = tmp_path / "killed"
    code = (
        "import sys, torch; torch.set_num_threads(1); sys.path.insert(0, sys.argv[2])\n"
        "from dataclasses import replace\n"
        "from test_training import QUICK, tones_and_hisses, train\n"
        "train(tones_and_hisses(), sys.argv[1], replace(QUICK, epochs=100, checkpoint_seconds=0.0))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(out), str(FOLDER)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / checkpoint.PREVIOUS).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = checkpoint.load(out)
    assert found is not None
    assert 0 < found[1]["standing"]["steps"] < 15  # it was killed on the way
    (out / checkpoint.CHECKPOINT).unlink(missing_ok=True)
    resumed = train(tones_and_hisses(), out, QUICK)
    assert weights(out) == weights(plain[0])
    assert resumed["validation_loss"] == plain[1]["validation_loss"]
    # A finished run is not trained again; one that may go on longer goes on.
    assert train(tones_and_hisses(), out, QUICK)["seconds"] == resumed["seconds"]
    assert train(tones_and_hisses(), out, replace(QUICK, epochs=4))["epochs"] == 4


def test_a_truncated_checkpoint_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    train(tones_and_hisses(), tmp_path, QUICK)
    reference = weights(tmp_path)
    (tmp_path / "rater.safetensors").unlink()
    current = tmp_path / checkpoint.CHECKPOINT
    current.write_bytes(current.read_bytes()[:1000])
    with pytest.raises(UserError, match=rf"{checkpoint.CHECKPOINT}.*Delete it.*{checkpoint.PREVIOUS}"):
        train(tones_and_hisses(), tmp_path, QUICK)
    current.unlink()
    train(tones_and_hisses(), tmp_path, QUICK)
    assert weights(tmp_path) == reference


def test_another_run_in_the_folder_is_not_overwritten(plain: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="other settings"):
        train(tones_and_hisses(), plain[0], replace(QUICK, seed=1))
    with pytest.raises(UserError, match="other recordings"):
        train(tones_and_hisses(20), plain[0], QUICK)


def test_workers_and_tensorboard_change_no_byte(plain: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = train(tones_and_hisses(), tmp_path, replace(QUICK, workers=2, tensorboard=True))
    assert weights(tmp_path) == weights(plain[0])
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = {event.step: event.value for event in events.Scalars("validation_loss")}
    assert sorted(losses) == [1, 2, 3]
    assert losses[result["best_epoch"]] == pytest.approx(result["validation_loss"], rel=1e-5)


def test_heads_learn_labels_and_songs_without_counts_still_teach_them(tmp_path: Path) -> None:
    settings = replace(QUICK, heads=("kind",), head_weight=1.0, epochs=5)
    result = train(tones_and_hisses(unknown=4), tmp_path, settings)
    assert result["songs"] == 24
    assert result["kind_accuracy"] == 1.0
    with safe_open(str(tmp_path / "rater.safetensors"), "pt") as handle:
        header = json.loads(handle.metadata()["hitchain"])
    assert header["heads"] == {"kind": ["hiss", "tone"]}
    values = [rater.popularity(400 if n % 2 == 0 else 2, 1000) for n in range(24) if n % 8 < 6 and n >= 4]
    assert header["about"]["target_mean"] == pytest.approx(np.mean(values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": ("knd",)}, "did you mean 'kind'"),
        ({"heads": ("same",)}, "only 'x'"),
        ({"target": "label:kind"}, r"needs numbers, and line 2 \(0.wav\) has 'tone'.*heads=\[kind\]"),
        ({"target": "label:sise"}, "did you mean 'size'"),
        ({"architecture": "mfcc", "loss": "both"}, "squared error only"),
    ],
)
def test_labels_that_cannot_be_learnt(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(tones_and_hisses(), tmp_path, replace(QUICK, **change))


def test_a_column_of_numbers_can_be_the_target(tmp_path: Path) -> None:
    result = train(tones_and_hisses(), tmp_path, replace(QUICK, target="label:size", epochs=1))
    sizes = np.array([n for n in range(24) if n % 8 < 6])
    held = np.array([n for n in range(24) if n % 8 >= 6])
    assert result["baseline_loss"] == pytest.approx(np.mean(((held - sizes.mean()) / sizes.std()) ** 2))


def test_empty_splits_and_nothing_to_learn(tmp_path: Path) -> None:
    memory = tones_and_hisses()
    memory.entries = [replace(entry, split="training") for entry in memory.entries]
    with pytest.raises(UserError, match=r"24 training and 0 validation.*2 artists"):
        train(memory, tmp_path, QUICK)
    same = tones_and_hisses()
    same.entries = [replace(entry, row=replace(entry.row, likes=10.0)) for entry in same.entries]
    with pytest.raises(UserError, match="same popularity"):
        train(same, tmp_path, QUICK)


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "pairwise"},
        {"loss": "both", "pair_sampling": "ab", "ema": 0.9},
        {"precision": "bfloat16"},
        {"architecture": "jynet", "options": {"dropout": 0.0}},
    ],
)
def test_other_ways_to_train_learn_the_rule_too(tmp_path: Path, change: dict[str, Any]) -> None:
    result = train(tones_and_hisses(), tmp_path, replace(QUICK, epochs=6, **change))
    assert result["validation_loss"] < 0.6 * result["baseline_loss"]
    trained = rater.load(tmp_path)
    with torch.no_grad():
        tone, hiss = (trained(torch.from_numpy(tone_or_hiss(kind, 99))[None], 32_000) for kind in (True, False))
    assert float(trained.to_popularity(tone)) > 2 * float(trained.to_popularity(hiss))


def test_a_set_of_mel_frames_trains_as_well(tmp_path: Path) -> None:
    audio, front_end = tones_and_hisses(), FrontEnd()
    frames = [front_end(torch.from_numpy(piece)[None], 32_000)[0].numpy() for piece in audio.pieces]
    entries = [replace(entry, length=piece.shape[-1]) for entry, piece in zip(audio.entries, frames, strict=True)]
    mel = Memory(frames, entries, kind="mel", front_end=front_end.settings.as_dict())
    result = train(mel, tmp_path, replace(QUICK, epochs=6, stretch=0.08, pitch_semitones=1.0, noise=0.3, eq_db=3.0))
    assert result["validation_loss"] < 0.5 * result["baseline_loss"]
    with pytest.raises(UserError, match="mfcc needs audio"):
        train(mel, tmp_path / "trees", replace(QUICK, architecture="mfcc"))


def test_training_stops_early(tmp_path: Path) -> None:
    result = train(tones_and_hisses(), tmp_path, replace(QUICK, epochs=50, patience=2, learning_rate=1e-7))
    assert result["epochs"] == result["best_epoch"] + 2 < 50


def test_a_diverging_training_says_so(tmp_path: Path) -> None:
    memory = tones_and_hisses()
    memory.pieces[0] = np.full_like(memory.pieces[0], np.inf)
    with pytest.raises(UserError, match="diverged"):
        train(memory, tmp_path, replace(QUICK, epochs=1))


def test_averaged_weights_against_the_sum_written_out() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = Average(network, 0.9)
    expected = network[0].weight.detach().clone()
    for step in range(5):
        with torch.no_grad():
            network[0].weight.copy_(torch.full((2, 2), float(step)))
            network[1].num_batches_tracked += 1
        average.update(network)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    torch.testing.assert_close(average.state["0.weight"], expected)
    assert int(average.state["1.num_batches_tracked"]) == 5


def test_trees_on_the_same_splits(tmp_path: Path) -> None:
    result = train(tones_and_hisses(), tmp_path, replace(QUICK, architecture="mfcc"))
    assert result["validation_loss"] < 0.3 * result["baseline_loss"]
    tone, hiss = (
        rater.load(tmp_path)(torch.from_numpy(tone_or_hiss(kind, 99))[None], 32_000) for kind in (True, False)
    )
    assert tone > hiss
    kept = (tmp_path / "features.safetensors").stat().st_mtime_ns
    again = train(tones_and_hisses(), tmp_path, replace(QUICK, architecture="mfcc"))
    assert again["validation_loss"] == result["validation_loss"]
    assert (tmp_path / "features.safetensors").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path: Path) -> None:
    """torchrun with two processes: the losses of one with the same batches, as far as sums in another order allow."""
    code = (
        "import sys, torch; torch.set_num_threads(1); sys.path.insert(0, sys.argv[2])\n"
        "from dataclasses import replace\n"
        "from test_training import QUICK, tones_and_hisses, train\n"
        "train(tones_and_hisses(), sys.argv[1], replace(QUICK, epochs=2, loss='both', heads=('kind',), "
        "options={'dropout': 0.0}))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, command in (("one", [sys.executable]), ("two", launch)):
        words = [*command, str(script), str(tmp_path / name), str(FOLDER)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = ([json.loads(line) for line in (tmp_path / name / "history.jsonl").open()] for name in ("one", "two"))
    for line, other in zip(one, two, strict=True):
        for key in ("training_loss", "validation_loss"):
            assert other[key] == pytest.approx(line[key], rel=5e-3)
    first, second = (load_file(tmp_path / name / "rater.safetensors") for name in ("one", "two"))
    assert max(float((first[name].float() - second[name].float()).abs().max()) for name in first) < 0.02
