"""Splits: no artist and no near-duplicate on two sides, and what was held out stays held out."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.errors import UserError
from hitchain.rater.row import SPLITS, Row
from hitchain.rater.splits import FRACTIONS, assign, split

Given = tuple[str, int, str]
"""Artist, near-duplicate group, the source's own split."""


def rows_of(cells: list[Given]) -> list[Row]:
    return [
        Row(Path(f"{n}.wav"), 10.0, 5.0, artist, split=side, line=n + 2, name=f"{n}.wav")
        for n, (artist, _, side) in enumerate(cells)
    ]


def artists(count: int, songs: int = 1) -> list[Row]:
    return rows_of([(f"artist {n // songs}", n, "") for n in range(count * songs)])


ARTISTS = ["", "Ann", "ann ", "Bob", "Cleo", "Dora", "Eve"]
collections = st.lists(
    st.tuples(st.sampled_from(ARTISTS), st.integers(0, 30), st.sampled_from(["", "", *SPLITS])), min_size=1, max_size=40
)


@settings(max_examples=150, deadline=None)
@given(cells=collections, seed=st.integers(0, 3))
def test_nothing_leaks(cells: list[Given], seed: int) -> None:
    rows, groups = rows_of(cells), [group for _, group, _ in cells]
    try:
        assignment = assign(rows, groups, seed=seed)
    except UserError:
        return  # too few units for two sides; the error has a test of its own
    artist_sides, group_sides = defaultdict(set), defaultdict(set)
    for (artist, group, _), side in zip(cells, assignment.sides, strict=True):
        assert side in SPLITS
        artist_sides[artist.strip().casefold() or f"unknown {group}"].add(side)
        group_sides[group].add(side)
    assert all(len(sides) == 1 for sides in (*artist_sides.values(), *group_sides.values()))
    moved = {row.name: row.wanted for row in assignment.moved}
    for row, side in zip(rows, assignment.sides, strict=True):
        assert (moved.get(row.name) == row.split) == (row.split not in ("", side))


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(60)), kept=st.integers(45, 60), seed=st.integers(0, 3))
def test_sides_do_not_change_when_rows_come_go_or_change_places(order: list[int], kept: int, seed: int) -> None:
    rows = artists(30, 2)
    groups = list(range(60))
    whole = dict(zip((row.name for row in rows), split(rows, groups, seed=seed), strict=True))
    some = [rows[place] for place in order[:kept]]
    if {whole[row.name] for row in some} == set(SPLITS) == set(whole.values()):  # else a side is filled
        assert split(some, [groups[place] for place in order[:kept]], seed=seed) == [whole[row.name] for row in some]


@settings(max_examples=60, deadline=None)
@given(old=collections, new=collections, seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_a_stored_split_holds_old_rows_unless_a_new_one_shows_a_leak(
    old: list[Given], new: list[Given], seeds: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    stored = tmp_path_factory.mktemp("split") / "splits.json"
    cells = old + new
    rows, groups = rows_of(cells), [group for _, group, _ in cells]
    try:
        before = split(rows[: len(old)], groups[: len(old)], seed=seeds[0], stored=stored)
        assignment = assign(rows, groups, {"training": 0.4, "validation": 0.3, "test": 0.3}, seeds[1], stored)
    except UserError:
        return  # too few units, or the new rows join them to one
    moved = {row.name: (row.wanted, row.side) for row in assignment.moved}
    for row, was, side in zip(rows, before, assignment.sides, strict=False):
        assert side == was or moved[row.name] == (was, side)
        assert SPLITS.index(side) <= SPLITS.index(was)  # what was learnt from is never held out later


def test_new_rows_of_a_stored_artist_follow_it_even_when_the_old_ones_are_gone(tmp_path: Path) -> None:
    rows, stored = artists(40), tmp_path / "splits.json"
    before = split(rows, seed=0, stored=stored)
    assert set(before) == set(SPLITS)
    again = [Row(Path("x"), artist=f" ARTIST  {n}", name=f"new {n}") for n in range(40)]
    assert split(again, seed=99, stored=stored) == before
    kept = json.loads(stored.read_text())
    assert len(kept["rows"]) == 80
    assert split(rows, seed=99, stored=stored) == before


def test_a_source_given_leak_goes_to_the_side_that_was_learnt_from_and_is_counted() -> None:
    cells = [("Ann", 0, "test"), ("Ann", 1, "training"), ("Bob", 2, "test"), ("Cleo", 2, "validation"),
             ("Dora", 4, "test"), ("Eve", 5, "validation"), ("", 6, "training"), ("", 7, "validation")]  # fmt: skip
    assignment = assign(rows_of(cells), [group for _, group, _ in cells])
    assert assignment.sides == [
        "training", "training", "validation", "validation", "test", "validation", "training", "validation",
    ]  # fmt: skip
    assert [(row.name, row.wanted, row.side) for row in assignment.moved] == [
        ("0.wav", "test", "training"),
        ("2.wav", "test", "validation"),
    ]


def test_shares_come_out_and_seeds_differ() -> None:
    sides = split(artists(2000), fractions={"training": 0.6, "validation": 0.3, "test": 0.1})
    counts = [sides.count(name) for name in SPLITS]
    # binomial: four standard deviations of 2000 draws are at most 88
    assert all(abs(count - wanted) < 88 for count, wanted in zip(counts, (1200, 600, 200), strict=True))
    assert split(artists(50), seed=1) != split(artists(50), seed=2)


@pytest.mark.parametrize("seed", range(20))
def test_a_few_artists_fill_every_side(seed: int) -> None:
    assert set(split(artists(3, 2), seed=seed)) == set(SPLITS)
    assert set(split(artists(2, 2), seed=seed)) == {"training", "validation"}
    assert set(split(artists(5), fractions={"training": 0.9, "validation": 0.1}, seed=seed)) == {
        "training",
        "validation",
    }


def test_an_empty_side_is_told() -> None:
    with pytest.raises(UserError, match="side of the split is empty: 1 artists"):
        split(artists(1, 5))
    with pytest.raises(UserError, match="0 of them not put elsewhere"):
        split(rows_of([("Ann", 0, "training"), ("Bob", 1, "training")]))
    with pytest.raises(UserError, match="side of the split is empty"):
        split(artists(4), [0, 0, 0, 0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "version None"),
        ('{"version": 1, "rows": {}}', "'names'"),
        ('{"version": 1, "rows": {"a.wav": "trainin"}, "names": {}}', "did you mean 'training'"),
        ('{"version": 1, "rows": {"a.wav": []}, "names": {}}', "rows.a.wav"),
    ],
)
def test_a_malformed_stored_split_is_told_and_left_alone(tmp_path: Path, text: str, words: str) -> None:
    stored = tmp_path / "splits.json"
    stored.write_text(text)
    with pytest.raises(UserError, match=words):
        split(artists(9), stored=stored)
    assert stored.read_text() == text


@pytest.mark.parametrize(
    ("fractions", "words"),
    [({"training": 0.5, "validation": 0.2}, "sum to 1"), ({"training": 1.5, "test": -0.5}, "0 or more"),
     ({"training": 0.5, "validaton": 0.5}, "did you mean 'validation'"), ({}, "sum to 1")],
)  # fmt: skip
def test_wrong_shares_are_told(fractions: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        split(artists(9), fractions=fractions)
    assert sum(FRACTIONS.values()) == pytest.approx(1.0)
