"""The other sources: the Free Music Archive's layout, with its real metadata rows, and a folder of sounds."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from hitchain.chain import config as configs
from hitchain.errors import UserError
from hitchain.rater import sources
from hitchain.rater.sources.fma import clip_name

POPULARITY = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "popularity"
needs_shared = pytest.mark.skipif(not POPULARITY.is_dir(), reason="shared/data is not beside the repository")

HEADER = [
    ["", "set", "set", "album", "artist", "track", "track", "track", "track"],
    ["", "split", "subset", "title", "name", "date_created", "favorites", "genre_top", "listens"],
    ["track_id"] + [""] * 8,
]
TRACKS = [
    ["2", "training", "small", "a", "AWOL", "2008-11-26 01:48:12", "2", "Hip-Hop", "1293"],
    ["5", "test", "medium", "a\nb, c", "Kurt", "2009-01-01 00:00:00", "6", "", "1151"],
    ["155066", "validation", "large", "", "Ann", "2017-01-01 00:00:00", "0", "Rock", "7"],
    ["7", "training", "small", "a", "AWOL", "2008-11-26 01:48:12", "many", "Rock", "1293"],
    ["x9", "training", "small", "a", "AWOL", "2008-11-26 01:48:12", "2", "Rock", "1293"],
    ["8", "training", "small"],
]


def make_fma(root: Path, header: list[list[str]] = HEADER, flat: bool = False) -> Path:
    (root / "fma_metadata").mkdir(parents=True)
    with (root / "fma_metadata" / "tracks.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([*header, *TRACKS])
    for track in (2, 5, 7, 155066):
        clip = (
            root / ("fma_audio" if flat else "fma_small") / (Path(clip_name(track)).name if flat else clip_name(track))
        )
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes(b"mp3 %d" % track)
    return root


@pytest.mark.parametrize("flat", [False, True])
def test_fmas_own_layout(tmp_path: Path, flat: bool) -> None:
    root = make_fma(tmp_path, flat=flat)
    rows, skipped = sources.read({"kind": "fma", "path": root})
    assert [(row.name, row.plays, row.likes, row.artist, row.split, row.year, dict(row.labels)) for row in rows] == [
        ("000/000002.mp3", 1293.0, 2.0, "AWOL", "training", 2008, {"genre": "Hip-Hop"}),
        ("000/000005.mp3", 1151.0, 6.0, "Kurt", "test", 2009, {}),
        ("155/155066.mp3", 7.0, 0.0, "Ann", "validation", 2017, {"genre": "Rock"}),
    ]
    assert all(row.path.is_file() for row in rows)
    assert [(row.line, row.path, row.kind) for row in skipped] == [
        (8, "000/000007.mp3", "malformed"), (9, "x9", "malformed"), (10, "000/000008.mp3", "malformed"),
    ]  # fmt: skip


def test_subsets_hold_the_smaller_ones_and_the_split_is_a_choice(tmp_path: Path) -> None:
    root = make_fma(tmp_path)
    for subset, tracks in (("small", ["2"]), ("medium", ["2", "5"]), ("full", ["2", "5", "155066"])):
        rows, _ = sources.read({"kind": "fma", "path": root / "fma_metadata" / "tracks.csv", "subset": subset})
        assert [row.name for row in rows] == [clip_name(int(track)) for track in tracks]
    rows, _ = sources.read({"kind": "fma", "path": root, "own_split": False})
    assert {row.split for row in rows} == {""}


def test_mistakes_about_fma_are_told(tmp_path: Path) -> None:
    for section, words in (
        ({"path": tmp_path / "nowhere"}, "hitchain download fma-small"),
        ({"path": make_fma(tmp_path / "a"), "subset": "smal"}, "did you mean 'small'"),
        ({"path": make_fma(tmp_path / "b"), "audio": tmp_path / "none"}, "source.audio="),
        ({"path": make_fma(tmp_path / "c", HEADER[:2])}, "three header rows"),
        ({"path": make_fma(tmp_path / "d", [HEADER[0], [*HEADER[1][:-1], "listen"], HEADER[2]])}, "track.listens"),
    ):
        with pytest.raises(UserError, match=words):
            sources.read({"kind": "fma", **section})
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "tracks.csv").write_text("x")
    with pytest.raises(UserError, match=r"Give source\.audio=FOLDER"):
        sources.read({"kind": "fma", "path": tmp_path / "e"})


@needs_shared
def test_the_real_rows_and_clips_pass_as_they_are() -> None:
    rows, skipped = sources.read({"kind": "fma", "path": POPULARITY})
    assert [row.name for row in rows] == [clip_name(track) for track in (2, 5, 255, 256, 459, 690)]
    assert sources.counted(skipped) == {"missing": 672}


@needs_shared
def test_every_real_row_passes_where_its_clip_is_there(tmp_path: Path) -> None:
    with (POPULARITY / "fma_join.csv").open(encoding="utf-8", newline="") as handle:
        joined = list(csv.DictReader(handle))
    for record in joined:
        clip = tmp_path / clip_name(int(record["track_id"]))
        clip.parent.mkdir(exist_ok=True)
        clip.write_text(record["track_id"])
    rows, skipped = sources.read({"kind": "fma", "path": POPULARITY, "audio": tmp_path})
    assert skipped == []
    assert len(rows) == len(joined) == 678
    for row, record in zip(rows, joined, strict=True):
        assert (row.plays, row.likes) == (float(record["listens"]), float(record["favorites"]))
        assert (row.artist, row.split) == (record["artist"].strip(), record["split"])
        assert row.labels.get("genre", "") == record["genre_top"]
        assert row.popularity == pytest.approx(float(record["p_likes_over_plays_loglikes"]), rel=1e-9)


def make_folder(root: Path) -> Path:
    for name in ("Ann/First/a.wav", "Ann/b.MP3", "Bob/c.flac", "d.ogg", ".hidden/e.wav", "Bob/.f.wav", "Bob/notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_folder_without_counts(tmp_path: Path) -> None:
    rows, skipped = sources.read({"kind": "folder", "path": make_folder(tmp_path)})
    assert skipped == []
    assert [(row.name, dict(row.labels)) for row in rows] == [
        ("d.ogg", {}), ("Ann/b.MP3", {"folder": "Ann"}), ("Ann/First/a.wav", {"folder": "Ann"}),
        ("Bob/c.flac", {"folder": "Bob"}),
    ]  # fmt: skip
    assert all(math.isnan(row.plays) and math.isnan(row.popularity) for row in rows)


def test_levels_name_what_subfolders_are_and_counts_stand_beside(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "counts.csv").write_text("path,plays,likes,mood\nAnn/First/a.wav,10,2,sad\n./Bob/c.flac,10,20,\n")
    (root / "d.json").write_text(json.dumps({"plays": 7, "likes": 3, "artist": "Dora", "mood": "glad"}))
    (root / "Ann" / "b.json").write_text("[")
    rows, skipped = sources.read({"kind": "folder", "path": root, "levels": ["artist", "album"]})
    assert [(row.name, row.likes, row.artist, dict(row.labels)) for row in rows] == [
        ("d.ogg", 3.0, "Dora", {"mood": "glad"}),
        ("Ann/First/a.wav", 2.0, "Ann", {"album": "First", "mood": "sad"}),
    ]
    assert [(row.path, row.kind) for row in skipped] == [
        ("Ann/b.MP3", "malformed"),
        ("Bob/c.flac", "likes_above_plays"),
    ]


def test_mistakes_about_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        sources.read({"kind": "folder", "path": tmp_path / "none"})
    with pytest.raises(UserError, match="no sound file"):
        sources.read({"kind": "folder", "path": tmp_path})
    root = make_folder(tmp_path)
    (root / "counts.csv").write_text("name,plays\n")
    with pytest.raises(UserError, match="'path'"):
        sources.read({"kind": "folder", "path": root})


@pytest.mark.parametrize("kind", sources.SOURCES)
def test_a_config_holds_the_keys_of_its_source(kind: str) -> None:
    import importlib

    import yaml

    values: dict[str, Any] = yaml.safe_load((configs.FOLDER / "source" / f"{kind}.yaml").read_text())
    module = importlib.import_module(f"hitchain.rater.sources.{kind}")
    assert values.pop("kind") == kind
    assert tuple(values) == module.KEYS
    assert values["path"] is None
