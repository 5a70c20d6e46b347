"""Several climbs spread over a Ray cluster of two workers, by the same command."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from hitchain.cli import main
from hitchain.errors import UserError

SMALL = ["song=solo", "song.length=2.0", "learn=[fader.*]", "optimizer.batch=1", "optimizer.window=1.0",
         "optimizer.steps=1", "sample_rate=22050"]  # fmt: skip
ON_RAY = "hydra/launcher=ray"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head without processors and two workers of one processor each."""
    pytest.importorskip("ray", reason="the extra hitchain[ray] is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster.address
    cluster.shutdown()


@pytest.mark.slow
def test_the_same_command_on_a_cluster(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders and results as without Ray; a job that fails is named, and leaves the others be."""
    monkeypatch.chdir(tmp_path)
    assert main(["optimize", "--multirun", "seed=1,2", "out=far", ON_RAY, *SMALL]) == 0
    assert main(["optimize", "seed=2", "out=near", *SMALL]) == 0
    far, near = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("far/1", "near"))
    assert far["knobs"] == near["knobs"]
    assert far["rating_after"] == pytest.approx(near["rating_after"], abs=1e-6)
    assert (tmp_path / "far" / "compare.html").is_file()
    capsys.readouterr()
    assert main(["optimize", "--multirun", "song.length=2.0,-3.0", "out=half", ON_RAY, *SMALL[:1], *SMALL[2:]]) == 2
    said = capsys.readouterr().err
    assert "1 of 2 jobs failed" in said
    assert "job 1" in said
    assert "song.length" in said
    assert (tmp_path / "half" / "0" / "result.json").is_file()


class AtOnce(ModuleType):
    """A stand-in for Ray that runs each task when it is asked for: the driver's own part, without a cluster."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self.connected: list[str] = []

    def is_initialized(self) -> bool:
        return False

    def init(self, address: str, **rest: object) -> None:
        self.connected.append(address)

    def shutdown(self) -> None:
        self.connected.append("shut down")

    def remote(self, **rest: object) -> Callable[..., SimpleNamespace]:
        return lambda task: SimpleNamespace(remote=lambda *given: Handle(task(*given)))

    def wait(self, handles: list[Handle]) -> tuple[list[Handle], list[Handle]]:
        return handles[-1:], handles[:-1]

    def get(self, handle: Handle) -> str:
        return handle.told


@dataclass(frozen=True, eq=False)
class Handle:
    """What a task will have told."""

    told: str


def test_every_job_is_sent_with_its_config_and_those_that_fail_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray, sent = AtOnce(), []

    def run(command: str, config: dict[str, object]) -> int:
        sent.append((command, config["seed"], config["out"]))
        if config["seed"] == 2:
            raise UserError("seed=2 is unlucky.")
        return 0

    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("hitchain.cli.run_command", run)
    assert main(["render", "--multirun", "seed=1,2,3", f"out={tmp_path}", ON_RAY]) == 2
    assert sent == [("render", seed, str(tmp_path / str(seed - 1))) for seed in (1, 2, 3)]
    assert ray.connected == ["local", "shut down"]
    assert "1 of 3 jobs failed (job 1: seed=2 is unlucky.)" in capsys.readouterr().err


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name == "ray":
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["optimize", "--multirun", "seed=1,2", f"out={tmp_path / 'run'}", ON_RAY, *SMALL]) == 2
    assert "hitchain[ray]" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="the extra hitchain[ray] is not installed")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert main(["optimize", "--multirun", "seed=1,2", f"out={tmp_path / 'run'}", ON_RAY, *SMALL]) == 2
    assert "RAY_ADDRESS=127.0.0.1:1" in capsys.readouterr().err
