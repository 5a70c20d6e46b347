"""What `hitchain evaluate` does: rate, fit baselines, measure, report. Killed at any moment, it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hitchain.devices import usable_device
from hitchain.errors import UserError
from hitchain.files import read_json, write_json, write_text
from hitchain.progress import Progress
from hitchain.rater import sources
from hitchain.rater.evaluation import baselines, bootstrap
from hitchain.rater.evaluation.loudness import loudness
from hitchain.rater.evaluation.metrics import Vector
from hitchain.rater.evaluation.recordings import PreparedRecordings, Recordings, SourceRecordings, Unusable
from hitchain.rater.evaluation.settings import EVERYTHING, EvaluateSettings
from hitchain.rater.evaluation.table import Table
from hitchain.rater.features import NAMES, features
from hitchain.rater.rater import Rater, load
from hitchain.rater.row import SPLITS, Skipped

Say = Callable[[str], None]
RATINGS, FEATURES, PROBES = "ratings.csv", "features.csv", "raters.json"


@dataclass
class Evaluation:
    """All that was rated, ready to be measured.

    Attributes:
        places: (songs,) the recordings measured. targets: (songs,). clusters: (songs,) their artists' numbers.
        members: rater -> (songs, members) as rated. systems: rater or baseline -> (songs,), raters with a scale in the
            unit of the targets. scaled: the systems in that unit.
    """

    settings: EvaluateSettings
    recordings: Recordings
    raters: dict[str, Rater]
    places: NDArray[np.intp]
    targets: Vector
    clusters: NDArray[np.intp]
    members: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    systems: dict[str, Vector] = field(default_factory=dict)
    scaled: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def evaluate(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Evaluate raters. Returns what stands in result.json.

    Raises:
        UserError: a rater or source is not there, the split is empty, no target is known, the run folder holds
            something else, or a value is out of range.
    """
    from hitchain.rater.evaluation.report import write_report
    from hitchain.rater.evaluation.summary import summary, told

    began = time.monotonic()
    settings = EvaluateSettings.of(config)
    device = usable_device(settings.device)
    raters = {name: load(name).to(device) for name in settings.raters}
    recordings = _recordings(settings)
    chosen, fitted = _sides(recordings, settings)
    targets = _targets(recordings, fitted, settings)
    _begin(settings, config, raters)
    rated = _rate(recordings, raters, chosen[np.isfinite(targets[chosen])], settings)
    columns = _features(recordings, fitted, rated, targets, settings) if settings.baselines else {}
    evaluation = _assembled(settings, recordings, raters, rated, columns, targets, fitted)
    result = {"command": "evaluate", "seed": settings.seed, **summary(evaluation)}
    sources.write_skipped(settings.out / "skipped.csv", recordings.skipped)
    _write_predictions(evaluation)
    result["seconds"] = round(time.monotonic() - began, 3)
    write_json(settings.out / "result.json", result)
    write_report(settings.out, result, evaluation)
    for line in told(result):
        say(line)
    say(f"report   {settings.out / 'report.html'}")
    return result


def _recordings(settings: EvaluateSettings) -> Recordings:
    if settings.prepared:
        return PreparedRecordings(settings.prepared)
    return SourceRecordings(settings.source, None if settings.split == EVERYTHING else settings.seed)


def _sides(recordings: Recordings, settings: EvaluateSettings) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The recordings to rate, and those that baselines may be fitted on."""
    sides = np.array(recordings.sides)
    everything = settings.split == EVERYTHING
    chosen = np.arange(len(sides)) if everything else np.flatnonzero(sides == settings.split)
    if not len(chosen):
        counts = ", ".join(f"{name} {int((sides == name).sum())}" for name in SPLITS)
        skipped = sources.told(recordings.skipped)
        raise UserError(
            f"split={settings.split} is empty ({counts}; skipped: {skipped}). Choose another, or split=all."
        )
    return chosen, chosen if everything else np.flatnonzero(sides == "training")


def _targets(recordings: Recordings, fitted: NDArray[np.intp], settings: EvaluateSettings) -> Vector:
    """The target of every recording; NaN where it is not known. What it takes from others, it takes from training."""
    from hitchain.rater.targets import KINDS, targets
    from hitchain.rater.training.labels import labels_of

    rows = recordings.rows
    reference = np.zeros(len(rows), bool)
    reference[fitted if len(fitted) else slice(None)] = True
    if settings.target in KINDS:
        return targets(rows, settings.target, reference=[bool(is_one) for is_one in reference])
    labels = labels_of(rows, reference, settings.target, ())
    return np.asarray(labels.targets * labels.deviation + labels.mean)


def _begin(settings: EvaluateSettings, config: Mapping[str, Any], raters: Mapping[str, Rater]) -> None:
    """Make the run folder, or make sure that the one there is of the same evaluation."""
    import yaml

    path = settings.out / "config.yaml"
    told = {"command": "evaluate", **{key: value for key, value in config.items() if key != "device"}}
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    probes = {name: _probe(rater) for name, rater in raters.items()}
    if path.exists():
        kept = read_json(settings.out / PROBES, "probes of the raters") if (settings.out / PROBES).exists() else None
        if path.read_text(encoding="utf-8") != text or not isinstance(kept, dict) or kept.keys() != probes.keys():
            raise UserError(f"out={settings.out} holds another run; choose another folder with out=FOLDER.")
        for name, probe in probes.items():
            if len(kept[name]) != len(probe) or not np.allclose(kept[name], probe, atol=1e-3):
                raise UserError(f"rater {name} has changed since out={settings.out} was begun; choose another folder.")
        return
    write_json(settings.out / PROBES, probes)
    write_text(path, text)


def _probe(rater: Rater) -> list[float]:
    """What each member says of a fixed noise: another training gives other numbers."""
    audio = 0.1 * torch.randn(1, 2, 64_000, generator=torch.Generator().manual_seed(0))
    return [float(value) for value in rater.rate(audio.to(rater.device), 32_000)[0]]


def _rate(
    recordings: Recordings, raters: Mapping[str, Rater], chosen: NDArray[np.intp], settings: EvaluateSettings
) -> dict[int, dict[str, list[float]]]:
    """{recording: {rater: members' ratings}}, from ratings.csv where they stand there already."""
    cells = {name: [f"{name}:{member}" for member in rater.names] for name, rater in raters.items()}
    columns = ["name", "seconds", *(cell for names in cells.values() for cell in names)]
    rated: dict[int, dict[str, list[float]]] = {}
    with Table(settings.out / RATINGS, columns) as table, Progress(len(chosen), "rating", unit="song") as progress:
        for done, index in enumerate(map(int, chosen), 1):
            name = recordings.rows[index].name
            try:
                if name not in table:
                    ratings = [recordings.rate(index, rater, settings.window_seconds) for rater in raters.values()]
                    table.append([name, recordings.seconds(index), *(float(value) for row in ratings for value in row)])
                rated[index] = {rater: table.numbers(name, names) for rater, names in cells.items()}
            except Unusable as error:
                _skip(recordings, index, error.kind, str(error))
            progress.update(done)
    if not rated:
        raise UserError(f"no recording of split={settings.split} can be rated: {sources.told(recordings.skipped)}.")
    return rated


def _features(
    recordings: Recordings, fitted: NDArray[np.intp], rated: Mapping[int, object], targets: Vector,
    settings: EvaluateSettings,
) -> dict[str, NDArray[np.float64]]:  # fmt: skip
    """{"loudness", "duration" (recordings, 1), "features" (recordings, NAMES)}, NaN where not computed."""
    silent = isinstance(recordings, PreparedRecordings) and recordings.prepared.kind == "mel"
    training = [] if settings.split == EVERYTHING else [int(index) for index in fitted if np.isfinite(targets[index])]
    wanted = sorted({*rated, *training})
    columns = ["duration"] if silent else ["duration", "loudness", *NAMES]
    values = np.full((len(recordings.rows), len(columns)), np.nan)
    with (
        Table(settings.out / FEATURES, ["name", *columns]) as table,
        Progress(len(wanted), "hearing for the baselines", unit="song") as progress,
    ):
        for done, index in enumerate(wanted, 1):
            name = recordings.rows[index].name
            try:
                if name not in table:
                    table.append([name, *_heard(recordings, index, settings.feature_seconds, silent)])
                values[index] = table.numbers(name, columns)
            except (Unusable, UserError) as error:
                _skip(recordings, index, error.kind if isinstance(error, Unusable) else "undecodable", str(error))
            progress.update(done)
    heard = {"duration": values[:, :1], "loudness": values[:, 1:2], "features": values[:, 2:]}
    return {name: matrix for name, matrix in heard.items() if matrix.shape[1]}


def _skip(recordings: Recordings, index: int, kind: str, reason: str) -> None:
    """Name a recording that cannot be used, once."""
    row = recordings.rows[index]
    if all(other.path != row.name for other in recordings.skipped):
        recordings.skipped.append(Skipped(row.line, row.name, reason, kind))


def _heard(recordings: Recordings, index: int, most: float, silent: bool) -> list[float]:
    seconds = recordings.seconds(index)
    if silent:
        return [seconds]
    length = min(seconds, most)
    audio, rate = recordings.piece(index, (seconds - length) / 2.0, length)
    return [seconds, loudness(audio.numpy(), rate), *(float(value) for value in features(audio.numpy(), rate))]


def _assembled(
    settings: EvaluateSettings, recordings: Recordings, raters: dict[str, Rater],
    rated: Mapping[int, Mapping[str, Sequence[float]]], columns: dict[str, NDArray[np.float64]], targets: Vector,
    fitted: NDArray[np.intp],
) -> Evaluation:  # fmt: skip
    """Ratings of raters and baselines over the recordings that all of them rated."""
    artists = bootstrap.clusters([row.artist for row in recordings.rows])
    by_baseline = _baselines(settings, recordings, columns, targets, fitted, np.array(sorted(rated)), artists)
    places = np.array([place for place in sorted(rated) if all(np.isfinite(v[place]) for v in by_baseline.values())])
    if not len(places):
        places, by_baseline = np.array(sorted(rated)), {}
    groups = np.unique(artists[places], return_inverse=True)[1].astype(np.intp)
    evaluation = Evaluation(settings, recordings, raters, places, targets[places], groups)
    for name, rater in raters.items():
        members = np.array([rated[place][name] for place in places])
        evaluation.members[name] = members
        evaluation.systems[name] = members.mean(axis=1)
        if has_scale(rater, settings.target):
            evaluation.systems[name] = in_target_units(rater, members.mean(axis=1), settings.target)
            evaluation.scaled.add(name)
    for name, values in by_baseline.items():
        evaluation.systems[name] = values[places]
        evaluation.scaled.add(name)
    if settings.baselines and not by_baseline:
        evaluation.notes.append(
            f"There are no baselines: they need {baselines.FEWEST} training recordings with a target to be fitted on."
        )
    return evaluation


def _baselines(
    settings: EvaluateSettings, recordings: Recordings, columns: dict[str, NDArray[np.float64]], targets: Vector,
    fitted: NDArray[np.intp], rated: NDArray[np.intp], artists: NDArray[np.intp],
) -> dict[str, Vector]:  # fmt: skip
    """Baselines fitted on training; with split=all, on the artists of the other folds."""
    if not settings.baselines:
        return {}
    usable = np.isfinite(targets)
    for matrix in columns.values():
        usable &= np.isfinite(matrix).all(axis=1)
    if settings.split == EVERYTHING:
        rated = rated[usable[rated]]
        groups = np.unique(artists[rated], return_inverse=True)[1].astype(np.intp)
        asked = [rated[part] for part in baselines.folds(groups)] if len(rated) else []
        known = [np.setdiff1d(rated, part) for part in asked]
    else:
        asked, known = [rated[usable[rated]]], [np.setdiff1d(fitted[usable[fitted]], rated)]
    return baselines.fit_and_rate(columns, recordings.rows, settings.group, targets, known, asked, settings.seed)


def has_scale(rater: Rater, target: str) -> bool:
    """Whether a rater was trained on this target, so that its ratings can be turned into it."""
    return all("target_mean" in about and about.get("target", "popularity") == target for about in rater.about)


def in_target_units(rater: Rater, ratings: Vector, target: str) -> Vector:
    """Standardised ratings (songs,) as values of the target they were trained on."""
    if target == "popularity":
        return np.asarray(rater.to_popularity(torch.from_numpy(ratings)).numpy(), np.float64)
    mean, deviation = (
        np.mean([float(about[f"target_{key}"]) for about in rater.about]) for key in ("mean", "deviation")
    )
    return np.asarray(mean + deviation * ratings)


def _write_predictions(evaluation: Evaluation) -> None:
    """predictions.csv: every recording measured, its target, and what each system says in the target's unit."""
    import csv
    import io

    rows = [evaluation.recordings.rows[place] for place in evaluation.places]
    group = evaluation.settings.group
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "artist", group or "group", "target", *evaluation.systems])
    for number, row in enumerate(rows):
        values = [float(values[number]) for values in evaluation.systems.values()]
        writer.writerow([row.name, row.artist, row.labels.get(group, ""), float(evaluation.targets[number]), *values])
    write_text(Path(evaluation.settings.out) / "predictions.csv", text.getvalue())
