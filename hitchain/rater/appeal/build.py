"""Makes the appeal rater: `python -m hitchain.rater.appeal.build data=FOLDER out=FOLDER`.

Builds the corpus, the degraded examples, the members and the trees, and writes their weights and members.json to
out/appeal. Needs fluidsynth, the SoundFont of Debian's fluid-soundfont-gm and the package music21. What was made is
kept in `out`, so an interrupted build goes on where it stopped. The rounds of climbed effects need blocks, which this
room does not know: the shipped members were made by `python -m hitchain.chain.hardening build`, which adds them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hitchain.errors import UserError, nearest
from hitchain.files import write_json
from hitchain.rater import trees, weights
from hitchain.rater.appeal import corpus, rounds
from hitchain.rater.appeal.corpus import Recording
from hitchain.rater.appeal.evaluate import options
from hitchain.rater.appeal.examples import Examples, join, prepare
from hitchain.rater.appeal.fit import FeedBack, Recipe, fit
from hitchain.rater.appeal.judge import fit_trees
from hitchain.rater.frontend import FrontEndSettings


@dataclass(frozen=True)
class Member:
    """One network of the shipped rater: its name, architecture, the recordings it learns from and its own seed."""

    name: str
    architecture: str
    split: str
    seed: int


MEMBERS = (
    Member("0", "mel_cnn", "first", 0),
    Member("1", "mel_tcn", "second", 1),
    Member("heldout", "mel_gru", "heldout", 2),
)
TREES = "trees"
NAMES = (*(entry.name for entry in MEMBERS), TREES)
FILES = {"0": "0", "1": "1", "2": "heldout", "heldout": "heldout", TREES: TREES}
"""Name of a shipped member -> stem of its file. "2" and "heldout" are the same network."""

STEPS = 1800
ROBUST_STEPS = 1000
ROBUST_LEARNING_RATE = 1e-3
CHUNKS = 2
TREE_CHUNKS = 1
GROUPS_PER_CHUNK = 300
ROBUST = Recipe(averaging=True, gradient_penalty=0.25, waveform_rounds=6, chain_rounds=3)
WAVEFORM_STARTS = 16
CHAIN_STARTS = 12


def build(
    data: Path,
    out: Path,
    seed: int = 0,
    chunks: int = CHUNKS,
    steps: int = STEPS,
    names: Sequence[str] = NAMES,
    climb_chain: rounds.Climb | None = None,
) -> Path:
    """Make everything and return the folder of the weights.

    Args:
        data: the source material with its SOURCES.tsv.
        chunks: how many times `GROUPS_PER_CHUNK` crops to cut and degrade for each member.
        steps: batches to fit each member on.
        names: the members to make; the others' weights stay as they are.
        climb_chain: climbs audio through effects; None leaves the rounds of climbed effects out.
    """
    recordings = corpus.prepare(data, out / "corpus", seed)
    recipe = ROBUST if climb_chain is not None else replace(ROBUST, chain_rounds=0)
    about = {"trained_on": "degraded recordings; see MODEL_CARD.md"}
    for member in MEMBERS:
        if member.name not in names:
            continue
        examples = examples_of(recordings, member.split, out, chunks, seed)
        own_seed = seed * 100 + member.seed
        feed = feeding(recipe, recordings, member.split, out / "corpus", own_seed, climb_chain)
        network = _plain(member, examples, out, steps, own_seed)
        robust = own_seed + 50
        network = fit(
            member.architecture, examples, ROBUST_STEPS, robust, ROBUST_LEARNING_RATE, recipe, feed, start=network
        )
        path = out / "appeal" / f"{member.name}.safetensors"
        own_about = {"rater": f"appeal/{member.name}", **about, "split": member.split}
        weights.save(path, network, member.architecture, {}, FrontEndSettings(), own_about)
    if TREES in names:
        judge = fit_trees(examples_of(recordings, "heldout", out, TREE_CHUNKS, seed, hear="features"), seed)
        judge = replace(judge, about={**judge.about, "rater": f"appeal/{TREES}", **about, "split": "heldout"})
        trees.save(out / "appeal" / f"{TREES}.safetensors", judge)
    write_json(out / "appeal" / "members.json", {name: f"{stem}.safetensors" for name, stem in FILES.items()})
    return out / "appeal"


def _plain(member: Member, examples: Examples, out: Path, steps: int, seed: int) -> nn.Module:
    """The member before it is made hard to fool, from out/plain where it is there."""
    path = out / "plain" / f"{member.name}.safetensors"
    if not path.exists():
        network = fit(member.architecture, examples, steps, seed)
        weights.save(path, network, member.architecture, {}, FrontEndSettings(), {"split": member.split})
    return weights.load(path)[0]


def examples_of(
    recordings: list[Recording], split: str, out: Path, chunks: int, seed: int = 0, hear: str = "frames"
) -> Examples:
    """The first `chunks` chunks of a split's examples, made where they are not there yet."""
    folders = (out / "corpus", out / "examples")
    return join([prepare(recordings, split, k, GROUPS_PER_CHUNK, *folders, seed, hear) for k in range(chunks)])


def feeding(
    recipe: Recipe,
    recordings: list[Recording],
    split: str,
    folder: Path,
    seed: int,
    climb_chain: rounds.Climb | None = None,
) -> list[tuple[int, FeedBack]]:
    """The rounds that a recipe asks for: how many, and what each climbs.

    Raises:
        UserError: the recipe asks for climbed effects and nothing is given that climbs them.
    """

    def waveforms(network: nn.Module, number: int) -> Examples:
        random = np.random.default_rng([seed, 11, number])
        begin = rounds.starts(recordings, split, WAVEFORM_STARTS, folder, random, degraded=0.5)
        return rounds.feed_back(network, rounds.climb_waveform, begin, number, chain=False)

    feed: list[tuple[int, FeedBack]] = [(recipe.waveform_rounds, waveforms)]
    if recipe.chain_rounds:
        if climb_chain is None:
            raise UserError("rounds of climbed effects need what climbs them: see hitchain.chain.hardening.")
        climb = climb_chain

        def chains(network: nn.Module, number: int) -> Examples:
            random = np.random.default_rng([seed, 12, number])
            begin = rounds.starts(recordings, split, CHAIN_STARTS, folder, random, degraded=0.0)
            return rounds.feed_back(network, climb, begin, number, chain=True)

        feed.append((recipe.chain_rounds, chains))
    return feed


def main(arguments: list[str], climb_chain: rounds.Climb | None = None) -> int:
    try:
        given = options(
            arguments,
            data="",
            out="appeal",
            seed="0",
            chunks=str(CHUNKS),
            steps=str(STEPS),
            members=",".join(NAMES),
            threads="2",
        )
        torch.set_num_threads(int(given["threads"]))
        chosen = given["members"].split(",")
        if unknown := set(chosen) - set(NAMES):
            raise UserError(f"no member {min(unknown)!r}; {nearest(min(unknown), NAMES)}")
        seed, chunks, steps = (int(given[key]) for key in ("seed", "chunks", "steps"))
        folder = build(Path(given["data"]), Path(given["out"]), seed, chunks, steps, chosen, climb_chain)
        sys.stdout.write(f"weights in {folder}\n")
    except ValueError:
        sys.stderr.write("seed, chunks, steps and threads are whole numbers.\n")
        return 2
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
