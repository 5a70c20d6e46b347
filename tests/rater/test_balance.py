"""Balance: counted by hand, and against scipy's entropy."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.rater.balance import balance, gini, told
from hitchain.rater.row import Row


def row(likes: float, plays: float, artist: str = "", **labels: str) -> Row:
    return Row(Path("a.wav"), plays, likes, artist, labels=labels)


ROWS = [
    row(0, 10, "Ann", genre="Rock", tags="loud, fast"),
    row(1, 10, "ann ", genre="Rock", tags="loud"),
    row(10, 100, "Bob", genre="Jazz"),
    row(100, 1000, "", genre="Rock", tags="slow,loud"),
    row(math.nan, math.nan, "Cleo"),
]


def test_counts_by_hand() -> None:
    found = balance(ROWS, ["training", "training", "test", "validation", "training"])
    assert (found["rows"], found["with_counts"], found["artists"]) == (5, 4, 3)
    assert found["splits"] == {"training": 3, "validation": 1, "test": 1}
    skew = found["skew"]
    assert (skew["zero_likes"], skew["zero_or_one_like"]) == (0.25, 0.5)
    assert (skew["likes"]["median"], skew["plays"]["highest"], skew["popularity"]["lowest"]) == (5.5, 1000.0, 0.0)
    genre = found["labels"]["genre"]
    assert (genre["labelled"], genre["classes"]) == (4, 2)
    assert genre["evenness"] == pytest.approx(scipy.stats.entropy([3, 1], base=2), rel=1e-12)
    rock = genre["groups"][0]
    assert (rock["class"], rock["rows"], rock["share"]) == ("Rock", 3, 0.6)
    assert rock["popularity"] == pytest.approx(0.1 * math.log(100) / 3)
    assert rock["zero_likes"] == pytest.approx(1 / 3)
    assert [(tag["class"], tag["rows"]) for tag in found["labels"]["tags"]["groups"]] == [
        ("loud", 3), ("fast", 1), ("slow", 1),
    ]  # fmt: skip


def test_it_is_told_and_stored_as_json() -> None:
    found = balance(ROWS, ["training"] * 5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    text = told(found)
    assert "5 rows by 3 artists: 5 training, 0 validation, 0 test" in text
    assert "25% of rows have no like, 50% none or one" in text
    assert "genre: 2 classes in 4 rows" in text
    assert "Rock" in text


def test_rows_without_counts_or_labels() -> None:
    found = balance([row(math.nan, math.nan, genre="Rock")])
    assert found["skew"] is None
    assert found["labels"]["genre"]["groups"][0]["popularity"] is None
    assert "no row has plays and likes" in told(found)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_gini_is_half_the_relative_mean_difference(values: list[int]) -> None:
    array = np.array(values, float)
    differences = np.abs(array[:, None] - array[None]).mean()
    expected = 0.0 if array.sum() == 0 else differences / (2.0 * array.mean())
    assert gini(array) == pytest.approx(expected, abs=1e-9)
