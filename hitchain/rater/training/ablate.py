"""`hitchain ablate`: what each augmentation, or each loss, does to the validation loss.

Every variant is trained with the same seeds on the same recordings; all are measured on the same bootstrap draws of
artists and seeds, so that differences between variants are paired. Validation recordings also decide when to stop:
the figures compare variants, and say a little too much good of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError, nearest
from hitchain.files import write_json, write_text
from hitchain.rater.evaluation.bootstrap import Estimate, clusters, draws, interval
from hitchain.rater.evaluation.metrics import mse, spearman
from hitchain.rater.training import distributed
from hitchain.rater.training.augment import OFF, USUAL, AugmentSettings
from hitchain.rater.training.crops import Recordings
from hitchain.rater.training.run import RESULT, Task, train_one
from hitchain.rater.training.settings import TREES, TrainSettings

OVER = ("augmentation", "loss")
DRAWS = 1000


@dataclass(frozen=True)
class Variant:
    """A way to train, and the one that its effect is the difference from."""

    name: str
    settings: TrainSettings
    against: str


@dataclass(frozen=True)
class Row:
    """A line of the table: figures with 95 % intervals over artists and seeds."""

    name: str
    against: str
    validation_loss: Estimate
    spearman: Estimate
    effect: Estimate


def variants(over: str, settings: TrainSettings) -> list[Variant]:
    """The variants of an ablation.

    Over the augmentations: none, all, each alone (against none) and all but each (against all); "on" is as far as the
    settings say, or as far as `augment.USUAL` where they have it off. Over the losses: squared error, ranking, both,
    with plain and A/B pairs (against squared error).
    """
    if over not in OVER:
        raise UserError(f"ablate.over={over!r}; {nearest(str(over), OVER)}")
    if over == "loss":
        kinds = [("pairwise", "uniform"), ("pairwise", "ab"), ("both", "uniform"), ("both", "ab")]
        first = Variant("mse", replace(settings, loss="mse"), "mse")
        return [first] + [
            Variant(f"{loss}, {pairs} pairs", replace(settings, loss=loss, pair_sampling=pairs), "mse")
            for loss, pairs in kinds
        ]
    names = [entry.name for entry in fields(AugmentSettings)]
    off, on = asdict(OFF), {name: getattr(settings, name) or asdict(USUAL)[name] for name in names}
    return [
        Variant("none", replace(settings, **off), "none"),
        Variant("all", replace(settings, **on), "none"),
        *(Variant(f"only {name}", replace(settings, **{**off, name: on[name]}), "none") for name in names),
        *(Variant(f"without {name}", replace(settings, **{**on, name: off[name]}), "all") for name in names),
    ]


def ablate(recordings: Recordings, out: str | Path, settings: TrainSettings, over: str, seeds: int) -> list[Row]:
    """Train every variant with every seed; what is done is not done again.

    Args:
        out: a folder a variant and seed in it, ablation.csv and result.json.
        over: "augmentation" or "loss".
        seeds: how many trainings of each variant, with seeds from `settings.seed` up.

    Raises:
        UserError: `over` is unknown, the rater has no such choice, or the set cannot be used.
    """
    if settings.architecture == TREES:
        raise UserError(
            "hitchain ablate trains networks; rater=mfcc has neither augmentations nor losses to leave out."
        )
    folder, ways = Path(out), variants(over, settings)
    with distributed.joined(settings.device) as device:
        task = Task.of(recordings, settings)
        ratings = {way.name: _ratings(task, folder, way, seeds, device) for way in ways}
        rows = _table(task, ways, ratings, settings.seed)
        if distributed.rank() == 0:
            _write(folder, rows, task, over, seeds, settings)
    return rows


def _ratings(task: Task, folder: Path, way: Variant, seeds: int, device: str) -> NDArray[np.float64]:
    """(seeds, validation recordings), standardised."""
    rated = []
    for number in range(seeds):
        settings = replace(way.settings, seed=way.settings.seed + number)
        place = folder / way.name.replace(", ", "-").replace(" ", "-") / f"seed-{settings.seed}"
        trained = train_one(task, place, settings, device, f"{way.name}, seed {settings.seed}")
        rated.append(trained.ratings)
    return np.stack(rated)


def _table(task: Task, ways: list[Variant], ratings: Mapping[str, NDArray[np.float64]], seed: int) -> list[Row]:
    targets = task.labels.targets[task.validation]
    artists = [task.recordings.entries[place].row.artist for place in task.validation]
    measured = {name: _measure(rows, targets, artists, seed) for name, rows in ratings.items()}
    table = []
    for way in ways:
        (loss, losses), (rank, ranks) = measured[way.name]
        (other, others), _ = measured[way.against]
        effect = interval(loss - other, losses - others) if way.against != way.name else Estimate(None)
        table.append(Row(way.name, way.against, interval(loss, losses), interval(rank, ranks), effect))
    return table


def _measure(
    ratings: NDArray[np.float64], targets: NDArray[np.float64], artists: list[str], seed: int
) -> tuple[tuple[float, NDArray[np.float64]], tuple[float | None, NDArray[np.float64]]]:
    """Squared error and Spearman's rho, the mean over seeds, each with its bootstrap draws of artists and seeds."""
    groups, random = clusters(artists), np.random.default_rng([seed, 3])
    drawn: tuple[list[float], list[float]] = ([], [])
    if len(np.unique(groups)) >= 2:
        for picked in draws(groups, DRAWS, seed):
            chosen = random.integers(0, len(ratings), len(ratings))
            drawn[0].append(float(np.mean((ratings[chosen][:, picked] - targets[picked]) ** 2)))
            rank = _mean_rank(ratings[chosen][:, picked], targets[picked])
            drawn[1].append(np.nan if rank is None else rank)
    error = float(np.mean([mse(targets, row) for row in ratings]))
    return (error, np.array(drawn[0])), (_mean_rank(ratings, targets), np.array(drawn[1]))


def _mean_rank(ratings: NDArray[np.float64], targets: NDArray[np.float64]) -> float | None:
    values = [spearman(targets, row) for row in ratings]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def shown(rows: list[Row]) -> str:
    """The table as text."""
    lines = [f"{'variant':26}{'validation loss':24}{'Spearman':24}effect on the loss"]
    for row in rows:
        effect = "" if row.effect.value is None else f"{_told(row.effect, '+')} against {row.against}"
        lines.append(f"{row.name:26}{_told(row.validation_loss):24}{_told(row.spearman):24}{effect}".rstrip())
    return "\n".join(lines)


def _told(estimate: Estimate, sign: str = "") -> str:
    if estimate.value is None:
        return "-"
    value = f"{estimate.value:{sign}.3f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def _write(folder: Path, rows: list[Row], task: Task, over: str, seeds: int, settings: TrainSettings) -> None:
    figures = ("validation_loss", "spearman", "effect")
    header = ["variant", *(f"{figure}{end}" for figure in figures for end in ("", "_low", "_high")), "against"]
    lines = [",".join(header)]
    for row in rows:
        values = [value for figure in figures for value in getattr(row, figure).as_dict().values()]
        cells = ["" if value is None else f"{value:.6g}" for value in values]
        lines.append(",".join([f'"{row.name}"', *cells, row.against]))
    write_text(folder / "ablation.csv", "\n".join(lines) + "\n")
    result = {
        "command": "ablate", "seed": settings.seed, "over": over, "seeds": seeds, "songs": len(task.training),
        "validation_songs": len(task.validation), "variants": [asdict(row) for row in rows],
    }  # fmt: skip
    write_json(folder / RESULT, result)
