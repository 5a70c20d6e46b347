"""How well the realness critic works: `python -m hitchain.chain.realness_trial data=FOLDER [out=FOLDER] [steps=16]`.

Three questions, each answered with numbers: does it tell recordings it never heard, by artists it never heard, from
output it never heard, and does it say how sure it is; does it do so by anything trivial; and does a climb with the
critic as a term stay nearer to recordings than one without, at the same gain in rating. `data` is the folder of source
material (its held-out recordings do not ship). Takes some minutes of one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.chain.ascent import Ascent, Schedule
from hitchain.chain.chain import Song, Window
from hitchain.chain.objective import Heard, Objective, Term, Weighted
from hitchain.chain.patch import Patch
from hitchain.errors import UserError, nearest
from hitchain.files import read_audio, write_json
from hitchain.rater.critic import Critic, real
from hitchain.rater.critic.build import HELD_OUT
from hitchain.rater.critic.calibration import expected_calibration_error
from hitchain.rater.critic.disturb import DISTURBANCES
from hitchain.rater.evaluation.bootstrap import Estimate, clusters, interval, measure
from hitchain.rater.evaluation.metrics import Metric, pairwise_accuracy
from hitchain.rater.rater import Rater, load, members

SECONDS = 4.0
EXCERPTS = 5
DRAWS = 1000
SONGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "demo": ("demo", ()),
    "solo, additive": ("solo", ()),
    "solo, fm": ("solo", ("instrument=fm",)),
}
"""Songs whose output the critic learns from; fresh output is of other patches and windows of them."""
STRANGERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "solo, organ": ("solo", ("instrument=organ",)),
    "solo, subtractive": ("solo", ("instrument=subtractive", "amp=tube", "cab=speaker", "mic=microphone")),
}
"""Songs of instruments that the critic never learns from."""


@dataclass(frozen=True)
class Sound:
    """Four seconds of a recording or of output: (1, channels, samples). `group`: the recording, or the patch."""

    group: str
    audio: Tensor
    sample_rate: int


class Realness(Term):
    """log P(real) by a critic that learns from what a climb puts out; remembers the patches heard now and then."""

    def __init__(self, critic: Critic, every: int) -> None:
        self.critic = critic
        self.every = every
        self.heard = 0
        self.patches: list[Patch] = []

    def measure(self, heard: Heard) -> Tensor:
        return self.critic.term(heard.audio, heard.sample_rate)

    def learn(self, heard: Heard) -> None:
        self.critic.update(heard.audio, heard.sample_rate)
        if self.heard % self.every == 0 and heard.patch is not None:
            self.patches.append(heard.patch.map(lambda value: value.detach()))
        self.heard += 1


@dataclass(frozen=True)
class Trail:
    """A climb as seen afterwards: gains in rating (points,) and log-odds (points, windows)."""

    gains: NDArray[np.float64]
    log_odds: NDArray[np.float64]


def recordings(data: Path) -> list[Sound]:
    """Excerpts of the recordings that no critic learns from."""
    sounds = []
    for file in HELD_OUT:
        audio, rate = read_audio(data / file)
        length = round(SECONDS * rate)
        for start in np.linspace(0.02, 0.98, EXCERPTS) * (audio.shape[-1] - length):
            sounds.append(Sound(file, audio[None, :, int(start) : int(start) + length], rate))
    return sounds


@torch.no_grad()
def output(songs: Mapping[str, tuple[str, tuple[str, ...]]], patches: int, seed: int) -> list[Sound]:
    """Windows of songs, each of a patch of its own; those in which next to nothing sounds are passed over."""
    sounds = []
    for number, (name, (kind, overrides)) in enumerate(songs.items()):
        song = Song.load(kind, overrides)
        random = np.random.default_rng([seed, number])
        batch = song.patch(batch=patches + 1, seed=seed * 100 + number, spread=0.15)
        for index in range(1, patches + 1):
            for _ in range(8):
                window = Window(float(random.uniform(0.0, song.length - SECONDS)), SECONDS)
                audio = song(batch.item(index), window)
                if float(audio.square().mean().sqrt()) > 0.01:
                    sounds.append(Sound(f"{name} {seed}.{index}", audio, song.sample_rate))
                    break
    return sounds


@torch.no_grad()
def listen(critic: Critic, sounds: Sequence[Sound]) -> NDArray[np.float64]:
    """The critic's log-odds for each: (sounds,)."""
    return np.array([float(critic(sound.audio, sound.sample_rate)) for sound in sounds])


def separation(critic: Critic, real_ones: Sequence[Sound], outputs: Sequence[Sound], seed: int) -> dict[str, Estimate]:
    """AUC, balanced accuracy and calibration error, with intervals over recordings and patches."""
    sounds = [*real_ones, *outputs]
    truth = np.repeat([1.0, 0.0], [len(real_ones), len(outputs)])
    metrics: dict[str, Metric] = {
        "AUC": pairwise_accuracy,
        "accuracy": _balanced_accuracy,
        "calibration error": lambda truth, odds: _defined(expected_calibration_error(odds, truth, bins=5)),
    }
    groups = clusters([sound.group for sound in sounds])
    measured = measure(truth, {"critic": listen(critic, sounds)}, {"critic": metrics}, groups, DRAWS, seed)
    return {name: measured.estimate("critic", name) for name in metrics}


def _balanced_accuracy(truth: Any, odds: Any) -> float | None:
    truth, odds = np.asarray(truth), np.asarray(odds)
    if truth.all() or not truth.any():
        return None
    return float((np.mean(odds[truth == 1] > 0) + np.mean(odds[truth == 0] <= 0)) / 2)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def disturbed(critic: Critic, real_ones: Sequence[Sound], outputs: Sequence[Sound]) -> dict[str, dict[str, float]]:
    """Does anything that leaves the music alone change the answer?

    Returns:
        for each disturbance, how far the log-odds of recordings and output move, the share that changes sides, and the
        AUC where both, only the recordings or only the output are disturbed.
    """
    plain_real, plain_output = listen(critic, real_ones), listen(critic, outputs)
    rows = {}
    for name, change in DISTURBANCES.items():
        changed_real, changed_output = (
            listen(critic, [Sound(sound.group, *change(sound.audio, sound.sample_rate)) for sound in sounds])
            for sounds in (real_ones, outputs)
        )
        rows[name] = {
            "real": float(np.mean(changed_real - plain_real)),
            "output": float(np.mean(changed_output - plain_output)),
            "real sides": float(np.mean((changed_real > 0) != (plain_real > 0))),
            "output sides": float(np.mean((changed_output > 0) != (plain_output > 0))),
            "AUC both": _auc(changed_real, changed_output),
            "AUC real": _auc(changed_real, plain_output),
            "AUC output": _auc(plain_real, changed_output),
        }
    return rows


def _auc(real_ones: NDArray[np.float64], outputs: NDArray[np.float64]) -> float:
    truth = np.repeat([1.0, 0.0], [len(real_ones), len(outputs)])
    return pairwise_accuracy(truth, np.concatenate([real_ones, outputs])) or 0.0


def climb(critic: Critic, weight: float, steps: int, seed: int) -> tuple[Song, list[Patch]]:
    """Climb the demo with the critic as a term of a weight (0: it only listens); the patches on the way."""
    song = Song.load("demo")
    term = Realness(critic, every=max(1, steps // 8))
    objective = Objective(members("appeal"), terms={"realness": Weighted(term, weight)})
    schedule = Schedule(steps=steps, batch=2, patience=1000, evaluate_every=10_000)
    ascent = Ascent(song, objective, song.learn, schedule, seed)
    while not ascent.finished:
        ascent.advance()
    return song, term.patches


@torch.no_grad()
def look_back(song: Song, patches: Sequence[Patch], rater: Rater, judge: Critic, windows: int = 5) -> Trail:
    """Gain in rating and the judge's log-odds along a climb, on the same windows throughout."""
    starts = (np.arange(windows) + 0.5) / windows * (song.length - SECONDS)
    ratings, odds = [], []
    for patch in patches:
        heard = [song(patch, Window(float(start), SECONDS)) for start in starts]
        ratings.append([float(rater(audio, song.sample_rate).mean()) for audio in heard])
        odds.append([float(judge(audio, song.sample_rate).mean()) for audio in heard])
    gains = np.array(ratings).mean(axis=1)
    return Trail(gains - gains[0], np.array(odds))


def at_gain(trail: Trail, gain: float) -> NDArray[np.float64]:
    """Log-odds (windows,) where a climb first reaches a gain, between two points by proportion."""
    place = int(np.argmax(trail.gains >= gain))
    if place == 0:
        first: NDArray[np.float64] = trail.log_odds[0]
        return first
    low, high = trail.gains[place - 1], trail.gains[place]
    share = (gain - low) / (high - low)
    reached: NDArray[np.float64] = (1 - share) * trail.log_odds[place - 1] + share * trail.log_odds[place]
    return reached


def compare(
    judge: Critic, learnt: Sequence[Sound], weight: float, steps: int, seed: int, climbs: int
) -> tuple[dict[str, Any], Critic]:
    """Climbs without and with the term from the same start, judged by a critic that neither could climb.

    Returns:
        the log-odds of both at the greatest gain in rating that both reached, and the difference with an interval over
        windows; and the critic that the last climb with the term left behind.
    """
    rater, pairs, gains = load("appeal"), [], []
    for number in range(climbs):
        trails = []
        for own in (0.0, weight):
            critic = taught(learnt, seed)
            song, patches = climb(critic, own, steps, seed + number)
            trails.append(look_back(song, patches, rater, judge))
        gain = min(float(trail.gains.max()) for trail in trails)
        gains.append(gain)
        pairs.append([at_gain(trail, gain) for trail in trails])
    without, with_term = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    random = np.random.default_rng(seed)
    difference = with_term - without
    drawn = np.array([difference[random.integers(len(difference), size=len(difference))].mean() for _ in range(DRAWS)])
    found = {
        "gain": gains,
        "without": float(without.mean()),
        "with": float(with_term.mean()),
        "difference": interval(float(difference.mean()), drawn).as_dict(),
    }
    return found, critic


def taught(learnt: Sequence[Sound], seed: int) -> Critic:
    """A critic that has learnt from the output there was before a climb."""
    critic = Critic(real.pack(), seed=seed)
    critic.update(torch.cat([sound.audio for sound in learnt]), learnt[0].sample_rate)
    return critic


def costs(critic: Critic, sound: Sound) -> dict[str, float]:
    """Seconds of a core for three candidates of four seconds: a climb's step, the term and its gradient, an update."""
    song = Song.load("demo")
    ascent = Ascent(song, Objective(members("appeal")), song.learn, Schedule(steps=4, batch=3, evaluate_every=1000))
    for _ in range(2):  # the first compiles and keeps what does not change
        ascent.advance()
    audio = sound.audio.expand(3, -1, -1).clone().requires_grad_(True)
    return {
        "climb step": _core_seconds(ascent.advance),
        "term": _core_seconds(lambda: torch.autograd.grad(critic.term(audio, sound.sample_rate).sum(), audio)),
        "update": _core_seconds(lambda: critic.update(audio, sound.sample_rate)),
    }


def _core_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def trial(data: Path, steps: int = 16, weight: float = 0.1, seed: int = 0, climbs: int = 2) -> dict[str, Any]:
    """Everything, printed on the way and returned.

    Raises:
        UserError: `data` does not hold the recordings.
    """
    real_ones = recordings(data)
    learnt, fresh, strange = output(SONGS, 12, seed), output(SONGS, 8, seed + 1), output(STRANGERS, 6, seed + 1)
    found: dict[str, Any] = {"recordings": len(HELD_OUT), "learnt from": len(learnt)}
    critic = taught(learnt, seed)
    found["first"] = _told("after the first update", separation(critic, real_ones, fresh, seed))
    found["first, strange"] = _told("  unknown instruments", separation(critic, real_ones, strange, seed))
    comparison, critic = compare(taught(learnt, seed + 1), learnt, weight, steps, seed, climbs)
    found["later"] = _told(f"after a climb of {steps} steps", separation(critic, real_ones, fresh, seed))
    found["later, strange"] = _told("  unknown instruments", separation(critic, real_ones, strange, seed))
    difference, gains = comparison["difference"], ", ".join(f"{gain:.3f}" for gain in comparison["gain"])
    print(f"log-odds by a critic that was not climbed, where both climbs reach the same gain in rating ({gains}):")
    print(
        f"  without the term {comparison['without']:.2f}, with it {comparison['with']:.2f}, "
        f"difference {difference['value']:.2f} ({difference['low']:.2f} to {difference['high']:.2f})"
    )
    found["climbs"] = comparison
    found["disturbed"] = disturbed(critic, real_ones, fresh)
    for name, row in found["disturbed"].items():
        print(f"  {name:<22}" + "  ".join(f"{key} {value:.2f}" for key, value in row.items()))
    found["log-odds"] = {
        file: float(listen(critic, [sound for sound in real_ones if sound.group == file]).mean()) for file in HELD_OUT
    }
    print("mean log-odds:", "  ".join(f"{Path(file).stem} {odds:.2f}" for file, odds in found["log-odds"].items()))
    found["seconds"] = costs(critic, fresh[0])
    print("seconds of a core:", "  ".join(f"{key} {value:.2f}" for key, value in found["seconds"].items()))
    return found


def _told(when: str, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    texts = []
    for name, estimate in estimates.items():
        value, low, high = estimate.value or 0.0, estimate.low or 0.0, estimate.high or 0.0
        texts.append(f"{name} {value:.3f} ({low:.3f} to {high:.3f})")
    print(f"{when:<28}" + "  ".join(texts), flush=True)
    return {name: estimate.as_dict() for name, estimate in estimates.items()}


def main(words: Sequence[str]) -> int:
    """`data=FOLDER out=FOLDER steps=16 weight=0.1 climbs=2 seed=0`."""
    kinds: dict[str, Callable[[str], Any]] = {
        "data": Path, "out": Path, "steps": int, "weight": float, "climbs": int, "seed": int,
    }  # fmt: skip
    try:
        values = dict(_setting(word, kinds) for word in words)
        if "data" not in values:
            raise UserError("the folder of source material is needed: data=FOLDER")
        out = values.pop("out", None)
        found = trial(**values)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if out is not None:
        write_json(out / "result.json", {"command": "realness_trial", **found})
    return 0


def _setting(word: str, kinds: Mapping[str, Callable[[str], Any]]) -> tuple[str, Any]:
    """`key=value` as the value's kind."""
    key, sign, text = word.partition("=")
    if key not in kinds or not sign:
        raise UserError(f"unknown setting {key!r}; {nearest(key, kinds)}")
    try:
        return key, kinds[key](text)
    except ValueError as error:
        raise UserError(f"{key}={text!r} should be a number") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
