"""How well the appeal rater ranks recordings it never heard, and how far it is fooled by its own climb.

    python -m hitchain.rater.appeal.evaluate data=FOLDER out=FOLDER

A pair is two crops of one test recording, from different places or degraded by different faults, whose strengths differ
by at least 0.3. Accuracy is the share of pairs in which the less degraded one is rated higher, in each recording and
then averaged over recordings, so that one with many pairs counts no more than another. Intervals are 95 % bootstrap
percentiles over recordings, since pairs of one recording are not independent.

The climb is of the waveform, 100 steps from crops of test recordings: what the climbed members gain by it, and what
the judges that are not climbed make of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hitchain.errors import UserError
from hitchain.files import write_json
from hitchain.rater.appeal import corpus, faults, rounds, transfer
from hitchain.rater.appeal.corpus import RATE
from hitchain.rater.appeal.examples import WORST_CASE, Examples, prepare
from hitchain.rater.appeal.judge import rated_by_trees
from hitchain.rater.rater import SHIPPED_FOLDER, load, members
from hitchain.rater.trees import Trees
from hitchain.rater.trees import load as load_trees

LEAST_DIFFERENCE = 0.3
TEST_GROUPS = {"test": 300, "instruments": 100}
CLIMB_STARTS = 12
CLIMB_STEPS = 100
BOOTSTRAPS = 1000

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Choice = Callable[[str, list[str]], bool]
Ratings = dict[str, NDArray[np.float64]]
Table = dict[str, dict[str, dict[str, float]]]
"""Rater -> row -> accuracy, its interval, and how many pairs and recordings there were."""


def pairs_of(examples: Examples, least: float = LEAST_DIFFERENCE, same_crop: bool | None = None) -> Pairs:
    """Indices (better, worse) of all pairs within a recording at least `least` apart in strength.

    Args:
        same_crop: True keeps pairs of the same crop only, False pairs of different crops only, None both.
    """
    better, worse = [], []
    names = np.array(examples.recordings)
    for name in sorted(set(examples.recordings) - {WORST_CASE}):
        rows = np.flatnonzero(names == name)
        target, group = examples.targets[rows], examples.groups[rows]
        chosen = target[:, None] - target[None, :] >= least - 1e-6
        if same_crop is not None:
            chosen &= (group[:, None] == group[None, :]) == same_crop
        first, second = np.nonzero(chosen)
        better.append(rows[first])
        worse.append(rows[second])
    return np.concatenate(better), np.concatenate(worse)


def accuracy(
    ratings: NDArray[np.float64], pairs: Pairs, recordings: list[str], bootstraps: int = BOOTSTRAPS, seed: int = 0
) -> dict[str, float]:
    """Pairwise accuracy as the mean over recordings, its 95 % interval, and how many pairs and recordings there were.

    `pooled` is the accuracy over all pairs alike, in which recordings with many crops weigh more.
    """
    better, worse = pairs
    right = (ratings[better] > ratings[worse]).astype(float)
    names, index = np.unique(np.array(recordings)[better], return_inverse=True)
    if len(names) == 0:
        return {
            "accuracy": float("nan"),
            "pooled": float("nan"),
            "low": float("nan"),
            "high": float("nan"),
            "pairs": 0,
            "recordings": 0,
        }
    shares = np.bincount(index, right, len(names)) / np.bincount(index, minlength=len(names))
    drawn = np.random.default_rng(seed).integers(0, len(names), (bootstraps, len(names)))
    low, high = np.quantile(shares[drawn].mean(1), [0.025, 0.975])
    return {
        "accuracy": float(shares.mean()), "pooled": float(right.mean()), "low": float(low), "high": float(high),
        "pairs": len(better), "recordings": len(names),
    }  # fmt: skip


@torch.no_grad()
def ratings_of(network: nn.Module, examples: Examples, batch: int = 128) -> NDArray[np.float64]:
    """A network's rating of every example."""
    parts = [
        network(torch.from_numpy(np.asarray(examples.frames[start : start + batch], np.float32)))
        for start in range(0, len(examples.targets), batch)
    ]
    result: NDArray[np.float64] = torch.cat(parts).double().numpy()
    return result


def evaluate(ratings: Mapping[str, NDArray[np.float64]], examples: Examples) -> Table:
    """Accuracies of each rater: over all pairs, per kind of recording, per fault, and against worst cases.

    Args:
        ratings: rater -> its ratings of the examples.
    """
    kinds = {
        "real recordings": lambda name, chain: not name.startswith("song-"),
        "rendered songs": lambda name, chain: name.startswith("song-"),
    }
    table: Table = {}
    for rater_name, own in ratings.items():
        everything = pairs_of(examples)
        rows = {
            "all": accuracy(own, everything, examples.recordings),
            "all, different crops": accuracy(own, pairs_of(examples, same_crop=False), examples.recordings),
            "all, same crop": accuracy(own, pairs_of(examples, same_crop=True), examples.recordings),
        }
        for kind, choice in kinds.items():
            rows[kind] = accuracy(own, _where(everything, examples, choice), examples.recordings)
        for fault in ("playing", *faults.FAULTS):
            rows[fault] = accuracy(own, _where(everything, examples, _only(fault)), examples.recordings)
        rows["worst case under untouched"] = _worst_cases(own, examples)
        table[rater_name] = rows
    return table


def evaluate_instruments(ratings: Mapping[str, NDArray[np.float64]], examples: Examples) -> Table:
    """Accuracies of each rater on single instruments: rendered ones, and dry takes of guitar and bass."""
    rows = {
        "single instruments, rendered": lambda name, chain: name.startswith("solo-"),
        "dry guitar and bass takes": lambda name, chain: name.startswith("dry-"),
    }
    pairs = pairs_of(examples)
    return {
        rater_name: {
            row: accuracy(own, _where(pairs, examples, choice), examples.recordings) for row, choice in rows.items()
        }
        for rater_name, own in ratings.items()
    }


def _only(fault: str) -> Choice:
    return lambda name, chain: chain == [fault]


def _where(pairs: Pairs, examples: Examples, choice: Choice) -> Pairs:
    """The pairs whose worse crop satisfies `choice(recording, chain)`."""
    kept = np.array([choice(examples.recordings[row], examples.chains[row]) for row in pairs[1]], bool)
    return pairs[0][kept], pairs[1][kept]


def _worst_cases(ratings: NDArray[np.float64], examples: Examples) -> dict[str, float]:
    """How often noise, tones, clicks and silence are rated under an untouched crop."""
    clean = np.flatnonzero(examples.targets == 1.0)
    worst = np.flatnonzero(examples.groups < 0)
    first, second = np.meshgrid(clean, worst, indexing="ij")
    return accuracy(ratings, (first.ravel(), second.ravel()), examples.recordings)


def format_table(table: Table) -> str:
    """The accuracies as a Markdown table: a row per kind of pair, a column per rater."""
    raters = list(table)
    lines = ["| pairs | " + " | ".join(raters) + " | number of pairs, recordings |", "|---" * (len(raters) + 2) + "|"]
    for row, first in table[raters[0]].items():
        cells = (
            f"{table[r][row]['accuracy']:.3f} ({table[r][row]['low']:.3f} to {table[r][row]['high']:.3f})"
            for r in raters
        )
        lines.append(f"| {row} | " + " | ".join(cells) + f" | {first['pairs']:.0f}, {first['recordings']:.0f} |")
    return "\n".join(lines)


def shipped_ratings(
    data: Path, out: Path, split: str, seed: int = 0
) -> tuple[dict[str, NDArray[np.float64]], Examples]:
    """The ratings that the shipped rater, its members and its judges give the examples of an unheard split."""
    recordings = corpus.prepare(data, out / "corpus", seed)
    groups = TEST_GROUPS[split]

    def heard(hear: str) -> Examples:
        return prepare(recordings, split, 0, groups, out / "corpus", out / "examples", seed, hear)

    examples = heard("frames")
    ratings = {rater.names[0]: ratings_of(rater.networks[0], examples) for rater in members("appeal")}
    together = np.mean(list(ratings.values()), axis=0)
    judge = ratings_of(load("appeal/heldout").networks[0], examples)
    trees = shipped_trees().predict(heard("features").frames)
    return {"appeal": together, **ratings, "appeal/heldout": judge, "appeal/trees": trees}, examples


def shipped_trees() -> Trees:
    return load_trees(SHIPPED_FOLDER / "appeal" / "trees.safetensors")


def climb_shipped(data: Path, out: Path, seed: int = 0) -> str:
    """What the shipped rater and its judges say of audio whose waveform was climbed against it, as a Markdown table."""
    recordings = corpus.prepare(data, out / "corpus", seed)
    random = np.random.default_rng([seed, 21])
    begin = rounds.starts(recordings, "test", CLIMB_STARTS, out / "corpus", random, degraded=0.5)
    appeal, heldout = load("appeal"), load("appeal/heldout")
    heard = transfer.follow(
        partial(rounds.climb_waveform, steps=CLIMB_STEPS), begin.audio, lambda audio: appeal(audio, RATE), CLIMB_STEPS
    )
    raters: dict[str, rounds.Rate] = {
        "appeal": lambda audio: appeal(audio, RATE),
        "appeal/heldout": lambda audio: heldout(audio, RATE),
        "appeal/trees": rated_by_trees(shipped_trees()),
    }
    added = 10.0 * np.log10(np.square(heard[-1] - heard[0], dtype=np.float64).mean((1, 2)))
    level = 10.0 * np.log10(np.square(heard[0], dtype=np.float64).mean((1, 2)))
    lines = [
        f"{CLIMB_STEPS} steps on the waveform, {CLIMB_STARTS} crops; what was added lies "
        f"{np.mean(level - added):.0f} dB under the recording.",
        "",
        "| rater | before | after |",
        "|---|---|---|",
    ]
    for name, rate in raters.items():
        path = transfer.judged(rate, heard)
        lines.append(f"| {name} | {path[0].mean():.2f} | {path[-1].mean():.2f} |")
    return "\n".join(lines)


def options(arguments: list[str], **defaults: str) -> dict[str, str]:
    """key=value arguments over defaults. Raises `UserError` naming the keys there are."""
    values = dict(defaults)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key not in defaults or not equals:
            raise UserError(f"{argument!r} is not understood; give key=value with key one of: {', '.join(defaults)}.")
        values[key] = value
    return values


def main(arguments: list[str]) -> int:
    try:
        given = options(arguments, data="", out="appeal")
        out = Path(given["out"])
        data = Path(given["data"] or out)
        table = evaluate(*shipped_ratings(data, out, "test"))
        for name, rows in evaluate_instruments(*shipped_ratings(data, out, "instruments")).items():
            table[name] |= rows
        write_json(out / "evaluation.json", table)
        sys.stdout.write(format_table(table) + "\n\n")
        sys.stdout.write(climb_shipped(data, out) + "\n")
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
