"""A climb that was killed, again and again, at any moment, ends bit for bit where it would have."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SMALL = [
    "song=solo", "sample_rate=22050", "song.length=2.0", "effects=parametric_eq", "mastering=none", "amp=tube",
    "objective.heldout=null", "optimizer.window=1.0", "optimizer.evaluate_every=2", "optimizer.patience=99",
    "optimizer.checkpoint_every=0.0",
]  # fmt: skip
CASES: dict[str, list[str]] = {
    "adam": ["optimizer=adam", "optimizer.restarts=1", "optimizer.noise=0.3"],
    "lbfgs": ["optimizer=lbfgs", "optimizer.refresh=4"],
    "cma": ["optimizer=cma", "optimizer.windows=1"],
    "hybrid": ["optimizer=hybrid"],
    "choices, unlocked": ["optimizer=choices", "amp=selector", "optimizer.unlock=[effects,instrument]"],
    "coordinate": ["optimizer=coordinate", "mic=microphone"],
}
KILLS = {"adam": 2, "lbfgs": 2, "cma": 1, "hybrid": 2, "choices, unlocked": 2, "coordinate": 1}
"""Ten moments in all."""
SAME = ("patch.json", "notes.mid", "mix.wav", "master.wav", "before.wav")
TIMED = ("seconds", "environment")


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    known = (folder / "config.yaml").is_file()
    command = [f"resume={folder}"] if known else [*words, f"out={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "hitchain", "optimize", *command], stdout=log, stderr=log, env=environment
        )


def finish(words: list[str], folder: Path) -> None:
    code = start(words, folder).wait(timeout=600)
    assert code == 0, (folder.parent / f"{folder.name}.log").read_text()


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Whether it was still there to be killed."""
    process.send_signal(signal.SIGKILL)
    return process.wait(timeout=60) == -signal.SIGKILL


def rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "history.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [{**json.loads(line), "seconds": 0} for line in lines]


def untimed(folder: Path) -> dict[str, Any]:
    result = json.loads((folder / "result.json").read_text())
    return {key: value for key, value in result.items() if key not in TIMED}


def check_same(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    stems = [path.relative_to(one) for path in sorted((one / "stems").rglob("*.wav"))]
    assert stems
    assert all((one / stem).read_bytes() == (other / stem).read_bytes() for stem in stems)
    assert untimed(one) == untimed(other)


def test_a_climb_killed_twice_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    words = [*SMALL, "optimizer.steps=8", "optimizer.batch=2"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(words, whole)
    for taken in (2, 5):
        process = start(words, killed)
        while len(rows(killed)) < taken and process.poll() is None:
            time.sleep(0.01)
        assert kill(process), "it was done before it could be killed"
    finish(words, killed)
    check_same(whole, killed)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_at_random_moments(case: str, tmp_path: Path) -> None:
    """At any moment of its life: while it reads, begins, climbs, writes audio, or writes its report."""
    draw = random.Random(case)
    words = [*SMALL, *CASES[case], "optimizer.steps=10"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    finish(words, whole)
    lived = time.monotonic() - began
    count = 0
    while count < KILLS[case] and not (killed / "report.html").is_file():
        process = start(words, killed)
        time.sleep(lived * draw.uniform(0.2, 0.9))
        count += kill(process)
    if not (killed / "report.html").is_file():
        finish(words, killed)
    check_same(whole, killed)
