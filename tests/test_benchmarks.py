"""The benchmarks run and say what they measured. No time is asserted: that is for `make bench` and a person."""

import math
from importlib import import_module

import pytest

from benchmarks import page
from benchmarks.__main__ import measure
from benchmarks.harness import Contender, Line, Report, Timing, against, compare
from benchmarks.rows import ROWS, load


def test_a_row_reports_finite_measures() -> None:
    report = measure("compressor", repeats=1, seconds=0.05)
    assert report.ours.endswith("s)")
    assert report.lines
    assert all(line.ratio is None or (math.isfinite(line.ratio) and line.ratio > 0) for line in report.lines)
    text = page.page([report], 1.0)
    assert report.title in text
    assert "bound by" in text


@pytest.mark.parametrize("row", ROWS)
def test_every_row_can_be_loaded(row: str) -> None:
    module, function, seconds = ROWS[row]
    assert load(row) is getattr(import_module(f"benchmarks.rows.{module}"), function)
    assert seconds > 0


def test_contenders_run_in_turn_each_after_a_pass_of_its_own() -> None:
    calls: list[str] = []
    field = [Contender(name, lambda name=name: calls.append(name), 2.0) for name in ("ours", "theirs")]
    times = compare([*field, Contender("slow", lambda: calls.append("slow"), 1.0, most=1)], repeats=2)
    assert calls == ["ours", "ours", "theirs", "theirs", "slow", "ours", "ours", "theirs", "theirs"]
    assert times["ours"].real_time == 2.0 / times["ours"].seconds


def test_verdicts() -> None:
    ours, theirs = Timing(1.0, 1.0, 1.0, audio=10.0), Timing(4.0, 4.0, 4.0, audio=8.0)
    line = against(ours, theirs, "peer", "5 x peer", 5.0)
    assert line.ratio == pytest.approx(5.0)
    assert line.verdict == "met"
    assert against(ours, theirs, "peer", "6 x peer", 6.0).verdict == "**not met**"
    missing = against(ours, None, "peer", "5 x peer", 5.0, "ImportError")
    assert missing.verdict == "-"
    assert "ImportError" in missing.peer
    report = Report("row", "10 x (1 s)", [Line("5 x peer", "peer", 2.0, 5.0)], "limit", "near")
    assert "- row: 5 x peer; the ratio is 2." in page.page([report], 60.0)
