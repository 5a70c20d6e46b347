"""Training an instrument: it learns, what is held out is told, and a stopped run goes on to the same weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from hitchain.blocks.ddsp import training
from hitchain.blocks.ddsp.decoder import load
from hitchain.blocks.ddsp.training import InstrumentSettings, train
from hitchain.errors import UserError
from hitchain.files import write_wav

SIZES = {"hidden": 8, "harmonics": 12, "bands": 8, "batch_size": 2, "segment_seconds": 0.5}
FEW = InstrumentSettings(steps=12, evaluate_every=6, learning_rate=0.02, **SIZES)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3.5 s of a tone of ten harmonics."""
    folder = tmp_path_factory.mktemp("recordings")
    time = torch.arange(round(3.5 * 22050)) / 22050
    tone = sum(torch.sin(2 * math.pi * 262.0 * k * time) / k**1.5 for k in range(1, 11))
    write_wav(folder / "tone.wav", 0.2 * torch.as_tensor(tone)[None], 22050)
    return folder


def test_learns_and_reports_what_was_held_out(recordings: Path, tmp_path: Path) -> None:
    result = train(recordings, tmp_path / "run", FEW)
    assert result["heldout_loss"] < 0.9 * result["untrained_loss"]
    assert result["heldout_seconds"] > 0.3
    assert result["about"]["lowest"] == pytest.approx(60.0, abs=0.3)
    about = load(tmp_path / "run" / training.WEIGHTS).about
    assert (about.harmonics, about.name) == (12, recordings.name)
    rows = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [6, 12]


def test_a_stopped_run_goes_on_to_the_same_weights(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recordings, tmp_path / "whole", FEW)
    every = InstrumentSettings(**{**FEW.__dict__, "checkpoint_seconds": 0.0})

    class Stopped(Exception):
        pass

    note = training._Training._note

    def stop(self: training._Training, loss: float) -> None:
        note(self, loss)
        if self.step == 6:
            self._save()
            raise Stopped

    monkeypatch.setattr(training._Training, "_note", stop)
    with pytest.raises(Stopped):
        train(recordings, tmp_path / "parts", every)
    monkeypatch.setattr(training._Training, "_note", note)
    parts = train(recordings, tmp_path / "parts", every)
    assert parts["heldout_loss"] == whole["heldout_loss"]
    one, other = (load(tmp_path / name / training.WEIGHTS).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_what_cannot_be_learnt_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        train(tmp_path / "none", tmp_path / "run", FEW)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no sound file"):
        train(empty, tmp_path / "run", FEW)
    write_wav(empty / "noise.wav", 0.1 * torch.randn(1, 22050, generator=torch.Generator().manual_seed(0)), 22050)
    with pytest.raises(UserError, match="pitch"):
        train(empty, tmp_path / "run", FEW)
    with pytest.raises(UserError, match="steps"):
        InstrumentSettings(steps=0)
    with pytest.raises(UserError, match="hidden"):
        InstrumentSettings.from_mapping({"hiden": 3})
