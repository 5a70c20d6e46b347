"""The arms of the experiment: ways of climbing the same rater, each followed to the same gains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hitchain.chain.ascent import Ascent, Schedule
from hitchain.chain.chain import Song, Window
from hitchain.chain.objective import Objective, Rating, Robustness, Weighted
from hitchain.chain.objective.term import find
from hitchain.chain.optimizers import settings_of
from hitchain.rater.dream import REGULARISERS, DreamSettings, dream
from hitchain.rater.dream.dream import Judge, noise

PRIOR_WEIGHT = 0.3
"""A knob setting a standard deviation off the presets in every knob costs so much rating."""
HALVINGS = 7
"""Of the way between two places when an exact gain is looked for."""


@dataclass
class Climb:
    """What one arm came to, for one start.

    Attributes:
        start: (1, 2, samples), the audio it began from.
        final: the same shape, the best by what was climbed when the time was up.
        gained: {gain: audio} where each goal was just reached; goals never reached are left out.
        knobs: {name: z (1, size)} of "start", "final" and of each gain, for an arm through a chain.
        steps: how many steps, and `seconds` how long on the processor, it took.
    """

    start: Tensor
    final: Tensor
    gained: dict[float, Tensor] = field(default_factory=dict)
    knobs: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Task:
    """What every arm of a start is given.

    Attributes:
        song: at its start patch.
        window: the section that is climbed.
        other: (1, 2, samples), a recording to dream from; None where there is none.
        climbed: raters whose mean is climbed.
        goals: gains over the start at which arms are compared.
        seconds: of compute (time on the processor) that every arm has.
        seed: of everything random.
        critic: builds the realness critic for a waveform arm: what it hears is taught to it as it goes.
    """

    song: Song
    window: Window
    other: Tensor | None
    climbed: Sequence[Judge]
    goals: Sequence[float]
    seconds: float
    seed: int
    critic: Callable[[Tensor, int], Judge] | None = None

    def rate(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The mean of the climbed raters: (batch,)."""
        return torch.stack([judge(audio, sample_rate) for judge in self.climbed]).mean(dim=0)


class FixedAscent(Ascent):
    """An ascent that hears one section and no other, as a dream does."""

    section = Window(0.0, 1.0)

    def _window(self, index: int) -> Window:
        return self.section

    def _fixed_windows(self) -> list[Window]:
        return [self.section]


# Through the waveform ---------------------------------------------------------------------------------------------


def _waveform(task: Task, start: Tensor, settings: DreamSettings, extra: Judge | None = None) -> Climb:
    began = time.process_time()
    rate = task.song.sample_rate
    dreamed = dream(task.rate, start, rate, settings, task.goals, task.seconds, extra, stop_at_last=False)
    gained = {goal: dreamed.gained[goal] for goal in task.goals if bool(dreamed.reached[goal].all())}
    return Climb(start, dreamed.audio, gained, {}, len(dreamed.history), time.process_time() - began)


def _dream_settings(task: Task, **changes: float | str) -> DreamSettings:
    # Small steps: an arm must not leap past the gains at which it is compared.
    return DreamSettings(**{"steps": 1_000_000, "learning_rate": 0.005, "seed": task.seed % 2**31, **changes})  # type: ignore[arg-type]


def waveform_from_noise(task: Task) -> Climb:
    """(a) White noise."""
    samples = task.window.length
    return _waveform(task, noise(1, samples, task.song.sample_rate, task.seed % 2**31), _dream_settings(task))


def waveform_from_song(task: Task) -> Climb:
    """(b) A recording."""
    return _waveform(task, _other(task), _dream_settings(task))


def waveform_regularised(task: Task) -> Climb:
    """(c) A recording, with every regulariser of feature visualisation."""
    return _waveform(task, _other(task), _dream_settings(task, **REGULARISERS))


def waveform_with_critic(task: Task) -> Climb:
    """(d) A recording, held to realness by a critic that learns as it goes."""
    start = _other(task)
    extra = None if task.critic is None else task.critic(start, task.song.sample_rate)
    return _waveform(task, start, _dream_settings(task), extra)


def waveform_from_start(task: Task) -> Climb:
    """(i) The very audio that the chain starts from."""
    return _waveform(task, _start_audio(task), _dream_settings(task))


def _other(task: Task) -> Tensor:
    return _start_audio(task) if task.other is None else task.other


@torch.no_grad()
def _start_audio(task: Task) -> Tensor:
    audio: Tensor = task.song(task.song.start, task.window)
    return audio


# Through the chain ------------------------------------------------------------------------------------------------


def _chain(task: Task, objective: Objective, optimizer: str, **own: float) -> Climb:
    """Climb until the time is up; population optimizers count as having gone straight from the start to their best."""
    schedule = Schedule(steps=1_000_000, batch=1, window=task.window.length, patience=1_000_000)
    settings = settings_of(optimizer, own)
    ascent = FixedAscent(task.song, objective, task.song.learn, schedule, task.seed % 2**31, None, optimizer, settings)
    ascent.section = task.window
    objective.begin([ascent.hear_start(task.window)])
    climb, base = _started(task, ascent)
    first = best = float(task.rate(climb.start, task.song.sample_rate))
    before = ascent.state.base[:1]
    ascent.judge(ascent.ask())  # what is compiled at first use is no part of the climb either
    began = time.process_time()
    while time.process_time() - began < task.seconds:
        asked = ascent.ask()
        score, gradient = ascent.judge(asked)
        if not bool(torch.isfinite(score.objective).all()):
            break
        ascent.tell(score.objective, gradient)
        climb.steps += 1
        leader = int(score.rating.argmax())
        rating, z = float(score.rating[leader].detach()), asked.z.detach()[leader : leader + 1]
        for goal in task.goals:
            if goal not in climb.gained and rating - first >= goal:
                origin = before if ascent.optimizer.differentiates else base
                paused = time.process_time()  # looking for the exact place is no part of the climb
                exact = _where_it_gains(task, ascent, origin, z, first + goal)
                climb.gained[goal], climb.knobs[f"{goal:g}"] = _render(task, ascent, exact), exact
                began += time.process_time() - paused
        before = z
        if rating > best:
            best, climb.knobs["final"] = rating, z
    climb.final = _render(task, ascent, climb.knobs["final"])
    climb.seconds = time.process_time() - began
    return climb


def _started(task: Task, ascent: FixedAscent) -> tuple[Climb, Tensor]:
    z = ascent.state.base[:1]
    audio = _render(task, ascent, z)
    return Climb(audio, audio, {}, {"start": z, "final": z}), z


@torch.no_grad()
def _render(task: Task, ascent: FixedAscent, z: Tensor, window: Window | None = None) -> Tensor:
    """The audio at knobs z, choices decided, in the climbed section or another."""
    patch = ascent.knobs.harden(ascent.knobs.apply(z, task.song.start))
    audio: Tensor = task.song(patch, window or task.window)
    return audio


def _where_it_gains(task: Task, ascent: FixedAscent, low: Tensor, high: Tensor, goal: float) -> Tensor:
    """The knobs between two places at which the rating just reaches a goal."""
    a, b = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (a + b) / 2
        audio = _render(task, ascent, torch.lerp(low, high, middle))
        if float(task.rate(audio, task.song.sample_rate)) >= goal:
            b = middle
        else:
            a = middle
    return torch.lerp(low, high, b)


def chain_alone(task: Task) -> Climb:
    """(e) Gradient ascent on the knobs, the rating alone."""
    return _chain(task, Objective(list(task.climbed), neutral=0.0, bounds=0.0), "adam")


def chain_with_prior(task: Task) -> Climb:
    """(f) The same with a prior fitted to presets, and rated on an altered copy too."""
    rating = Rating(list(task.climbed), robustness=Robustness(copies=1))
    prior = {"prior": Weighted(find("prior")(), PRIOR_WEIGHT)}
    return _chain(task, Objective(rating, neutral=0.0, bounds=0.05, terms=prior), "adam")


def chain_held(task: Task) -> Climb:
    """As (f), but held by a pull toward its own start, which is set without care here, in the place of the prior."""
    rating = Rating(list(task.climbed), robustness=Robustness(copies=1))
    return _chain(task, Objective(rating, neutral=3.0, bounds=0.05), "adam")


def chain_evolved(task: Task) -> Climb:
    """(g) CMA-ES on the knobs, pulled toward its start."""
    return _chain(task, Objective(list(task.climbed), neutral=3.0, bounds=0.05), "cma", population=8)


def chain_random(task: Task) -> Climb:
    """(h) Random search on the knobs."""
    return _chain(task, Objective(list(task.climbed), neutral=0.0, bounds=0.0), "random", population=4)


ARMS: dict[str, Callable[[Task], Climb]] = {
    "waveform from noise": waveform_from_noise,
    "waveform from a song": waveform_from_song,
    "waveform, all regularisers": waveform_regularised,
    "waveform with a critic": waveform_with_critic,
    "waveform from the same start": waveform_from_start,
    "chain": chain_alone,
    "chain, prior and copies": chain_with_prior,
    "chain, held to its start": chain_held,
    "chain, CMA-ES": chain_evolved,
    "chain, random search": chain_random,
}
"""Every arm by its name, waveforms first."""

LETTERS = dict(zip(ARMS, ("a", "b", "c", "d", "i", "e", "f", "f'", "g", "h"), strict=True))
