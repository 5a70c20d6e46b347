"""How well the appeal rater ranks recordings it never heard: `python -m hitchain.rater.appeal.evaluate out=FOLDER`.

A pair is two crops of one test recording, from different places or degraded by different faults, whose strengths differ
by at least 0.3. Accuracy is the share of pairs in which the less degraded one is rated higher, in each recording and
then averaged over recordings, so that one with many pairs counts no more than another. Intervals are 95 % bootstrap
percentiles over recordings, since pairs of one recording are not independent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hitchain.errors import UserError
from hitchain.files import write_json
from hitchain.rater.appeal import corpus, faults
from hitchain.rater.appeal.examples import WORST_CASE, Examples, join, prepare
from hitchain.rater.rater import Rater, load, members

LEAST_DIFFERENCE = 0.3
TEST_GROUPS = 300
BOOTSTRAPS = 1000

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Choice = Callable[[str, list[str]], bool]


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


def evaluate(raters: dict[str, Rater], examples: Examples) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracies of each rater: over all pairs, per kind of recording, per fault, and against worst cases."""
    kinds = {
        "real recordings": lambda name, chain: not name.startswith("song-"),
        "rendered songs": lambda name, chain: name.startswith("song-"),
    }
    table: dict[str, dict[str, dict[str, float]]] = {}
    for rater_name, rater in raters.items():
        ratings = np.mean([ratings_of(network, examples) for network in rater.networks], axis=0)
        everything = pairs_of(examples)
        rows = {
            "all": accuracy(ratings, everything, examples.recordings),
            "all, different crops": accuracy(ratings, pairs_of(examples, same_crop=False), examples.recordings),
            "all, same crop": accuracy(ratings, pairs_of(examples, same_crop=True), examples.recordings),
        }
        for kind, choice in kinds.items():
            rows[kind] = accuracy(ratings, _where(everything, examples, choice), examples.recordings)
        for fault in ("playing", *faults.FAULTS):
            rows[fault] = accuracy(ratings, _where(everything, examples, _only(fault)), examples.recordings)
        rows["worst case under untouched"] = _worst_cases(ratings, examples)
        table[rater_name] = rows
    return table


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


def format_table(table: dict[str, dict[str, dict[str, float]]]) -> str:
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


def shipped_raters() -> dict[str, Rater]:
    """The ensemble, its members and the held-out member, by name."""
    singles = {rater.names[0]: rater for rater in members("appeal")}
    return {"appeal": load("appeal"), **singles, "appeal/heldout": load("appeal/heldout")}


def unheard_examples(data: Path, out: Path, seed: int = 0) -> Examples:
    """The test split's examples, made in `out` where they are not there yet."""
    recordings = corpus.prepare(data, out / "corpus", seed)
    return join([prepare(recordings, "test", 0, TEST_GROUPS, out / "corpus", out / "examples", seed)])


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
        table = evaluate(shipped_raters(), unheard_examples(Path(given["data"] or out), out))
        write_json(out / "evaluation.json", table)
        sys.stdout.write(format_table(table) + "\n")
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
