"""Splits in which no artist stands twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain import rater
from hitchain.errors import UserError


def make_rows(artists: list[str]) -> list[rater.Row]:
    return [rater.Row(Path(f"{n}.wav"), 10.0, 5.0, artist, line=n + 2) for n, artist in enumerate(artists)]


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
