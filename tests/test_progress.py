"""The progress display, on a terminal and off it."""

from __future__ import annotations

import io

import pytest

from hitchain import progress
from hitchain.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_lines_are_seconds_apart(clock: list[float]) -> None:
    stream = io.StringIO()
    with Progress(total=40, description="climbing", stream=stream) as shown:
        for step in range(1, 41):
            clock[0] += 0.5
            shown.update(step, rating=0.5 + step / 100)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "climbing: step 1/40, 0 s, 2.00 steps/s, rating 0.510"
    assert [line.split(",")[0] for line in lines] == [f"climbing: step {step}/40" for step in (1, 11, 21, 31, 40)]
    assert lines[-1] == "climbing: step 40/40, 20 s, 2.00 steps/s, rating 0.900"
    assert "\r" not in stream.getvalue()


def test_the_last_step_is_written_once(clock: list[float]) -> None:
    stream = io.StringIO()
    with Progress(total=1, description="rendering", stream=stream, unit="stem") as shown:
        clock[0] += 100.0
        shown.update(1)
    assert stream.getvalue() == "rendering: stem 1/1, 100 s, 100 s a stem\n"


def test_work_taken_up_again_counts_its_rate_from_there(clock: list[float]) -> None:
    stream = io.StringIO()
    with Progress(total=None, description="climbing", initial=90, stream=stream) as shown:
        clock[0] += 2.0
        shown.update(100, held_out="none")
    assert stream.getvalue() == "climbing: step 100, 2 s, 5.00 steps/s, held out none\n"


def test_on_a_terminal_it_is_a_bar_with_the_rating() -> None:
    stream = Terminal()
    with Progress(total=3, description="climbing", stream=stream) as shown:
        for step in range(1, 4):
            shown.update(step, rating=0.25 * step)
        shown.note("a new best")
    text = stream.getvalue()
    assert "\r" in text
    assert "3/3" in text
    assert "rating 0.750" in text
    assert "a new best\n" in text


def interrupted(stream: io.StringIO) -> None:
    with Progress(total=3, description="climbing", stream=stream) as shown:
        shown.update(1)
        raise KeyboardInterrupt


def test_an_error_inside_is_not_hidden_and_ends_the_bar() -> None:
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        interrupted(stream)
    assert stream.getvalue().endswith("\n")
