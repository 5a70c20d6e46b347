"""From ratings to what stands in result.json: measures with intervals, differences, coverage, groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hitchain.progress import Progress
from hitchain.rater import sources
from hitchain.rater.evaluation import metrics as all_metrics
from hitchain.rater.evaluation.bootstrap import Estimate, Measured, measure
from hitchain.rater.evaluation.groups import by_group
from hitchain.rater.evaluation.metrics import LOWER_IS_BETTER, NEEDS_A_SCALE, Metric, Vector

if TYPE_CHECKING:
    from hitchain.rater.evaluation.command import Evaluation

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Levels at which the coverage of a rater's interval is measured."""
FEW_ARTISTS = 20
"""Fewer artists than this, and the bootstrap's own intervals are too narrow: that is said."""


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but seed and seconds."""
    settings = evaluation.settings
    applied = {name: _applied(evaluation, name) for name in evaluation.systems}
    with Progress(settings.resamples, "drawing artists", unit="draw") as progress:
        measured = measure(
            evaluation.targets, evaluation.systems, applied, evaluation.clusters, settings.resamples, settings.seed,
            progress.update,
        )  # fmt: skip
    chance = {
        name: all_metrics.chance(name, evaluation.targets, settings.k) for name in all_metrics.metrics(settings.k)
    }
    systems = {name: _system(evaluation, measured, name, chance) for name in evaluation.systems}
    artists = len(np.unique(evaluation.clusters))
    return {
        "raters": list(evaluation.raters),
        "split": settings.split,
        "target": settings.target,
        "songs": len(evaluation.places),
        "artists": artists,
        "skipped": sources.counted(evaluation.recordings.skipped),
        "k": settings.k,
        "resamples": settings.resamples,
        "chance": chance,
        "systems": systems,
        "differences": {name: _differences(evaluation, measured, name, systems) for name in evaluation.raters},
        "group": settings.group,
        "groups": {name: by_group(evaluation, name) for name in evaluation.raters},
        "notes": [*evaluation.notes, *_notes(evaluation, artists)],
    }


def _applied(evaluation: Evaluation, name: str) -> Mapping[str, Metric]:
    """The metrics that apply to a system: those of values only where it has the target's unit."""
    every = all_metrics.metrics(evaluation.settings.k)
    scaled = name in evaluation.scaled
    return {key: metric for key, metric in every.items() if scaled or key not in NEEDS_A_SCALE}


def _system(
    evaluation: Evaluation, measured: Measured, name: str, chance: Mapping[str, float | None]
) -> dict[str, Any]:
    found = {}
    for key in measured.values[name]:
        estimate, random = measured.estimate(name, key), chance[key]
        found[key] = {**estimate.as_dict(), "beats_chance": None if random is None else _above(estimate, random, key)}
    return {
        "kind": "rater" if name in evaluation.raters else "baseline",
        "scale": name in evaluation.scaled,
        "metrics": found,
        "interval": coverages(evaluation, name) if name in evaluation.raters else None,
    }


def _above(estimate: Estimate, value: float, metric: str) -> bool | None:
    """Whether a measure is better than a value for sure: its whole interval is; None without an interval."""
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.high < value if metric in LOWER_IS_BETTER else estimate.low > value


def _differences(
    evaluation: Evaluation, measured: Measured, rater: str, systems: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Of each metric, the paired difference to the baseline that is best by it on these very songs."""
    found = {}
    for key, own in measured.values[rater].items():
        others = {
            name: value
            for name in systems
            if name not in evaluation.raters and (value := measured.values[name].get(key)) is not None
        }
        if own is None or not others:
            continue
        best = (min if key in LOWER_IS_BETTER else max)(others, key=lambda name: others[name])
        estimate = measured.difference(rater, best, key)
        told_as = {"beats": _above(estimate, 0.0, key), "loses": _above(_turned(estimate), 0.0, key)}
        found[key] = {"against": best, **estimate.as_dict(), **told_as}
    return found


def _turned(estimate: Estimate) -> Estimate:
    """The same difference the other way round."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return Estimate(None)
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def coverages(evaluation: Evaluation, name: str) -> list[dict[str, float]] | None:
    """How often a rater's interval holds the target, at each of `LEVELS`; None for a rater without one, or no scale."""
    import torch

    from hitchain.rater.evaluation.command import in_target_units
    from hitchain.rater.uncertainty import coverage

    rater = evaluation.raters[name]
    if rater.calibration is None or name not in evaluation.scaled:
        return None
    members, rows = torch.from_numpy(evaluation.members[name]), []
    for level in LEVELS:
        ends = rater.interval_of(members, level)
        low, high = (in_target_units(rater, end.numpy(), evaluation.settings.target) for end in ends)
        held = coverage(low, high, evaluation.targets)
        width = float(np.mean(high - low))
        rows.append({"level": level, "share": held.share, "low": held.low, "high": held.high, "width": width})
    return rows


def _notes(evaluation: Evaluation, artists: int) -> list[str]:
    notes = []
    unscaled = [name for name in evaluation.raters if name not in evaluation.scaled]
    if unscaled:
        notes.append(
            f"{', '.join(unscaled)}: not trained on {evaluation.settings.target}, so without its scale; only orders "
            "are compared, and MSE and R2 are left out."
        )
    if not evaluation.settings.resamples or artists < 2:
        notes.append("There are no intervals: they take two artists and resamples above 0.")
    elif artists < FEW_ARTISTS:
        notes.append(f"Only {artists} artists: intervals drawn from so few are too narrow, if anything.")
    if evaluation.settings.split == "all":
        notes.append(
            "split=all: the baselines are fitted on the artists of the other folds. A baseline without a hint then "
            "rates a little below chance, since the mean of what is left falls as what is held out rises."
        )
    if _constant(evaluation.targets):
        notes.append("All targets are the same: nothing can be ranked.")
    return notes


def _constant(values: Vector) -> bool:
    return len(values) == 0 or bool(np.ptp(values) == 0.0)


def told(result: Mapping[str, Any]) -> list[str]:
    """The result in lines for the terminal."""
    lines = [
        f"{result['songs']} songs by {result['artists']} artists, split {result['split']}, target {result['target']}"
    ]
    if result["skipped"]:
        lines.append("skipped  " + ", ".join(f"{count} {kind}" for kind, count in result["skipped"].items()))
    width = max(len(name) for name in result["systems"])
    for name, system in result["systems"].items():
        cells = [f"{key} {shown(value)}" for key, value in system["metrics"].items() if key not in ("mse", "kendall")]
        lines.append(f"{name:{width}}  {'  '.join(cells)}")
    random = {key: {"value": value, "low": None, "high": None} for key, value in result["chance"].items()}
    cells = [f"{key} {shown(value)}" for key, value in random.items() if key not in ("mse", "kendall")]
    lines.append(f"{'chance':{width}}  {'  '.join(cells)}")
    for name, differences in result["differences"].items():
        if "spearman" in differences:
            one = differences["spearman"]
            lines.append(f"{name} against {one['against']}: spearman {shown(one, sign=True)}")
    for name in result["raters"]:
        beats = result["systems"][name]["metrics"]["spearman"]["beats_chance"]
        if not beats:
            lines.append(f"{name} cannot be told from chance by these songs.")
    return [*lines, *(f"note     {note}" for note in result["notes"])]


def shown(value: Mapping[str, float | None], sign: bool = False) -> str:
    """A measure with its interval: 0.12 [-0.08, 0.31]."""
    kind = "+.2f" if sign else ".2f"
    if value["value"] is None:
        return "–"
    told_value = format(value["value"], kind if abs(value["value"]) >= 0.005 or value["value"] == 0.0 else ".2g")
    if value["low"] is None or value["high"] is None:
        return told_value
    low, high = (
        format(end, ".2f" if abs(end) >= 0.005 or end == 0.0 else ".2g") for end in (value["low"], value["high"])
    )
    return f"{told_value} [{low}, {high}]"
