"""Optimizers against each other, and decisions against the blends they come from.

python -m hitchain.chain.optimizer_trial race seconds=8 seeds=3 [first=0] [songs=3] [out=FOLDER]
python -m hitchain.chain.optimizer_trial choices steps=40 seeds=3 [first=0] [songs=3] [out=FOLDER]

`race` gives every optimizer the same processor time of one thread on each song and seed, and prints what it gained on
the rating it climbed and on a held-out one. `choices` climbs songs with much to be chosen twice, once as
`optimizer=choices` does and once with the options blended to the end, and prints which share of the gain the decided
song keeps.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hitchain.chain import config as configs
from hitchain.chain.ascent import Ascent
from hitchain.chain.build import build
from hitchain.chain.commands import optimizer_of, patterns
from hitchain.chain.knobs import Relaxation
from hitchain.chain.objective import Objective
from hitchain.chain.objective.config import objective_of
from hitchain.chain.patch import Patch
from hitchain.errors import UserError, nearest
from hitchain.files import write_json

SHARED = ["song.length=6.0", "sample_rate=22050", "optimizer.window=2.0"]
AMPLIFIED = ["amp=tube", "cab=speaker", "mic=microphone", "effects=[parametric_eq,compressor]"]
RACED = {
    "additive": ["instrument=additive", "effects=[parametric_eq,compressor]"],
    "subtractive, amplified": ["instrument=subtractive", *AMPLIFIED],
    "amplifier to be chosen": ["instrument=pluck", *AMPLIFIED, "amp=selector"],
}
"""Songs of one track, by what is put in the place of the defaults."""
CHOSEN = {
    "pedal, amplifier, mic": [
        "instrument=pluck", "effects=[selector,parametric_eq]", "amp=selector", "cab=speaker", "mic=microphone",
        "learn=[effects.selector.selected,effects.parametric_eq.*_gain,amp.selected,amp.*_level,mic.*,mastering.*]",
    ],
    "waveform, microphone": [
        "instrument=subtractive", "effects=parametric_eq", "cab=speaker", "mic=selector",
        "learn=[instrument.*,effects.parametric_eq.*_gain,mic.selected,mic.*_level,mastering.*]",
    ],
    "instrument, pitch of each note": [
        "instrument=selector", "notes=melody", "effects=parametric_eq",
        "learn=[notes.step,instrument.selected,instrument.*_level,effects.*.*_gain,mastering.*]",
    ],
}  # fmt: skip
OPTIMIZERS = ("adam", "lbfgs", "cma", "random", "hybrid")
WITHOUT_END = ["optimizer.patience=1000000"]
PROBED = 2
"""Steps by which an optimizer's cost is measured before it is told how many it has."""
LOOKS = 0.85
"""Share of the time that is planned for steps; the rest is for looks."""
DRAWS = 2000


@dataclass(frozen=True)
class Climb:
    """What one climb came to: gains on the whole song over its start, and the processor time [s] it took."""

    song: str
    seed: int
    optimizer: str
    gain: float
    heldout: float
    steps: int
    seconds: float


def ascent_of(song: Sequence[str], optimizer: str, seed: int, *more: str) -> tuple[Ascent, Objective]:
    """A climb from its command line, and its objective; `heldout` is shown to nobody but the caller."""
    overrides = ["song=solo", f"optimizer={optimizer}", f"seed={seed}", *song, *SHARED, *WITHOUT_END, *more]
    config = configs.compose("optimize", overrides)
    built, objective = build(config), objective_of(config)
    name, schedule, settings = optimizer_of(config)
    learn = patterns(config["learn"] if config.get("learn") is not None else built.learn)
    climbed = Objective(objective.rating, None, config["objective"]["neutral"], config["objective"]["bounds"])
    return Ascent(built, climbed, learn, schedule, seed, None, name, settings), objective


@torch.no_grad()
def rated(ascent: Ascent, objective: Objective, patch: Patch) -> tuple[float, float]:
    """The best rating of a batch of patches on the whole song, and the held-out rating of the same one."""
    audio, rate = ascent.song(patch), ascent.song.sample_rate
    ratings, heldout = objective.rate(audio, rate), objective.rate_heldout(audio, rate)
    best = int(ratings.argmax())
    return float(ratings[best]), float("nan") if heldout is None else float(heldout[best])


def finish(ascent: Ascent, seconds: float = np.inf) -> float:
    """Climb to the end, or for so much processor time. Returns the time it took."""
    began = time.process_time()
    while not ascent.finished and time.process_time() - began < seconds:
        ascent.advance()
    return time.process_time() - began


def cost(song: Sequence[str], optimizer: str, *more: str) -> float:
    """Processor time of one step [s]."""
    ascent, _ = ascent_of(song, optimizer, 0, "optimizer.evaluate_every=1000", *more)
    ascent.advance()
    began = time.process_time()
    for _ in range(PROBED):
        ascent.advance()
    return (time.process_time() - began) / PROBED


def steps_in(seconds: float, costs: Mapping[str, float], optimizer: str, evolve: float) -> int:
    """How many steps an optimizer has time for."""
    own = costs.get(optimizer, evolve * costs["cma"] + (1.0 - evolve) * costs["adam"])
    return max(2, round(LOOKS * seconds / own))


def race(
    seconds: float, seeds: Sequence[int], names: Sequence[str], more: Sequence[str] = (), songs: int = len(RACED)
) -> list[Climb]:
    """Every optimizer on the first `songs` songs and every seed, for the same processor time. `more` are overrides for
    hybrid alone."""
    done = []
    for label, song in list(RACED.items())[:songs]:
        costs = {name: cost(song, name) for name in {*names, "adam", "cma"} - {"hybrid"}}
        for seed in seeds:
            for name in names:
                own = list(more) if name == "hybrid" else []
                evolve = getattr(ascent_of(song, name, seed, *own)[0].settings, "evolve", 0.0)
                steps = steps_in(seconds, costs, name, evolve)
                ascent, objective = ascent_of(song, name, seed, f"optimizer.steps={steps}", *own)
                before = rated(ascent, objective, ascent.song.start)
                spent = finish(ascent, seconds)
                after = rated(ascent, objective, ascent.result().patch)
                row = Climb(label, seed, name, after[0] - before[0], after[1] - before[1], ascent.state.step, spent)
                print(f"{label:<24}seed {seed}  {name:<8}gain {row.gain:.3f}  held out {row.heldout:.3f}  "
                      f"{row.steps} steps, {spent:.1f} s", flush=True)  # fmt: skip
                done.append(row)
    return done


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """The mean and its 95 % percentile bootstrap interval."""
    array = np.asarray(values)
    random = np.random.default_rng(seed)
    drawn = array[random.integers(0, len(array), (DRAWS, len(array)))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(array.mean()), float(low), float(high)


def told(values: Sequence[float]) -> str:
    mean, low, high = interval(values)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def race_table(climbs: Sequence[Climb]) -> str:
    """Gains by optimizer, and what hybrid gained more than each, as Markdown; intervals over songs and seeds."""
    by_name: dict[str, list[Climb]] = {}
    for climb in climbs:
        by_name.setdefault(climb.optimizer, []).append(climb)
    lines = ["| optimizer | gain | held-out gain | hybrid's gain over it | steps | seconds |", "|---" * 6 + "|"]
    for name, own in by_name.items():
        over = ""
        if "hybrid" in by_name and name != "hybrid":
            over = told([ours.gain - theirs.gain for ours, theirs in zip(by_name["hybrid"], own, strict=True)])
        steps, spent = np.mean([climb.steps for climb in own]), np.mean([climb.seconds for climb in own])
        gains = told([climb.gain for climb in own]), told([climb.heldout for climb in own])
        lines.append(f"| {name} | {gains[0]} | {gains[1]} | {over} | {steps:.0f} | {spent:.1f} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Decision:
    """One song and seed: ratings of the start, of the decided song, of the blend it was decided from, and of a climb
    that blends to the end."""

    song: str
    seed: int
    start: float
    decided: float
    blend: float
    to_the_end: float
    options: dict[str, str]

    @property
    def kept(self) -> float:
        """Share of the gain of the blend."""
        return (self.decided - self.start) / (self.blend - self.start)

    @property
    def kept_to_the_end(self) -> float:
        """Share of the gain of a climb that never decides, with as many steps."""
        return (self.decided - self.start) / (self.to_the_end - self.start)


def decide(steps: int, seeds: Sequence[int], more: Sequence[str] = (), songs: int = len(CHOSEN)) -> list[Decision]:
    """Climb the first `songs` songs with choices, decided and not."""
    from hitchain.blocks.parameter import Choice

    done = []
    for label, song in list(CHOSEN.items())[:songs]:
        for seed in seeds:
            shared = [f"optimizer.steps={steps}", "optimizer.batch=2"]
            ascent, objective = ascent_of(song, "choices", seed, *shared, *more)
            start = rated(ascent, objective, ascent.song.start)[0]
            finish(ascent)
            climbed = ascent.result()
            assert climbed.relaxed is not None
            blend, decided = (rated(ascent, objective, patch)[0] for patch in (climbed.relaxed, climbed.patch))
            options = {
                knob.name: knob.parameter.show(climbed.patch.settings[knob.path][knob.parameter.name][0].tolist())
                for knob in climbed.knobs.knobs
                if isinstance(knob.parameter, Choice)
            }
            control, _ = ascent_of(
                song, "adam", seed, *shared, "optimizer.decide_at=1.0", "optimizer.temperature=[1,1]"
            )
            finish(control)
            blended = control.knobs.apply(control.optimizer.leaders(), control.song.start, Relaxation(1.0))
            row = Decision(label, seed, start, decided, blend, rated(control, objective, blended)[0], options)
            print(f"{label:<32}seed {seed}  {start:.3f} -> {decided:.3f}  blend {row.blend:.3f}, kept {row.kept:.2f}  "
                  f"to the end {row.to_the_end:.3f}, kept {row.kept_to_the_end:.2f}", flush=True)  # fmt: skip
            done.append(row)
    return done


def decision_table(decisions: Sequence[Decision]) -> str:
    """Kept shares by song, as Markdown: of all gains together, and the least."""
    lines = [
        "| to be chosen | start | decided | blend | kept | blended to the end | kept | least kept |",
        "|---" * 8 + "|",
    ]
    for label in [*dict.fromkeys(row.song for row in decisions), "all"]:
        own = [row for row in decisions if label in (row.song, "all")]
        start, decided, blend, end = (
            float(np.mean([getattr(row, key) for row in own])) for key in ("start", "decided", "blend", "to_the_end")
        )
        kept, all_along = (decided - start) / (blend - start), (decided - start) / (end - start)
        least = min(min(row.kept, row.kept_to_the_end) for row in own)
        lines.append(
            f"| {label} | {start:.3f} | {decided:.3f} | {blend:.3f} | {kept:.2f} | {end:.3f} | {all_along:.2f} "
            f"| {least:.2f} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str]) -> int:
    """See the module."""
    given: dict[str, str] = {"seconds": "8", "steps": "40", "seeds": "3", "first": "0", "songs": "3", "out": ""}
    command, rest = (words[0], words[1:]) if words else ("", [])
    more = [word for word in rest if word.startswith("optimizer.")]
    try:
        if command not in ("race", "choices"):
            raise UserError(f"{command!r} is not understood; give race or choices, then key=value.")
        for word in rest:
            key, _, value = word.partition("=")
            if key not in given and word not in more:
                raise UserError(f"unknown key '{key}'; {nearest(key, given)}")
            given[key] = value
        seeds = range(int(given["first"]), int(given["first"]) + int(given["seeds"]))
        torch.set_num_threads(1)
        rows: Sequence[Any]
        if command == "race":
            names = given.get("optimizer.name", ",".join(OPTIMIZERS)).split(",")
            own = [word for word in more if not word.startswith("optimizer.name")]
            rows = race(float(given["seconds"]), seeds, names, own, int(given["songs"]))
            table = race_table(rows)
        else:
            rows = decide(int(given["steps"]), seeds, more, int(given["songs"]))
            table = decision_table(rows)
    except ValueError:
        print("seconds, steps, seeds, first and songs are numbers.", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table)
    if given["out"]:
        write_json(Path(given["out"]) / f"{command}.json", {"command": command, "rows": [asdict(row) for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
