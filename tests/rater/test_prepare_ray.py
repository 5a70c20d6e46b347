"""`hitchain prepare backend=ray` on a local cluster of two workers, killed in the middle and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hitchain.cli import main

SONGS = 12

pytest.importorskip("ray", reason="the extra hitchain[ray] is not installed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray cluster of a head without processors and two workers of one processor each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def write_songs(folder: Path) -> Path:
    lines = ["path,plays,likes,artist"]
    for number in range(SONGS):
        noise = np.random.default_rng(number).standard_normal((44_100 * 25, 2)).cumsum(axis=0)
        soundfile.write(folder / f"{number}.flac", 0.5 * noise / np.abs(noise).max(), 44_100)
        lines.append(f"{number}.flac,{100 + number},{number},artist {number}")
    manifest = folder / "songs.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("result.json", "config.yaml"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_killed_driver_goes_on_to_the_bytes_of_the_local_backend(address: str, tmp_path: Path) -> None:
    words = ["prepare", f"source.path={write_songs(tmp_path)}"]
    on_ray = [*words, "backend=ray", f"ray_address={address}", f"out={tmp_path / 'ray'}"]
    assert main([*words, "workers=1", f"out={tmp_path / 'local'}"]) == 0
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    driver = subprocess.Popen([sys.executable, "-m", "hitchain.cli", *on_ray], env=environment)
    while not any((tmp_path / "ray" / "shards").glob("*.json")) and driver.poll() is None:
        time.sleep(0.01)
    driver.kill()
    assert driver.wait() == -9, "the driver had ended before it was killed"
    assert not (tmp_path / "ray" / "index.jsonl").exists()
    again = subprocess.run(
        [sys.executable, "-m", "hitchain.cli", *on_ray], capture_output=True, text=True, env=environment, timeout=300
    )
    assert again.returncode == 0, again.stderr
    decoded = int(again.stdout.partition("decoded")[2].split()[0])
    assert 0 < decoded < SONGS  # what was finished before the kill was kept
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 32_000), 16_000)
    (tmp_path / "songs.csv").write_text("path,plays,likes\na.wav,10,2\n")
    words = [f"source.path={tmp_path / 'songs.csv'}", f"out={tmp_path / 'out'}", "backend=ray"]
    assert main(["prepare", *words, "ray_address=127.0.0.1:1"]) == 2
    assert "cannot reach a Ray cluster at ray_address=127.0.0.1:1" in capsys.readouterr().err
