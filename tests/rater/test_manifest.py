"""Manifests: clear errors, and splits in which no artist stands twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain import rater
from hitchain.errors import UserError


def write(folder: Path, text: str) -> Path:
    path = folder / "songs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_and_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    rows, skipped = rater.read_manifest(write(tmp_path, "artist,path,likes,plays,genre\n Ann ,a.wav,5,10,folk\n"))
    assert skipped == []
    assert rows[0].path == tmp_path / "a.wav"
    assert (rows[0].plays, rows[0].likes, rows[0].artist, rows[0].line) == (10.0, 5.0, "Ann", 2)
    assert rows[0].popularity == rater.popularity(5, 10)


def test_a_spreadsheet_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    path = tmp_path / "songs.csv"
    path.write_bytes(b"\xef\xbb\xbfpath,plays,likes,artist\r\na.wav,10,5,Ann\r\n")
    rows, _ = rater.read_manifest(path)
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["songs.csv", "path"]),
        ("path,plays,like,artist\na.wav,1,1,x\n", ["'likes'", "did you mean 'like'"]),
        ("path,plays,likes,artist\na.wav,ten,1,x\n", ["line 2", "'plays'", "'ten'", "0 or more"]),
        ("path,plays,likes,artist\na.wav,10,-1,x\n", ["line 2", "'likes'", "'-1'"]),
        ("path,plays,likes,artist\na.wav,10,1,x\nb.wav,nan,1,x\n", ["line 3", "'plays'"]),
        ("path,plays,likes,artist\na.wav,10,1,\n", ["line 2", "'artist'", "empty"]),
        ("path,plays,likes,artist\na.wav,10\n", ["line 2", "'likes'", "empty"]),
        ("path,plays,likes,artist\n", ["no rows"]),
    ],
)
def test_errors_name_file_line_and_column(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        rater.read_manifest(write(tmp_path, text))
    for word in ["songs.csv", *words]:
        assert word in str(caught.value)


def test_missing_and_binary_manifests(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        rater.read_manifest(tmp_path / "none.csv")
    (tmp_path / "songs.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(UserError, match="UTF-8"):
        rater.read_manifest(tmp_path / "songs.csv")


def test_unusable_rows_are_named_and_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    text = "path,plays,likes,artist\na.wav,10,5,Ann\na.wav,10,50,Ann\nnone.wav,10,5,Bob\n"
    rows, skipped = rater.read_manifest(write(tmp_path, text))
    assert [row.line for row in rows] == [2]
    assert [(row.line, row.reason) for row in skipped] == [(3, "likes (50) exceed plays (10)"), (4, "file not found")]


def make_rows(artists: list[str]) -> list[rater.Row]:
    return [rater.Row(Path(f"{n}.wav"), 10.0, 5.0, artist, n + 2) for n, artist in enumerate(artists)]


FRACTIONS = {"training": 0.6, "validation": 0.2, "test": 0.2}


@settings(max_examples=30, deadline=None)
@given(artists=st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=40), seed=st.integers(0, 5))
def test_no_artist_in_two_splits_and_no_row_lost(artists: list[str], seed: int) -> None:
    rows = make_rows(artists)
    parts = rater.split_by_artist(rows, FRACTIONS, seed)
    assert sorted(row.line for part in parts.values() for row in part) == [row.line for row in rows]
    names = [{row.artist.strip().casefold() for row in part} for part in parts.values()]
    assert sum(len(part) for part in names) == len(set().union(*names))


def test_a_split_does_not_change_when_rows_come_and_go() -> None:
    rows = make_rows([f"artist {n}" for n in range(200)])
    whole = rater.split_by_artist(rows, FRACTIONS)
    half = rater.split_by_artist(list(reversed(rows[::2])), FRACTIONS)
    for name, part in half.items():
        assert {row.line for row in part} <= {row.line for row in whole[name]}
    # 200 draws at 0.6: within four standard deviations (28) of 120
    assert 92 <= len(whole["training"]) <= 148


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(UserError, match="sum to 1"):
        rater.split_by_artist([], {"training": 0.5, "validation": 0.2})
