"""The page of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hitchain.drawing.page import duration, header, note, notices_list, page, section, table, text, tile, tile_row
from hitchain.files import write_text
from hitchain.rater.evaluation import charts
from hitchain.rater.evaluation.summary import shown

if TYPE_CHECKING:
    from hitchain.rater.evaluation.command import Evaluation

_NAMES = {
    "mse": "MSE",
    "r2": "R²",
    "spearman": "Spearman",
    "kendall": "Kendall τ-b",
    "pairwise_accuracy": "pairs in order",
}


def write_report(folder: Path, result: Mapping[str, Any], evaluation: Evaluation) -> Path:
    """Write report.html into a run folder."""
    style = (resources.files(__package__) / "page.css").read_text(encoding="utf-8")
    raters = ", ".join(result["raters"])
    line = f"hitchain evaluate · split {result['split']} · target {result['target']} · {duration(result['seconds'])}"
    sections = [
        header(raters, line),
        notices_list(result["notes"]),
        _tiles(result),
        _measures(result),
        *(_rater(name, result, evaluation) for name in result["raters"]),
    ]
    path = folder / "report.html"
    write_text(path, page(f"{raters} – hitchain evaluate", sections, style))
    return path


def _tiles(result: Mapping[str, Any]) -> str:
    skipped = sum(result["skipped"].values())
    why = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in result["skipped"].items())
    tiles = [
        tile("Songs", str(result["songs"]), f"by {result['artists']} artists"),
        tile("Skipped", str(skipped), text(why or "none")),
    ]
    for name in result["raters"]:
        found = result["systems"][name]["metrics"]["spearman"]
        beats = found["beats_chance"]
        remark = "no interval" if beats is None else "better than chance" if beats else "cannot be told from chance"
        tiles.append(tile(f"{name}: Spearman", text(shown(found)), remark))
    return tile_row(tiles)


def _measures(result: Mapping[str, Any]) -> str:
    keys = list(result["chance"])
    rows = [
        [name, *(shown(system["metrics"][key]) if key in system["metrics"] else "" for key in keys)]
        for name, system in result["systems"].items()
    ]
    rows.append(
        ["chance", *(shown({"value": value, "low": None, "high": None}) for value in result["chance"].values())]
    )
    heads = ["", *(_NAMES.get(key, key.replace("ndcg", "nDCG")) for key in keys)]
    spearman = {
        name: {**system["metrics"]["spearman"], "kind": system["kind"]} for name, system in result["systems"].items()
    }
    return section(
        "measures",
        "Agreement with the targets",
        f'<figure class="chart">{charts.intervals(spearman, result["chance"]["spearman"], "Spearman")}</figure>',
        table(heads, rows),
        note(
            "95 % intervals by bootstrap over artists, not over songs: songs of one artist are not independent. "
            f"{result['resamples']} draws. MSE is in the target's unit squared; its chance is to always say the mean."
        ),
        _differences(result),
    )


def _differences(result: Mapping[str, Any]) -> str:
    rows = [
        [f"{name}: {_NAMES.get(key, key)}", one["against"], shown(one, sign=True), _verdict(one)]
        for name, differences in result["differences"].items()
        for key, one in differences.items()
    ]
    if not rows:
        return ""
    return table(["", "best baseline", "difference", ""], rows) + note(
        "Paired: both are measured on the same draws. The best baseline is the best by that measure on these very "
        "songs, which favours it."
    )


def _verdict(one: Mapping[str, Any]) -> str:
    if one["beats"] is None:
        return ""
    return "better" if one["beats"] else "worse" if one["loses"] else "cannot be told apart"


def _rater(name: str, result: Mapping[str, Any], evaluation: Evaluation) -> str:
    number = result["raters"].index(name)
    ratings, targets = evaluation.systems[name], evaluation.targets
    scaled = name in evaluation.scaled
    labels = ("rating" if not scaled else f"predicted {result['target']}", result["target"])
    pictures = [
        _picture("Each song", charts.scatter(targets, ratings, labels, scaled)),
        _picture("Calibration", charts.calibration(targets, ratings, labels, scaled)),
    ]
    if scaled:
        pictures.append(_picture("Residuals", charts.residuals(targets, ratings, (labels[0], "target - prediction"))))
    rows = result["systems"][name]["interval"]
    if rows:
        pictures.append(_picture("Coverage of its intervals", charts.coverage(rows)))
    missing = [] if rows else ["This rater has no calibrated interval, so there is no coverage to measure."]
    missing += [] if scaled else ["Its ratings have no unit, so there are no residuals."]
    return section(
        f"rater-{number}",
        name,
        f'<div class="charts">{"".join(pictures)}</div>',
        note(" ".join(missing)) if missing else "",
        _groups(name, result, scaled),
    )


def _picture(heading: str, svg: str) -> str:
    return f'<figure class="chart"><h3>{text(heading)}</h3>{svg}</figure>'


def _groups(name: str, result: Mapping[str, Any], scaled: bool) -> str:
    groups = result["groups"][name]
    if not groups:
        return note(f"No recording has the label “{result['group']}”: there is no table by group.")
    rows = [
        [
            group["group"], str(group["songs"]), str(group["artists"]), f"{group['mean_target']:.3g}",
            f"{group['mean_rating']:.3g}", shown(group["bias"], sign=True), f"{group['error']:.3g}",
            "–" if group["spearman"] is None else f"{group['spearman']:.2f}",
        ]
        for group in groups
    ]  # fmt: skip
    heads = [result["group"], "songs", "artists", "mean target", "mean rating", "bias", "error", "Spearman"]
    unit = "in the target's unit" if scaled else "in standard deviations over all songs"
    return table(heads, rows) + note(
        f"Bias is the mean of rating less target, error the root of its mean square, {unit}."
    )
