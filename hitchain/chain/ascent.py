"""The climb: gradient ascent on the knobs of a song, over random windows, for a batch of candidates at once.

Everything random is drawn from (seed, step), and the whole state fits in one small file, so a climb that was killed
goes on from its checkpoint and ends where it would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hitchain.chain.chain import Song, Window
from hitchain.chain.kept import keep
from hitchain.chain.knobs import Knobs
from hitchain.chain.objective import Judge, Objective
from hitchain.chain.patch import Patch
from hitchain.errors import UserError

if TYPE_CHECKING:
    from hitchain.rater.rater import Rater

Row = dict[str, Any]


@dataclass(frozen=True)
class Schedule:
    """How an ascent goes. Times in seconds.

    Attributes:
        steps: at most this many gradient steps.
        batch: candidates climbed side by side: the starting patch, and variations of it.
        window: length of the stretch of the song that is rendered and rated in each step.
        learning_rate: Adam's, on the unbounded knobs; it falls to a tenth along half a cosine.
        spread: how far the variations start from the patch, as a share of each knob's range (standard deviation).
        evaluate_every: steps between looks at all candidates on the same fixed windows.
        patience: looks without improvement (a plateau) or with the held-out rating falling (they part) before it ends.
        tolerance: what counts as improvement, and as falling.
        budget: wall-clock limit; None for none.
    """

    steps: int = 60
    batch: int = 3
    window: float = 4.0
    learning_rate: float = 0.08
    spread: float = 0.06
    evaluate_every: int = 10
    patience: int = 3
    tolerance: float = 0.002
    budget: float | None = None

    def __post_init__(self) -> None:
        checks = {
            "steps": self.steps >= 0,
            "batch": self.batch >= 1,
            "window": self.window >= 1.0,
            "learning_rate": 0 < self.learning_rate <= 10,
            "spread": 0 <= self.spread <= 1,
            "evaluate_every": self.evaluate_every >= 1,
            "patience": self.patience >= 1,
            "tolerance": self.tolerance >= 0,
            "budget": self.budget is None or self.budget > 0,
        }
        for key, good in checks.items():
            if not good:
                raise UserError(
                    f"optimizer.{key}={getattr(self, key)!r} is out of range (see `hitchain optimize --help`)."
                )


@dataclass
class State:
    """All that a climb knows: saved as a checkpoint, and resumed from one.

    Tensors are (batch, size), but `best` (1, size). `stopped` says why it ended, empty while it goes on.
    """

    z: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    step: int = 0
    best_objective: float = -math.inf
    best_rating: float = -math.inf
    best_heldout: float | None = None
    stalled: int = 0
    parted: int = 0
    seconds: float = 0.0
    stopped: str = ""
    history: list[Row] = field(default_factory=list)

    TENSORS = ("z", "mean", "square", "best")

    def numbers(self) -> dict[str, Any]:
        """What is not a tensor, as plain data."""
        return {key: value for key, value in self.__dict__.items() if key not in self.TENSORS}


@dataclass(frozen=True)
class Climbed:
    """What a climb found: the best patch (batch 1, choices decided), why it stopped, and its history."""

    patch: Patch
    knobs: Knobs
    stopped: str
    history: list[Row]


class Ascent:
    """A climb in progress.

    Args:
        song: whose knobs are turned, from `song.start`.
        objective: what is climbed.
        learn: patterns of the parameters that are freed (see `hitchain.chain.knobs.Knobs`).
        schedule: how it goes.
        seed: of the variations and of the windows.
        state: of a climb to be gone on with; None to begin.
    """

    BETAS = (0.9, 0.99)
    EPSILON = 1e-8
    LOOKS = 3
    """Fixed windows on which candidates are compared."""

    def __init__(
        self,
        song: Song,
        objective: Objective,
        learn: Sequence[str],
        schedule: Schedule,
        seed: int = 0,
        state: State | None = None,
    ) -> None:
        self.song = song
        self.objective = objective
        self.schedule = schedule
        self.seed = seed
        self.knobs = Knobs(song, learn)
        start = self.knobs.unbounded(song.start)
        self.neutral = self.knobs.positions(start)
        self.state = state or self._begin(start)
        if self.state.z.shape[-1] != self.knobs.size:
            raise UserError(
                f"the checkpoint holds {self.state.z.shape[-1]} knob values; this song and `learn` have "
                f"{self.knobs.size}."
            )
        self._to(start.device)
        self._kept = keep(song, song.start, {knob.path for knob in self.knobs.knobs})
        self._started = time.monotonic() - self.state.seconds

    def _begin(self, start: Tensor) -> State:
        generator = torch.Generator().manual_seed(self.seed)
        z = self.knobs.vary(start, self.schedule.batch, self.schedule.spread, generator)
        return State(z=z, mean=torch.zeros_like(z), square=torch.zeros_like(z), best=start.clone())

    def _to(self, device: torch.device) -> None:
        """The state, which a checkpoint gives on the CPU, to where the song is."""
        for key in State.TENSORS:
            setattr(self.state, key, getattr(self.state, key).to(device))

    @property
    def finished(self) -> bool:
        """Whether the climb has ended, and `state.stopped` says why."""
        return bool(self.state.stopped)

    def advance(self) -> Row:
        """One step: gradient, move, and every so often a look at all candidates. Returns its row of the history."""
        state = self.state
        if state.step == 0 and not state.history:
            self._look({})
        row: Row = {"step": state.step + 1}
        z = state.z.detach().requires_grad_(True)
        window = self._window(state.step)
        audio = self.song(self.knobs.apply(z, self.song.start), window, self._kept)
        score = self.objective.score(
            self.objective.rate(audio, self.song.sample_rate), self.knobs.positions(z), self.neutral
        )
        (gradient,) = torch.autograd.grad(score.objective.sum(), z)
        if not bool(torch.isfinite(gradient).all()) or not bool(torch.isfinite(score.objective).all()):
            state.stopped = "the rating or its gradient is not finite"
            return row
        self._move(gradient)
        row |= {
            "window": round(window.start, 3),
            "rating": float(score.rating.detach().mean()),
            "ratings": [float(value) for value in score.rating.detach()],
            "objective": float(score.objective.detach().mean()),
            "terms": {name: float(term.detach().mean()) for name, term in score.terms.items()},
        }
        state.step += 1
        if state.step % self.schedule.evaluate_every == 0 or state.step >= self.schedule.steps:
            self._look(row)
        self._stop()
        state.seconds = time.monotonic() - self._started
        row["seconds"] = round(state.seconds, 3)
        state.history.append(row)
        return row

    def _window(self, step: int) -> Window:
        """A random stretch of the song, drawn from (seed, step)."""
        length = min(self.schedule.window, self.song.length)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        start = float(torch.rand((), generator=generator)) * (self.song.length - length)
        return Window(start, length)

    def _move(self, gradient: Tensor) -> None:
        """Adam (Kingma and Ba 2015), upward, each candidate on its own."""
        state, (beta1, beta2) = self.state, self.BETAS
        state.mean = beta1 * state.mean + (1 - beta1) * gradient
        state.square = beta2 * state.square + (1 - beta2) * gradient.square()
        mean = state.mean / (1 - beta1 ** (state.step + 1))
        square = state.square / (1 - beta2 ** (state.step + 1))
        turn = 0.5 * (1 + math.cos(math.pi * min(1.0, state.step / max(1, self.schedule.steps))))
        rate = self.schedule.learning_rate * (0.1 + 0.9 * turn)
        state.z = state.z + rate * mean / (square.sqrt() + self.EPSILON)

    @torch.no_grad()
    def _look(self, row: Row) -> None:
        """Compare all candidates on the same windows; keep the best, and count plateaus and partings."""
        state = self.state
        patch = self.knobs.apply(state.z, self.song.start)
        ratings, heldout = [], []
        length = min(self.schedule.window, self.song.length)
        for index in range(self.LOOKS):
            window = Window((self.song.length - length) * (index + 0.5) / self.LOOKS, length)
            audio = self.song(patch, window, self._kept)
            ratings.append(self.objective.rate(audio, self.song.sample_rate))
            judged = self.objective.rate_heldout(audio, self.song.sample_rate)
            if judged is not None:
                heldout.append(judged)
        score = self.objective.score(torch.stack(ratings).mean(dim=0), self.knobs.positions(state.z), self.neutral)
        strangers = torch.stack(heldout).mean(dim=0) if heldout else None
        self._keep(score.objective, score.rating, strangers)
        row["looked"] = {
            "best": state.best_rating,
            "ratings": [float(value) for value in score.rating],
            "diversity": float(self.knobs.positions(state.z).std(dim=0, correction=0).mean()),
        }
        if strangers is not None:
            row["heldout"] = float(strangers[int(score.objective.argmax())])

    def _keep(self, objective: Tensor, rating: Tensor, heldout: Tensor | None) -> None:
        state, tolerance = self.state, self.schedule.tolerance
        leader = int(objective.argmax())
        improved = float(objective[leader]) > state.best_objective + tolerance
        fell = False
        if heldout is not None and state.best_heldout is not None:
            fell = float(heldout[leader]) < state.best_heldout - tolerance
        state.parted = state.parted + 1 if improved and fell else 0
        state.stalled = 0 if improved else state.stalled + 1
        if improved and not fell:
            state.best = state.z[leader : leader + 1].clone()
            state.best_objective = float(objective[leader])
            state.best_rating = float(rating[leader])
            state.best_heldout = None if heldout is None else float(heldout[leader])

    def _stop(self) -> None:
        state, schedule = self.state, self.schedule
        if state.step >= schedule.steps:
            state.stopped = "all steps taken"
        elif state.parted >= schedule.patience:
            state.stopped = "the held-out rating fell while the climbed rating rose"
        elif state.stalled >= schedule.patience:
            state.stopped = "plateau"
        elif schedule.budget is not None and time.monotonic() - self._started >= schedule.budget:
            state.stopped = "budget spent"

    def result(self) -> Climbed:
        """The best so far."""
        patch = self.knobs.apply(self.state.best, self.song.start)
        hardened = self.knobs.harden(patch.map(lambda value: value.detach()))
        return Climbed(hardened, self.knobs, self.state.stopped, self.state.history)


def climb(
    song: Song,
    rater: Rater | Judge | Sequence[Judge],
    learn: Sequence[str] | None = None,
    heldout: Judge | None = None,
    seed: int = 0,
    on_step: Callable[[Row], None] | None = None,
    neutral: float = 3.0,
    bounds: float = 0.05,
    **schedule: Any,
) -> Climbed:
    """Climb a rater through the knobs of a song.

    Args:
        song: from `Song.load`; it is climbed from `song.start`.
        rater: any `audio (batch, channels, samples), sample_rate -> (batch,)`, differentiable; or several.
        learn: patterns of the parameters to free; the song's own choice where None.
        heldout: a rater that stops the climb but is never climbed.
        seed: of the variations and of the windows.
        on_step: called with each row of the history.
        neutral, bounds: weights of the objective's terms.
        **schedule: see `Schedule`, for example steps=200, batch=4.

    Returns:
        the best patch and how it was found. `song(result.patch)` is its master.
    """
    judges = list(rater) if isinstance(rater, Sequence) else [rater]
    objective = Objective(judges, heldout, neutral=neutral, bounds=bounds)
    ascent = Ascent(song, objective, song.learn if learn is None else learn, Schedule(**schedule), seed)
    while not ascent.finished:
        row = ascent.advance()
        if on_step is not None:
            on_step(row)
    return ascent.result()
