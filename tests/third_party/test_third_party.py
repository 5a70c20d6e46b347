"""A block of somebody else's package, through the entry point: in the registry, certified, rendered.

The package is laid out as an installer would lay it out (module and metadata in one folder), without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

PACKAGE = Path(__file__).parent / "acme_tremolo"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python in which acme-tremolo is installed."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copy(PACKAGE / "acme_tremolo.py", site)
    metadata = site / f"acme_tremolo-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in entries.items())
             for group, entries in project["entry-points"].items()]  # fmt: skip
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }


def python(installed: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command prints in the environment with the package."""
    return subprocess.run(
        [sys.executable, *arguments], env=installed, capture_output=True, text=True, timeout=300, check=True
    )


def test_it_is_in_the_registry_and_makes_sound(installed: dict[str, str]) -> None:
    code = """
import json, torch
from hitchain import blocks
tremolo = blocks.create("effects/acme_tremolo", sample_rate=1000)
settings = {"rate": torch.tensor([5.0]), "depth": torch.tensor([1.0])}
tremolo.check(settings)
print(json.dumps({"names": blocks.names("effects"), "level": tremolo(torch.ones(1, 1, 200), settings)[0, 0].tolist()}))
"""
    found = json.loads(python(installed, "-c", code).stdout)
    assert "effects/acme_tremolo" in found["names"]
    expected = 0.5 + 0.5 * np.cos(2 * np.pi * 5.0 * np.arange(200) / 1000)  # full depth: silence every 200 ms
    assert np.abs(np.array(found["level"]) - expected).max() < 1e-6


def test_it_is_chosen_on_the_command_line_and_heard_in_its_stem(installed: dict[str, str], tmp_path: Path) -> None:
    words = [
        "effects=[acme_tremolo]",
        "effects.acme_tremolo.rate=4",
        "effects.acme_tremolo.depth=0.8",
        "song.length=2.0",
    ]
    python(installed, "-m", "hitchain.cli", "render", f"out={tmp_path}", *words)
    before, rate = soundfile.read(tmp_path / "stems" / "solo" / "1-instrument.wav")
    after, _ = soundfile.read(tmp_path / "stems" / "solo" / "2-effects.wav")
    expected = before * (1 - 0.8 * (1 - np.cos(2 * np.pi * 4 * np.arange(len(before)) / rate)) / 2)
    assert np.abs(before).max() > 0.05
    assert np.abs(after - expected).max() < 1e-5
    listed = python(installed, "-m", "hitchain.cli", "blocks", "effects/acme_tremolo").stdout
    assert "0.1 to 20 Hz" in listed


def test_it_is_documented_and_certified_without_being_told_of(installed: dict[str, str]) -> None:
    page = python(installed, "-m", "hitchain.blocks.document").stdout
    assert "### effects/acme_tremolo" in page
    assert "| rate | 0.1 to 20 Hz | 5 Hz | log | how fast the level moves |" in page
    table = python(installed, "-m", "hitchain.blocks.certificate", "effects/acme_tremolo").stdout
    assert "0 fail" in table
    assert "| `depth` |" in table


def test_a_package_that_does_not_import_takes_nothing_down(installed: dict[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[hitchain.blocks]\nbroken = no_such_module_anywhere\n")
    environment = {**installed, "PYTHONPATH": f"{tmp_path}{os.pathsep}{installed['PYTHONPATH']}"}
    done = python(environment, "-c", "from hitchain import blocks; print(len(blocks.names()) > 1)")
    assert done.stdout == "True\n"
    assert "'no_such_module_anywhere' (hitchain.blocks) cannot be loaded" in done.stderr


def test_it_is_not_there_where_it_is_not_installed() -> None:
    done = python(
        dict(os.environ), "-c", "from hitchain import blocks; print('effects/acme_tremolo' in blocks.names())"
    )
    assert done.stdout == "False\n"
