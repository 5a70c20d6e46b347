"""Bounds that a climb keeps, fronts of rating against a term, and what the report shows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import make_run
from torch import Tensor

from hitchain.blocks.dsp.loudness import integrated_loudness
from hitchain.chain import Song, checkpoint, climb
from hitchain.chain.ascent import Ascent, State, split_settings
from hitchain.chain.objective import Constraint, Front, Heard, Objective, Term, Weighted
from hitchain.chain.objective.front import dominated
from hitchain.chain.objective.term import find
from hitchain.chain.outcome import chosen, front_of, front_rows, judge_whole, terms_of
from hitchain.chain.report import write_report
from hitchain.chain.result import told, unmet
from hitchain.errors import UserError
from hitchain.files import read_json, write_json

LEARN = ["mastering.limiter.target", "mastering.equaliser.*_gain"]
FAST = {"batch": 2, "window": 1.5, "evaluate_every": 5}


def brightness(audio: Tensor, sample_rate: int) -> Tensor:
    """Share of the power that a first difference passes."""
    power = audio.square().mean(dim=(-1, -2)) + 1e-9
    return (audio[..., 1:] - audio[..., :-1]).square().mean(dim=(-1, -2)) / power


class Place(Term):
    """The first knob's position."""

    name, unit, scale, audible = "place", "", 0.05, False

    def measure(self, heard: Heard) -> Tensor:
        return heard.positions[:, 0]


@pytest.mark.slow
def test_a_climb_ends_at_its_bound_of_loudness(demo: Song) -> None:
    """The start is at -14 LUFS; the rating does not care for level."""
    bound = Constraint(find("loudness")(), at_least=-11.0, at_most=-10.5)
    objective = Objective([brightness], constraints={"loudness": bound}, neutral=0.3)
    found = climb(demo, objective, learn=LEARN, steps=30, learning_rate=0.12, patience=99, **FAST)
    with torch.no_grad():
        loudness = float(integrated_loudness(demo(found.patch), demo.sample_rate))
    assert -11.5 <= loudness <= -10.0


def ascend(song: Song, state: State | None = None, until: int = 99, optimizer: str = "adam") -> Ascent:
    front = Front(Place(), torch.linspace(0.3, 0.8, 3))
    values = {"steps": 8, "patience": 99, "batch": 3, "window": 1.0, "evaluate_every": 2}
    schedule, settings = split_settings(optimizer, values)
    terms = {"rhythm": Weighted(find("rhythm")(), 0.1)}
    objective = Objective([brightness], lambda a, r: -brightness(a, r), terms=terms, front=front)
    ascent = Ascent(song, objective, ["mastering.equaliser.high_shelf_gain"], schedule, 3, state, optimizer, settings)
    while not ascent.finished and ascent.state.step < until:
        ascent.advance()
    return ascent


def test_a_front_is_one_climb_for_each_level_and_goes_on_to_the_bit(demo: Song, tmp_path: Path) -> None:
    whole = ascend(demo)
    checkpoint.save(tmp_path, ascend(demo, until=3).state)
    resumed = ascend(demo, checkpoint.load(tmp_path))
    for key, value in whole.state.front.items():
        assert torch.equal(value, resumed.state.front[key]), key
    climbed = whole.result()
    assert climbed.front is not None
    assert climbed.front.batch == 3
    outcomes = front_of(whole, climbed.front)
    rows = front_rows(whole, outcomes)
    assert [row["level"] for row in rows] == pytest.approx([0.3, 0.55, 0.8])
    for row, outcome in zip(rows, outcomes, strict=True):
        assert row["met"] == (row["measured"] >= row["level"] - 0.25 * 0.05)
        assert row["rating"] == pytest.approx(float(brightness(demo(outcome.patch), 44_100)), rel=1e-5)
        assert row["heldout"] == pytest.approx(-row["rating"], rel=1e-5)
    assert rows[0]["met"]
    best = chosen(outcomes, rows)
    kept = [outcome for outcome, row in zip(outcomes, rows, strict=True) if row["met"]]
    assert best.rating == max(outcome.rating for outcome in kept)


def test_a_front_needs_candidates_of_their_own(demo: Song) -> None:
    with pytest.raises(UserError, match="adam or lbfgs"):
        ascend(demo, optimizer="random")
    schedule, settings = split_settings("adam", {"batch": 4})
    objective = Objective([brightness], front=Front(Place(), torch.linspace(0.3, 0.8, 3)))
    with pytest.raises(UserError, match="batch=3"):
        Ascent(demo, objective, LEARN, schedule, 0, None, "adam", settings)


points = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=12)


@given(points=points, rising=st.booleans())
def test_what_is_not_dominated_is_the_front(points: list[tuple[int, int]], rising: bool) -> None:
    ratings, measures = zip(*[(float(a), float(b)) for a, b in points], strict=True)
    worse = dominated(ratings, measures, rising)
    sign = 1.0 if rising else -1.0
    assert not all(worse)
    for index, flag in enumerate(worse):
        better = [
            other
            for other in range(len(points))
            if ratings[other] >= ratings[index]
            and sign * measures[other] >= sign * measures[index]
            and (ratings[other] > ratings[index] or measures[other] != measures[index])
        ]
        assert flag == bool(better)
        assert not flag or any(not worse[other] for other in better)


def test_an_outcome_counts_what_was_wished_for_and_says_what_was_not_kept(demo: Song) -> None:
    schedule, settings = split_settings("adam", {"steps": 0, "batch": 1})
    terms = {"rhythm": Weighted(find("rhythm")(), 0.1)}
    bounds = {
        "loudness": Constraint(find("loudness")(), at_least=-11.0),
        "peak": Constraint(find("true_peak")(), at_most=0.0),
    }
    objective = Objective([brightness], terms=terms, constraints=bounds)
    ascent = Ascent(demo, objective, LEARN, schedule, 0, None, "adam", settings)
    outcome = judge_whole(ascent, demo.start)
    with torch.no_grad():
        audio = demo(demo.start)
    loudness = float(integrated_loudness(audio, 44_100))
    assert outcome.measures["loudness"] == pytest.approx(loudness, abs=1e-3)
    assert outcome.violation == pytest.approx(-11.0 - loudness, abs=1e-3)
    wished = float(brightness(audio, 44_100)) + 0.1 * outcome.measures["rhythm"] - 10.0 * outcome.violation
    assert outcome.worth == pytest.approx(wished, abs=1e-3)
    said = terms_of(ascent, outcome, outcome)
    assert [said["constraints"][name]["met"] for name in ("loudness", "peak")] == [False, True]
    assert said["terms"]["rhythm"]["weight"] == 0.1
    assert "no freed knob" in unmet(said["constraints"])[0]
    assert any("NOT met, by 3" in line for line in told(said))


def test_the_report_shows_terms_bounds_and_the_front(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", seconds=1.0)
    result = dict(read_json(folder / "result.json"))
    result["terms"] = {"rhythm <b>": {"unit": "", "weight": 0.1, "before": 0.4, "after": 0.61}}
    bound = {"unit": "LUFS", "at_least": -11.0, "at_most": None, "before": -14.0, "after": -12.0}
    result["constraints"] = {"loudness": {**bound, "violation": 1.0, "met": False}}
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    steps = [json.dumps({**row, "measures": {"loudness": -14.0 + 0.05 * row["step"]}}) for row in history]
    (folder / "history.jsonl").write_text("\n".join(steps) + "\n")
    rows = [(-18.0, -17.9, 0.7, False), (-13.0, -13.1, 0.6, True), (-9.0, -9.0, 0.65, False)]
    result["front"] = [
        {"term": "loudness", "unit": "LUFS", "level": level, "measured": found, "rating": rating, "heldout": None,
         "met": True, "dominated": worse, "patch": f"front/{index}.json"}
        for index, (level, found, rating, worse) in enumerate(rows)
    ]  # fmt: skip
    write_json(folder / "result.json", result)
    page = write_report(folder).read_text(encoding="utf-8")
    assert "Rating against loudness" in page
    assert page.count('class="dominated"') == 1
    assert "2 of 3 on the front" in page
    assert "no, by 1 LUFS" in page
    assert page.count('class="bound"') == 1
    assert "rhythm &lt;b&gt;" in page
    assert "rhythm <b>" not in page
    result["front"], result["constraints"], result["terms"] = [{"rating": "high"}], 3, {"a": None}
    write_json(folder / "result.json", result)
    assert "no points of the front" in write_report(folder).read_text(encoding="utf-8")
