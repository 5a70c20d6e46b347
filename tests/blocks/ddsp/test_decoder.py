"""Weights in files: written and read alike, and nothing else is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hitchain.blocks.ddsp.decoder import HISTORY, About, Decoder, find, load, save, save_tensors, shipped, with_history
from hitchain.errors import UserError

SMALL = About(harmonics=8, bands=4, hidden=8, name="small")


def test_written_and_read_alike(tmp_path: Path) -> None:
    decoder = Decoder(SMALL)
    save(decoder, tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert again.about == SMALL
    frames = with_history(torch.full((1, 5), 60.0)), with_history(torch.full((1, 5), -30.0))
    for one, other in zip(decoder(*frames), again(*frames), strict=True):
        assert torch.equal(one, other)


def test_a_frame_hears_its_history_and_nothing_later() -> None:
    decoder = Decoder(SMALL)
    pitch, loudness = torch.full((1, HISTORY + 9), 60.0), torch.full((1, HISTORY + 9), -30.0)
    before = decoder(pitch, loudness)[0]
    loudness[0, HISTORY + 4] = -10.0
    changed = (decoder(pitch, loudness)[0] != before)[0, :, 0]
    assert before.shape == (1, 10, 1)
    assert changed.tolist() == [False] * 5 + [True] * 5


def test_the_shipped_ones_are_small_and_say_their_source() -> None:
    for name, path in shipped().items():
        about = load(path).about
        assert about.name == name
        assert "CC" in about.source
        assert path.stat().st_size < 2_000_000
        assert find(name) == path
    assert {"trumpet", "bass"} <= set(shipped())


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "foreign", "shape", "nan", "sizes", "kind", "unknown"])
def test_other_files_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.safetensors"
    decoder = Decoder(SMALL)
    save(decoder, path)
    about = {"harmonics": 8, "bands": 4, "hidden": 8}
    tensors = dict(decoder.state_dict())
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("not weights")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "foreign":
        save_tensors(path, tensors, {"format": "something"})
    elif damage == "shape":
        save_tensors(path, {**tensors, "enter.bias": torch.zeros(9)}, {"about": about})
    elif damage == "nan":
        save_tensors(path, {**tensors, "enter.bias": torch.full((8,), torch.nan)}, {"about": about})
    elif damage == "sizes":
        save_tensors(path, tensors, {"about": {**about, "hidden": 10**9}})
    elif damage == "kind":
        save_tensors(path, tensors, {"about": {**about, "hidden": "8"}})
    else:
        save_tensors(path, tensors, {"about": {**about, "code": "import os"}})
    with pytest.raises(UserError):
        load(path)


def test_a_wrong_name_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match="trumpet"):
        find("trumpett")


def test_sizes_are_those_of_the_header(tmp_path: Path) -> None:
    save(Decoder(replace(SMALL, harmonics=12)), tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").leave.out_channels == 1 + 12 + 4
