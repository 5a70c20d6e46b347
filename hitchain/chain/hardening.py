"""Members of the appeal rater made hard to fool, and which part of the recipe does it.

python -m hitchain.chain.hardening build data=FOLDER out=FOLDER       makes the shipped members, climbed chains included
python -m hitchain.chain.hardening ablation data=FOLDER out=FOLDER    measures the recipe, ingredient by ingredient

`build` is `hitchain.rater.appeal.build` with rounds of climbed effects, which the rater's own room cannot make. The
ablation fits a small member for each recipe and seed, climbs it through the waveform and through effects from crops of
recordings that nothing was fitted to, and asks judges of other architectures and recordings at an equal climbed gain.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.chain.effects_climb import climber
from hitchain.errors import UserError, nearest
from hitchain.files import read_json, replacing, write_json
from hitchain.rater import weights
from hitchain.rater.appeal import build as building
from hitchain.rater.appeal import corpus, rounds, transfer
from hitchain.rater.appeal.corpus import RATE, Recording
from hitchain.rater.appeal.evaluate import accuracy, options, pairs_of, ratings_of
from hitchain.rater.appeal.examples import Examples
from hitchain.rater.appeal.fit import Recipe, fit
from hitchain.rater.appeal.judge import fit_trees, rated_by_trees
from hitchain.rater.frontend import FrontEndSettings

WHOLE = Recipe(averaging=True, gradient_penalty=0.5, waveform_rounds=3, chain_rounds=3)
"""The recipe at the length of training of the ablation; what ships is trained longer (`building.ROBUST`)."""
PLAIN = Recipe(averaging=False)
RECIPES: dict[str, Recipe] = {
    "plain": PLAIN,
    "+ weight averaging": replace(PLAIN, averaging=True),
    "+ smoothed gradients": replace(PLAIN, gradient_penalty=WHOLE.gradient_penalty),
    "+ waveform rounds": replace(PLAIN, waveform_rounds=WHOLE.waveform_rounds),
    "+ chain rounds": replace(PLAIN, chain_rounds=WHOLE.chain_rounds),
    "all": WHOLE,
}
KINDS = ("waveform", "chain")
WAVEFORM_STEPS = 40
CHAIN_STEPS = 20
JUDGES = {"same": "judge, same recipe", "plain": "judge, plain", "trees": "trees"}
JUDGE_SEED = 77
CLIMB_IN_ROUNDS = climber(RATE, 0.05, 12)
GAIN = {"waveform": 0.5, "chain": 0.3}
"""The climbed gain at which judges are asked, in standard deviations of a rater's own ratings of the test crops."""


@dataclass(frozen=True)
class Setting:
    """What every member of an ablation shares.

    Attributes:
        first: examples that the members are fitted to.
        unheard: examples of recordings that nothing is fitted to; ratings are given in units of their spread.
        starts: crops of recordings that nothing is fitted to.
    """

    recordings: list[Recording]
    out: Path
    first: Examples
    unheard: Examples
    starts: Tensor


def ablate(data: Path, out: Path, seeds: int, steps: int, starts: int, names: list[str]) -> dict[str, Any]:
    """Fit, climb and judge a member of every recipe and seed; what is in out/ablation already is not made again.

    Args:
        data: the source material.
        seeds: members for each recipe.
        steps: batches to fit each member on.
        starts: crops that each member is climbed from.
        names: the recipes.
    """
    recordings = corpus.prepare(data, out / "corpus")
    first, unheard = (building.examples_of(recordings, split, out, 1) for split in ("first", "test"))
    random = np.random.default_rng(5)
    begin = rounds.starts(recordings, "test", starts, out / "corpus", random, degraded=0.5)
    setting = Setting(recordings, out, first, unheard, begin.audio)
    stems = {(name, seed): _stem(out, name, seed, steps) for seed in range(seeds) for name in names}
    for (name, seed), stem in stems.items():
        if not stem.with_suffix(".json").exists():
            _climb_member(setting, RECIPES[name], seed, steps, stem)
    common = {"plain": _judge(setting, "plain", 0, steps), "trees": _trees(setting)}
    measured: dict[str, Any] = {}
    for (name, seed), stem in stems.items():
        member = dict(read_json(stem.with_suffix(".json"), "ablation result"))
        if not all(set(JUDGES) <= set(member["paths"][kind]) for kind in KINDS):
            judges = {**common, "same": _judge(setting, name, seed, steps)}
            for kind in KINDS:
                heard = np.load(f"{stem}-{kind}.npy", mmap_mode="r")
                for judge, rate in judges.items():
                    member["paths"][kind][judge] = transfer.judged(rate, heard).tolist()
            write_json(stem.with_suffix(".json"), member)
        measured.setdefault(name, []).append(member)
    return measured


def _climb_member(setting: Setting, recipe: Recipe, seed: int, steps: int, stem: Path) -> None:
    """Fit a member and climb it; its accuracy and ratings go to a JSON file, the audio of its climbs beside it."""
    folder = setting.out / "corpus"
    feeding = building.feeding(recipe, setting.recordings, "first", folder, seed, CLIMB_IN_ROUNDS)
    member = fit("mel_cnn", setting.first, steps, seed, recipe=recipe, rounds=feeding)
    ratings = ratings_of(member, setting.unheard)
    rate = _scaled(rounds.rated_by(member), ratings)
    heard = {
        "waveform": transfer.follow(_waveform, setting.starts, rate, every=10),
        "chain": transfer.follow(climber(RATE, steps=CHAIN_STEPS), setting.starts, rate, every=4),
    }
    for kind, audio in heard.items():
        with replacing(f"{stem}-{kind}.npy") as temporary:
            np.save(temporary, audio)
    paths = {kind: {"climbed": transfer.judged(rate, audio).tolist()} for kind, audio in heard.items()}
    right = accuracy(ratings, pairs_of(setting.unheard), setting.unheard.recordings)
    write_json(stem.with_suffix(".json"), {"accuracy": right["accuracy"], "paths": paths})


def _judge(setting: Setting, name: str, seed: int, steps: int) -> rounds.Rate:
    """A network of another architecture, fitted by a recipe to other recordings: it is never climbed."""
    path = _stem(setting.out, "judge " + name, seed, steps).with_suffix(".safetensors")
    if not path.exists():
        recipe, own_seed = RECIPES[name], JUDGE_SEED + seed
        examples = building.examples_of(setting.recordings, "heldout", setting.out, 1)
        folder = setting.out / "corpus"
        feeding = building.feeding(recipe, setting.recordings, "heldout", folder, own_seed, CLIMB_IN_ROUNDS)
        fitted = fit("mel_gru", examples, steps, own_seed, recipe=recipe, rounds=feeding)
        weights.save(path, fitted, "mel_gru", {}, FrontEndSettings(), {"recipe": name, "split": "heldout"})
    network = weights.load(path)[0]
    return _scaled(rounds.rated_by(network), ratings_of(network, setting.unheard))


def _stem(out: Path, name: str, seed: int, steps: int) -> Path:
    """Where what belongs to a recipe, a seed and a length of training is kept."""
    return out / "ablation" / f"{name.replace('+ ', '').replace(' ', '_')}-{seed}-{steps}"


def _trees(setting: Setting) -> rounds.Rate:
    """Boosted trees, fitted to the recordings of the judges."""
    trees = fit_trees(building.examples_of(setting.recordings, "heldout", setting.out, 1, hear="features"))
    heard = building.examples_of(setting.recordings, "test", setting.out, 1, hear="features")
    return _scaled(rated_by_trees(trees), trees.predict(heard.frames))


def _scaled(rate: rounds.Rate, ratings: NDArray[np.float64]) -> rounds.Rate:
    spread = float(np.std(ratings))
    return lambda audio: rate(audio) / spread


def _waveform(rate: rounds.Rate, audio: Tensor, seed: int) -> Iterator[Tensor]:
    return rounds.climb_waveform(rate, audio, seed, steps=WAVEFORM_STEPS)


def table_of(measured: Mapping[str, list[dict[str, Any]]]) -> str:
    """What was measured as Markdown tables, one for each kind of climb, with a row for each recipe."""
    lines = []
    for kind in KINDS:
        lines += [
            f"Climbs of the {kind}, judged at a climbed gain of {GAIN[kind]:g}:",
            "",
            "| recipe | accuracy | climbed gain | " + " | ".join(JUDGES.values()) + " |",
            "|---" * (3 + len(JUDGES)) + "|",
        ]
        for name, members in measured.items():
            paths = [{key: np.array(value) for key, value in m["paths"][kind].items()} for m in members]
            rise = np.concatenate([path["climbed"][-1] - path["climbed"][0] for path in paths])
            right = np.mean([member["accuracy"] for member in members])
            cells = [f"{right:.3f}", f"{rise.mean():.2f}"]
            for judge in JUDGES:
                reached, agreed = transfer.pooled(paths, judge, GAIN[kind])
                value, low, high = transfer.transfer(reached, agreed)
                cells.append(f"{value:.2f} ({low:.2f} to {high:.2f})")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    try:
        command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
        if command == "build":
            return building.main(rest, CLIMB_IN_ROUNDS)
        if command != "ablation":
            raise UserError(f"{command!r} is not understood; give build or ablation, then key=value.")
        given = options(rest, data="", out="appeal", seeds="2", steps="400", starts="12", recipes=",".join(RECIPES))
        torch.set_num_threads(1)
        chosen = given["recipes"].split(",")
        if unknown := set(chosen) - set(RECIPES):
            raise UserError(f"no recipe {min(unknown)!r}; {nearest(min(unknown), RECIPES)}")
        seeds, steps, starts = (int(given[key]) for key in ("seeds", "steps", "starts"))
        measured = ablate(Path(given["data"]), Path(given["out"]), seeds, steps, starts, chosen)
        sys.stdout.write(table_of(measured) + "\n")
    except ValueError:
        sys.stderr.write("seeds, steps and starts are whole numbers.\n")
        return 2
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
