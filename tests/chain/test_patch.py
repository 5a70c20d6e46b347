"""Patches: what is written is what is read; what does not fit is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hitchain.chain import Song
from hitchain.chain import patch as patches
from hitchain.errors import UserError


def test_round_trip_is_exact(demo: Song, tmp_path: Path) -> None:
    varied = demo.patch(batch=2, seed=3, spread=0.2).item(1)
    patches.save(tmp_path / "patch.json", varied, demo.blocks(), demo.name)
    again = patches.load(tmp_path / "patch.json", demo.blocks(), demo.start)
    for path, values in varied.settings.items():
        for key, value in values.items():
            assert torch.equal(again.settings[path][key], value), f"{path}.{key}"
    assert again.seed == varied.seed


def change(path: Path, edit: Any) -> Path:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.update(format="song"), "not a hitchain patch"),
        (lambda data: data.update(version=99), "version 99"),
        (lambda data: data.update(seed="x"), "seed"),
        (lambda data: data["blocks"].update({"led.fader": {"block": "mixer/fader", "settings": {}}}), "'lead.fader'"),
        (lambda data: data["blocks"]["lead.fader"]["settings"].update(level=99), "lead.fader.level=99 is out of range"),
        (lambda data: data["blocks"]["lead.fader"]["settings"].update(level=None), "not a number"),
        (lambda data: data["blocks"]["lead.fader"]["settings"].update(levle=1), "'level'"),
        (lambda data: data["blocks"].update({"lead.fader": 3}), "needs a 'block'"),
        (lambda data: data.pop("blocks"), "not a hitchain patch"),
    ],
)
def test_what_does_not_fit_is_refused(demo: Song, tmp_path: Path, edit: Any, message: str) -> None:
    path = tmp_path / "patch.json"
    patches.save(path, demo.start, demo.blocks())
    with pytest.raises(UserError, match=message):
        patches.load(change(path, edit), demo.blocks(), demo.start)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_damaged_file_is_refused(demo: Song, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "patch.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="patch"):
        patches.load(path, demo.blocks(), demo.start)


def test_settings_of_a_block_that_was_swapped_are_left_out(demo: Song, tmp_path: Path) -> None:
    patches.save(tmp_path / "patch.json", demo.start, demo.blocks())
    song = Song.load("demo", overrides=["instrument@lead=subtractive", f"patch={tmp_path / 'patch.json'}"])
    defaults = song.blocks()["lead.instrument"].defaults(1)
    for key, value in defaults.items():
        assert torch.equal(song.start.settings["lead.instrument"][key], value)
