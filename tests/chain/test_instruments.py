"""The commands that learn instruments and play recordings on them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hitchain.chain import config as configs
from hitchain.chain.instruments import resynth, train_instrument
from hitchain.cli import main
from hitchain.errors import UserError
from hitchain.files import write_wav

RATE = 22050


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tone that goes from A3 to D4, of ten harmonics."""
    folder = tmp_path_factory.mktemp("voice")
    time = np.arange(round(3.0 * RATE)) / RATE
    hertz = np.where(time < 1.5, 220.0, 293.66)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 11))
    write_wav(folder / "voice.wav", torch.from_numpy(0.2 * tone).float()[None], RATE)
    return folder / "voice.wav"


def test_resynth_plays_the_melody(voice: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["resynth", f"input={voice}", "instrument=trumpet", "transpose=12", f"out={out}"]) == 0
    result = json.loads((out / "result.json").read_text())
    assert (result["command"], result["instrument"], result["transposed"]) == ("resynth", "trumpet", 12.0)
    audio, rate = soundfile.read(out / "resynth.wav")
    assert len(audio) == pytest.approx(3.0 * rate, abs=2)
    for begin, expected in ((0.3, 440.0), (1.8, 587.33)):
        part = audio[round(begin * rate) : round((begin + 0.9) * rate)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 18))
        hertz = np.fft.rfftfreq(1 << 18, 1 / rate)
        near = (hertz > expected / 1.06) & (hertz < expected * 1.06)
        found = hertz[near][spectrum[near].argmax()]
        assert abs(1200 * math.log2(found / expected)) < 15  # what the pitch tracker is good for


def test_training_leaves_an_instrument_that_plays(voice: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["steps=4", "batch_size=1", "segment_seconds=0.4", "hidden=8", "harmonics=8", "bands=4", "evaluate_every=2"]
    assert main(["train-instrument", f"audio={voice.parent}", f"out={out}", *words]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["command"] == "train-instrument"
    assert result["heldout_loss"] < result["untrained_loss"]
    assert configs.read(out / "config.yaml")["steps"] == 4
    again = {**configs.compose("resynth", [f"input={voice}", f"instrument={out}"]), "out": str(tmp_path / "again")}
    assert resynth(again, say=lambda line: None)["transposed"] == 0.0
    with pytest.raises(UserError, match="finished"):
        train_instrument(configs.compose("train-instrument", [f"audio={voice}", f"out={out}"]))


@pytest.mark.parametrize(
    "words",
    [
        ["resynth"],
        ["resynth", "input=none.wav"],
        ["resynth", "input=none.wav", "instrument=trumpt"],
        ["resynth", "input=none.wav", "transpose=lots"],
        ["resynth", "input=none.wav", "instrumnet=trumpet"],
        ["train-instrument"],
        ["train-instrument", "audio=no/such/folder"],
        ["train-instrument", "audio=.", "steps=0"],
        ["train-instrument", "audio=.", "seed"],
    ],
)
def test_mistakes_are_told(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, f"out={tmp_path / 'run'}"]) == 2
    assert capsys.readouterr().err.startswith("hitchain: ")
