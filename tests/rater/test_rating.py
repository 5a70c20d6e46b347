"""Rating files, and the room's imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater import commands


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
