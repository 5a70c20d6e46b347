"""Manifests: what is read, what is skipped by kind, and errors that name file, column and line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater import sources
from hitchain.rater.sources.manifest import read_manifest


def write(folder: Path, text: str) -> Path:
    path = folder / "songs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def sound(folder: Path, *names: str) -> None:
    """Files that differ in their bytes."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound " + name.encode())


RECORDS: list[dict[str, Any]] = [
    {"path": "a.wav", "plays": 10, "likes": 5, "artist": "Ann", "date": "2009-01-05", "split": "train", "amp": "tube"},
    {"path": "b/b.wav", "plays": 20, "likes": 2, "artist": None, "date": None, "split": None, "amp": None},
]


def as_csv(path: Path) -> None:
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(RECORDS[0]))
        writer.writeheader()
        writer.writerows(RECORDS)


def as_json_lines(path: Path) -> None:
    lines = ({key: value for key, value in record.items() if value is not None} for record in RECORDS)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def as_parquet(path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.Table.from_pylist(RECORDS), path)


@pytest.mark.parametrize(
    ("name", "make"),
    [("s.csv", as_csv), ("s.jsonl", as_json_lines), ("s.ndjson", as_json_lines), ("s.parquet", as_parquet)],
)
def test_the_same_rows_from_every_format(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    sound(tmp_path, "a.wav", "b/b.wav")
    make(tmp_path / name)
    (first, second), skipped = sources.read({"kind": "manifest", "path": str(tmp_path / name)})
    assert skipped == []
    assert (first.path, first.name) == (tmp_path / "a.wav", "a.wav")
    assert (first.plays, first.likes, first.artist, first.split) == (10.0, 5.0, "Ann", "training")
    assert (first.date, first.year, dict(first.labels)) == ("2009-01-05", 2009, {"amp": "tube"})
    assert (second.name, second.artist, second.split, second.year, dict(second.labels)) == ("b/b.wav", "", "", None, {})
    assert first.popularity == rater.popularity(5, 10)
    assert second.line == first.line + 1


def test_a_spreadsheet_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    sound(tmp_path, "a.wav")
    path = tmp_path / "songs.csv"
    path.write_bytes(b"\xef\xbb\xbfpath,plays,likes,artist\r\na.wav,10,5,Ann\r\n")
    rows, _ = read_manifest(path)
    assert len(rows) == 1


def test_rows_that_cannot_be_used_are_named_by_kind_and_the_rest_is_kept(tmp_path: Path) -> None:
    sound(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    lines = [
        ("a.wav,10,5,Ann,", ""),
        ("./a.wav,10,5,Ann,", "duplicate"),
        ("copy.wav,10,5,Bob,", "duplicate"),
        ("none.wav,10,5,Ann,", "missing"),
        (".,10,5,Ann,", "missing"),
        ("https://example.org/x.mp3,10,5,Ann,", "url"),
        ("b.wav,10,50,Ann,", "likes_above_plays"),
        ("b.wav,10,-1,Ann,", "negative"),
        ("b.wav,many,1,Ann,", "malformed"),
        ("b.wav,10,nan,Ann,", "malformed"),
        ("b.wav,,1,Ann,", "malformed"),
        ("b.wav,10", "malformed"),
        ("b.wav,10,1,Ann,training,one more", "malformed"),
        (",10,1,Ann,", "missing"),
        ("b.wav,10,1,Ann,fold 7", "malformed"),
        ("c.wav,10,1,,test", ""),
        ("d.wav,1e3,0,,", ""),
    ]
    rows, skipped = read_manifest(write(tmp_path, "\n".join(["path,plays,likes,artist,split", *(x for x, _ in lines)])))
    assert {row.line: row.kind for row in skipped} == {n: kind for n, (_, kind) in enumerate(lines, 2) if kind}
    assert [row.name for row in rows] == ["a.wav", "c.wav", "d.wav"]
    assert sources.counted(skipped) == {
        "missing": 3, "url": 1, "malformed": 6, "negative": 1, "likes_above_plays": 1, "duplicate": 2,
    }  # fmt: skip
    assert {row.kind for row in skipped} <= sources.KINDS.keys()
    sources.write_skipped(tmp_path / "skipped.csv", skipped)
    with (tmp_path / "skipped.csv").open(newline="") as handle:
        written = list(csv.DictReader(handle))
    assert [(int(row["line"]), row["path"], row["kind"], row["reason"]) for row in written] == [
        (row.line, row.path, row.kind, row.reason) for row in skipped
    ]
    assert {row["line"]: row["reason"] for row in written}["4"] == "the same bytes as line 2 (a.wav)"


def test_broken_lines_of_json_are_rows_to_skip(tmp_path: Path) -> None:
    sound(tmp_path, "a.wav")
    path = tmp_path / "songs.jsonl"
    good = '{"path": "a.wav", "plays": 10, "likes": 2, "tags": ["loud", "fast"], "drums": true}'
    path.write_text(f'{good}\n{{"path": "a.wav", "plays"\n[1]\n\n{{"path": "a.wav", "plays": {{}}, "likes": 1}}\n')
    (row,), skipped = read_manifest(path)
    assert dict(row.labels) == {"tags": "loud, fast", "drums": "True"}
    assert [(row.line, row.kind) for row in skipped] == [(2, "malformed"), (3, "malformed"), (5, "malformed")]


def test_columns_under_other_names_and_chosen_labels(tmp_path: Path) -> None:
    sound(tmp_path, "a.wav")
    path = write(tmp_path, "mp3,listens,favorites,genre,title\na.wav,10,2,Rock,Song\n")
    section = {"kind": "manifest", "path": path, "labels": ["genre"],
               "columns": {"path": "mp3", "plays": "listens", "likes": "favorites"}}  # fmt: skip
    (row,), _ = sources.read(section)
    assert (row.plays, row.likes, dict(row.labels)) == (10.0, 2.0, {"genre": "Rock"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["songs.csv", "path"]),
        ("path,plays,likes\n", ["no rows"]),
        ("path,plays,like,artist\na.wav,1,1,x\n", ["'likes'", "did you mean 'like'"]),
        ("path;plays;likes\na.wav;1;1\n", ["'path'", "separated by commas"]),
        ("path,plays,likes,path\na.wav,1,1,a.wav\n", ["'path' twice"]),
        ("path,plays,likes\n\na.wav,ten,1\na.wav,eleven,1\n", ["column 'plays'", "line 3", "'ten'", "0 or more"]),
        ("path,plays,likes\na.wav,10,-1\n", ["column 'likes'", "line 2", "'-1'"]),
        ("path,plays,likes,split\na.wav,10,1,a\na.wav,10,1,b\n", ["column 'split'", "line 2", "training, validation"]),
        ("path,plays,likes\n,10,1\n", ["column 'path'", "empty"]),
    ],
)
def test_a_mistake_of_the_whole_file_stops(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read_manifest(write(tmp_path, text))
    for word in ["songs.csv", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"kind": "manifst", "path": "x.csv"}, "did you mean 'manifest'"),
        ({"kind": "manifest", "path": None}, "source.path=songs.csv"),
        ({"kind": "manifest", "path": "none.csv"}, "not found: none.csv"),
        ({"kind": "manifest", "path": "none.jsonl"}, "not found"),
        ({"kind": "manifest", "path": "none.parquet"}, "not found"),
        ({"kind": "manifest", "path": "songs.xlsx"}, ".parquet"),
        ({"kind": "manifest", "path": "x.csv", "colums": {}}, "did you mean 'columns'"),
        ({"kind": "manifest", "path": "x.csv", "columns": {"artists": "by"}}, "did you mean 'artist'"),
    ],
)
def test_wrong_settings_are_told(section: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        sources.read(section)


@pytest.mark.parametrize("name", ["songs.csv", "songs.jsonl", "songs.parquet"])
def test_files_of_another_format_are_told(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(bytes(range(128, 256)))
    with pytest.raises(UserError, match="cannot read manifest"):
        read_manifest(tmp_path / name)
