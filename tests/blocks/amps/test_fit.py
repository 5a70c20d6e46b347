"""The fitting tool brings a circuit amplifier closer to a capture: the shipped one, on notes made here."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hitchain.files import write_wav

TOOL = Path(__file__).resolve().parents[3] / "tools" / "fit_amp.py"


@pytest.mark.slow
def test_the_distance_falls(tmp_path: Path) -> None:
    pytest.importorskip("auraloss")
    time = torch.arange(7 * 48_000) / 48_000
    decay = torch.exp(-4.0 * (time % 0.5))
    notes = sum(torch.sin(2 * math.pi * 110.0 * k * time) / k for k in range(1, 9))
    write_wav(tmp_path / "dry.wav", (0.1 * decay * notes)[None], 48_000)
    command = [sys.executable, str(TOOL), "amps/british_high_gain", "plain", str(tmp_path / "dry.wav"), "--steps", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"MR-STFT ([\d.]+) -> ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    assert float(found[2]) < float(found[1])
