"""What the units say together: gains of judges at equal climbed gain, and transfer, with bootstrap intervals.

Intervals are 95 % percentiles over songs drawn with replacement and, within each, starts: starts of one song are not
independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.chain.experiment.judges import Density, RealMusic, frechet_distance

DRAWS = 2000
Unit = Mapping[str, Any]
Pairs = list[tuple[str, float, float]]
"""(song, numerator, denominator) of each start."""


@lru_cache(maxsize=512)
def resampled(songs: tuple[str, ...], draws: int, seed: int = 0) -> list[NDArray[np.int64]]:
    """Indices of starts, drawn song by song and then within each song."""
    random = np.random.default_rng(seed)
    names = sorted(set(songs))
    rows = {name: np.flatnonzero(np.array(songs) == name) for name in names}
    result = []
    for _ in range(draws):
        chosen = random.choice(len(names), len(names))
        result.append(np.concatenate([random.choice(rows[names[k]], len(rows[names[k]])) for k in chosen]))
    return result


def summarise(pairs: Pairs, statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], float]) -> dict[str, Any]:
    """A statistic of (numerators, denominators) with its interval: {"value", "low", "high", "starts", "songs"}."""
    if not pairs:
        return {"value": None, "low": None, "high": None, "starts": 0, "songs": 0}
    songs = tuple(song for song, _, _ in pairs)
    top = np.array([first for _, first, _ in pairs])
    bottom = np.array([second for _, _, second in pairs])
    drawn = np.array([statistic(top[rows], bottom[rows]) for rows in resampled(songs, DRAWS)])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    value = statistic(top, bottom)
    whole = {"value": value, "low": float(low), "high": float(high)}
    finite = {key: round(number, 4) if np.isfinite(number) else None for key, number in whole.items()}
    return {**finite, "starts": len(pairs), "songs": len(set(songs))}


def mean_of(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> float:
    """The mean of the numerators."""
    return float(top.mean())


def ratio_of(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> float:
    """The ratio of sums: large climbs count by how far they went, and a start that gained nothing does no harm."""
    total = float(bottom.sum())
    return float(top.sum()) / total if abs(total) > 1e-9 else float("nan")


def of_target(units: Sequence[Unit], climbed: Sequence[str]) -> list[Unit]:
    """The units in which these raters were climbed."""
    return [unit for unit in units if list(unit["climbed"]) == list(climbed)]


def gains(units: Sequence[Unit], arm: str, point: str, judge: str, where: str = "judges") -> Pairs:
    """(song, the judge's gain, the climbed gain) from "start" to a point, for every start that reached it."""
    rows: Pairs = []
    for unit in units:
        points = unit["arms"].get(arm, {}).get("points", {})
        if point in points and (where == "judges" or "elsewhere" in points[point]):
            before, after = points["start"], points[point]
            rows.append(
                (
                    unit["start"]["song"],
                    _said(after, judge, where) - _said(before, judge, where),
                    _climbed(after, before, where),
                )
            )
    return rows


def judge_by_real_music(units: Sequence[Unit], real: RealMusic) -> None:
    """Add the judge "real music" to every point, by the features that were kept of it."""
    density = Density(real)
    for unit in units:
        for arm in unit["arms"].values():
            for point in arm["points"].values():
                point["judges"]["real music"] = density(np.array(point["features"]))


def _said(point: Mapping[str, Any], judge: str, where: str) -> float:
    """One judge's rating; "judges" for the mean of those that were trained as raters."""
    said = point["judges"] if where == "judges" else point["elsewhere"]
    if judge != "judges":
        return float(said[judge])
    return float(np.mean([value for name, value in said.items() if name not in ("real music", "climbed")]))


def _climbed(after: Mapping[str, Any], before: Mapping[str, Any], where: str) -> float:
    if where == "judges":
        return float(after["climbed"] - before["climbed"])
    return float(after["elsewhere"]["climbed"] - before["elsewhere"]["climbed"])


def analyse(
    units: Sequence[Unit], arms: Sequence[str], goals: Sequence[float], judges: Sequence[str]
) -> dict[str, Any]:
    """Everything that the pages show of one set of climbed raters."""
    goal_names = [f"{goal:g}" for goal in goals]
    everyone = ["judges", *judges]
    at_goals = {
        arm: {
            goal: {judge: summarise(gains(units, arm, goal, judge), mean_of) for judge in everyone}
            for goal in goal_names
        }
        for arm in arms
    }
    transfer = {
        arm: {judge: summarise(gains(units, arm, "final", judge), ratio_of) for judge in everyone} for arm in arms
    }
    at_largest = {arm: _transfer_at_largest_goal(units, arm, goal_names, everyone) for arm in arms}
    kinds = sorted({unit["start"]["kind"] for unit in units})
    return {
        "at_goals": at_goals,
        "transfer": transfer,
        "transfer_at_goal": at_largest,
        "by_kind": {
            kind: {
                arm: summarise(
                    gains([u for u in units if u["start"]["kind"] == kind], arm, "final", "judges"), ratio_of
                )
                for arm in arms
            }
            for kind in kinds
        },
        "elsewhere": {arm: summarise(gains(units, arm, "final", "judges", "elsewhere"), ratio_of) for arm in arms},
        "climbed_gain": {
            arm: summarise(gains(units, arm, "final", "judges"), lambda top, bottom: float(bottom.mean()))
            for arm in arms
        },
        "paired": {goal: _paired(units, "chain", "waveform from the same start", goal) for goal in goal_names},
        "paired_held": {
            goal: _paired(units, "chain, prior and copies", "waveform from the same start", goal) for goal in goal_names
        },
        "at_bound": {arm: _at_bound(units, arm) for arm in arms},
    }


def _transfer_at_largest_goal(
    units: Sequence[Unit], arm: str, goals: Sequence[str], judges: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Transfer where each start went as far as the largest goal it reached: equal gain, not equal compute."""
    result = {}
    for judge in judges:
        pairs: Pairs = []
        for unit in units:
            for goal in reversed(goals):
                own = gains([unit], arm, goal, judge)
                if own:
                    pairs += own
                    break
        result[judge] = summarise(pairs, ratio_of)
    return result


def _paired(units: Sequence[Unit], chain: str, waveform: str, goal: str) -> dict[str, Any]:
    """From the very same start audio, where both reached the goal: the judges' gain by each, and by how much more."""
    both: list[tuple[str, float, float]] = []
    for unit in units:
        one, other = gains([unit], chain, goal, "judges"), gains([unit], waveform, goal, "judges")
        if one and other:
            both.append((one[0][0], one[0][1], other[0][1]))
    return {
        "chain": summarise(both, mean_of),
        "waveform": summarise(both, lambda top, bottom: float(bottom.mean())),
        "difference": summarise(both, lambda top, bottom: float((top - bottom).mean())),
        "times": summarise(both, ratio_of),
    }


def _at_bound(units: Sequence[Unit], arm: str) -> dict[str, Any]:
    """The share of knobs at an end of their range, at the start and when the time was up."""
    shares = [
        (unit["start"]["song"], points["final"]["at bound"], points["start"]["at bound"])
        for unit in units
        if "at bound" in (points := unit["arms"].get(arm, {}).get("points", {})).get("final", {})
    ]
    before = [(song, start, 0.0) for song, _, start in shares]
    return {"final": summarise(shares, mean_of), "start": summarise(before, mean_of)}


def measured(units: Sequence[Unit], arms: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """What no rater saw: {arm: {measure: {"start", "final"}}}, means with intervals."""
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for arm in arms:
        own = [(unit["start"]["song"], unit["arms"][arm]["points"]) for unit in units if arm in unit["arms"]]
        table[arm] = {
            name: {
                point: summarise([(song, float(points[point]["measures"][name]), 0.0) for song, points in own], mean_of)
                for point in ("start", "final")
            }
            for name in (own[0][1]["start"]["measures"] if own else {})
        }
    return table


def distances(
    units: Sequence[Unit], arms: Sequence[str], real: NDArray[np.float64] | None
) -> dict[str, dict[str, float]]:
    """Frechet distance of each arm's features to those of real music, at the start and when the time was up."""
    if real is None:
        return {}
    result = {}
    for arm in arms:
        own = [unit["arms"][arm]["points"] for unit in units if arm in unit["arms"]]
        if len(own) >= 3:
            result[arm] = {
                point: round(frechet_distance(np.array([points[point]["features"] for points in own]), real), 3)
                for point in ("start", "final")
            }
    return result
