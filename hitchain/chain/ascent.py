"""The climb: an optimizer turns the knobs of a song upward on an objective, for a batch of candidates at once.

Each step hears a random window of the song. Everything random is drawn from (seed, step), and the whole state fits in
one small file, so a climb that was killed goes on from its checkpoint and ends where it would have.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hitchain.blocks.parameter import Choice
from hitchain.chain import optimizers
from hitchain.chain.chain import Song, Window
from hitchain.chain.kept import Kept, keep
from hitchain.chain.knobs import Knobs, Relaxation
from hitchain.chain.objective import Heard, Judge, Objective, RaterFailed, Score
from hitchain.chain.optimizers.settings import read_settings, setting
from hitchain.chain.patch import Patch
from hitchain.chain.phases import Phase, phases
from hitchain.errors import UserError

if TYPE_CHECKING:
    from hitchain.rater.rater import Rater

Row = dict[str, Any]

NEARER = 0.25
"""A violation that shrank by so much of its term's scale counts as a bound that comes to be kept."""


@dataclass(frozen=True)
class Schedule:
    """How an ascent goes, whatever the optimizer. Times in seconds.

    Attributes:
        steps: how many times the optimizer is asked at most.
        batch: candidates to begin with: the starting patch, and variations of it.
        window: length of the stretch of the song that is rendered and rated.
        windows: how many such stretches are heard in each step; their mean counts.
        spread: how far the variations start from the patch, as a share of each knob's range (standard deviation).
        evaluate_every: steps between looks at all candidates on the same fixed windows.
        patience: looks without improvement (a plateau) or with the held-out rating falling (they part) before it ends.
        tolerance: what counts as improvement, and as falling.
        budget: wall-clock limit; None for none.
        unlock: stages unlocked in turn (see `hitchain.chain.phases.GROUPS`); empty for all at once.
        sweeps: where over 0, stages are climbed one at a time, taking turns so many times.
        temperature: from and to which the blending of choices is cooled until they are decided, by equal ratios.
        gumbel: whether choices are sampled with Gumbel noise on the way.
        decide_at: share of the climb after which choices are decided; all other knobs climb on around the decision.
        rates: {pattern over knob names: how much faster or slower than others}.
    """

    steps: int = setting(60, 0, 10_000_000)
    batch: int = setting(3, 1, 100_000)
    window: float = setting(4.0, 1.0, 3600.0)
    windows: int = setting(1, 1, 1000)
    spread: float = setting(0.06, 0.0, 1.0)
    evaluate_every: int = setting(10, 1, 10_000_000)
    patience: int = setting(3, 1, 10_000_000)
    tolerance: float = setting(0.002, 0.0, 1e6)
    budget: float | None = None
    unlock: Sequence[str] = ()
    sweeps: int = setting(0, 0, 10_000)
    temperature: Sequence[float] = (1.0, 0.1)
    gumbel: bool = False
    decide_at: float = setting(0.7, 0.0, 1.0)
    rates: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cold = list(self.temperature)
        if len(cold) != 2 or not all(isinstance(value, int | float) and 0.0 < value <= 100.0 for value in cold):
            raise UserError(
                f"optimizer.temperature={cold!r} should be two numbers over 0, from and to, like [1.0, 0.1]."
            )
        if self.budget is not None and self.budget <= 0:
            raise UserError(f"optimizer.budget={self.budget!r} is out of range: it should be a time over 0.")

    @staticmethod
    def of(**values: Any) -> Schedule:
        """A checked schedule. Raises `UserError` for an unknown key or a value out of range."""
        return read_settings(Schedule, values, "optimizer")


@dataclass
class State:
    """All that a climb knows: saved as a checkpoint, and resumed from one.

    Attributes:
        base: (batch, size), the candidates as the present phase began.
        best: (1, size), the best looked at so far, its choices decided.
        relaxed: (1, size), the best blend when choices were decided, at `relaxed_temperature` (None before).
        optimizer, objective: their own tensors.
        step: how often the optimizer was asked, in all; `phase_step`, in the present phase.
        front: of every candidate by itself, its best: z (batch, size), and its merit, rating, violation and heldout
            (batch,); empty where the candidates climb for one best.
        stopped: why it ended; empty while it goes on.
    """

    base: Tensor
    best: Tensor
    relaxed: Tensor
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    objective: dict[str, Tensor] = field(default_factory=dict)
    front: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    phase: int = 0
    phase_step: int = 0
    best_objective: float = -math.inf
    best_rating: float = -math.inf
    best_heldout: float | None = None
    best_violation: float = math.inf
    relaxed_temperature: float | None = None
    stalled: int = 0
    parted: int = 0
    seconds: float = 0.0
    stopped: str = ""
    history: list[Row] = field(default_factory=list)

    TENSORS = ("base", "best", "relaxed")
    GROUPS = ("optimizer", "objective", "front")

    def numbers(self) -> dict[str, Any]:
        """What is not a tensor, as plain data."""
        return {key: value for key, value in self.__dict__.items() if key not in (*self.TENSORS, *self.GROUPS)}


@dataclass(frozen=True)
class Asked:
    """Candidates to be judged.

    Attributes:
        z: (candidates, size), the unbounded knobs; a leaf that wants a gradient where the optimizer needs one.
        patch: the same as settings.
        windows: of the song on which they should be heard.
    """

    z: Tensor
    patch: Patch
    windows: list[Window]


@dataclass(frozen=True)
class Climbed:
    """What a climb found.

    Attributes:
        patch: the best (batch 1), choices decided.
        knobs: the freed knobs.
        stopped: why it ended.
        history: a row for each step.
        relaxed: the best blend when choices were decided; None where there are none, or the optimizer never blends.
        front: the best of every candidate under its own bound (batch of them); None where they climb for one best.
    """

    patch: Patch
    knobs: Knobs
    stopped: str
    history: list[Row]
    relaxed: Patch | None = None
    front: Patch | None = None


class Ascent:
    """A climb in progress: `advance` until `finished`; or `ask`, judge by any means, and `tell`.

    Args:
        song: whose knobs are turned, from `song.start`.
        objective: what is climbed.
        learn: patterns of the parameters that are freed (see `hitchain.chain.knobs.Knobs`).
        schedule: how it goes.
        seed: of the variations and of the windows.
        state: of a climb to be gone on with; None to begin.
        optimizer: its name.
        settings: its own settings; its defaults where None.
    """

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
        optimizer: str = "adam",
        settings: Any = None,
    ) -> None:
        self.song, self.objective, self.schedule, self.seed = song, objective, schedule, seed
        self.kind = optimizers.find(optimizer)
        self.settings = self.kind.Settings() if settings is None else settings
        self.knobs = Knobs(song, learn)
        decide_at = 1.0 if self.kind.decides else schedule.decide_at
        self.phases = phases(self.knobs, schedule.steps, schedule.unlock, schedule.sweeps, decide_at)
        self.rates = self.knobs.rates(schedule.rates)
        start = self.knobs.unbounded(song.start)
        self.neutral = self.knobs.positions(start)
        self.state = state or self._begin(start)
        self._check_size()
        self._check_front()
        self._to(start.device)
        self._enter(resumed=state is not None)
        self._started = time.monotonic() - self.state.seconds

    def _begin(self, start: Tensor) -> State:
        return State(base=start.expand(self.schedule.batch, -1).clone(), best=start.clone(), relaxed=start.clone())

    def _check_size(self) -> None:
        if self.state.base.shape[-1] != self.knobs.size:
            raise UserError(
                f"the checkpoint holds {self.state.base.shape[-1]} knob values; this song and `learn` have "
                f"{self.knobs.size}."
            )

    def _check_front(self) -> None:
        front = self.objective.front
        if front is None:
            return
        if not self.kind.keeps_places:
            raise UserError(
                f"objective.pareto needs candidates that climb by themselves, as with optimizer=adam or lbfgs; "
                f"those of '{self.kind.name}' are one population."
            )
        if len(front.levels) != self.schedule.batch:
            raise UserError(f"a front of {len(front.levels)} levels needs optimizer.batch={len(front.levels)}.")

    def _to(self, device: torch.device) -> None:
        """The state, which a checkpoint gives on the CPU, to where the song is."""
        for key in State.TENSORS:
            setattr(self.state, key, getattr(self.state, key).to(device))

    @property
    def finished(self) -> bool:
        """Whether the climb has ended, and `state.stopped` says why."""
        return bool(self.state.stopped)

    @property
    def phase(self) -> Phase:
        """The present phase."""
        return self.phases[min(self.state.phase, len(self.phases) - 1)]

    # Phases ----------------------------------------------------------------------------------------------------

    def _enter(self, resumed: bool = False) -> None:
        """Begin the present phase, or take it up again: its optimizer, and the audio that it leaves as it is."""
        state = self.state
        if not resumed:
            state.base = self._varied(state.base)
        columns = self.phase.columns.to(state.base.device)
        start = optimizers.Start(
            z=state.base[:, columns],
            steps=self.phase.steps,
            seed=self.seed * 1009 + state.phase,
            rates=self.rates[self.phase.columns].to(state.base),
            spread=self.schedule.spread,
        )
        self.optimizer = self.kind(start, self.settings)
        if resumed and state.optimizer:
            self.optimizer.restore(state.optimizer)
            self.objective.restore(state.objective)
        self._kept = self._keep()

    def _varied(self, base: Tensor) -> Tensor:
        """The candidates, all but the first moved a little in the columns that are freed for the first time."""
        batch = self.schedule.batch
        first_time = self.phase.columns.clone()
        for earlier in self.phases[: self.state.phase]:
            first_time &= ~earlier.columns
        generator = torch.Generator().manual_seed(self.seed + 7919 * self.state.phase)
        start = self.knobs.unbounded(self.song.start)
        varied = self.knobs.vary(start, batch, self.schedule.spread, generator)
        return torch.where(first_time.to(base.device), varied, base)

    def _keep(self) -> Kept:
        """Audio of what no phase up to this one has moved."""
        moved = torch.stack([phase.columns for phase in self.phases[: self.state.phase + 1]]).any(dim=0)
        freed = {knob.path for knob in self.knobs.knobs if bool(moved[knob.first : knob.first + knob.size].any())}
        return keep(self.song, self.song.start, freed)

    def _leave(self) -> None:
        """End the present phase: the next begins where its leaders stand."""
        state = self.state
        leaders = self._leaders()
        if self.phases[state.phase + 1].decided:
            self._keep_blend()
            leaders = torch.cat([self._decide(state.relaxed), leaders])[: len(leaders)]
        batch = self.schedule.batch
        state.base = leaders[:batch] if len(leaders) >= batch else self._filled(leaders, batch)
        state.phase, state.phase_step = state.phase + 1, 0
        self._enter()

    def _filled(self, leaders: Tensor, batch: int) -> Tensor:
        return leaders[torch.arange(batch, device=leaders.device) % len(leaders)]

    def _leaders(self) -> Tensor:
        return self._embed(self.optimizer.leaders())

    def _embed(self, asked: Tensor) -> Tensor:
        """Columns of the present phase, among the others as they stand: (candidates, size)."""
        base = self.state.base
        whole = base if len(base) == len(asked) else base[:1].expand(len(asked), -1)
        result = whole.clone()
        result[:, self.phase.columns.to(base.device)] = asked.detach()
        return result

    @torch.no_grad()
    def _keep_blend(self) -> None:
        """Choices are about to be decided: keep the best blend, against which the decision is told."""
        relaxation = Relaxation(self._temperature())
        leaders = self._leaders()
        asked = Asked(leaders, self.knobs.apply(leaders, self.song.start, relaxation), [])
        best = int(self._on_fixed_windows(asked).rating.nan_to_num(-math.inf).argmax())
        self.state.relaxed = leaders[best : best + 1].clone()
        self.state.relaxed_temperature = relaxation.temperature

    @torch.no_grad()
    def _decide(self, z: Tensor) -> Tensor:
        """The blend z (1, size) with every choice at the option that does best alone, one choice after another.

        The strongest option of a blend need not be that: two microphones together may beat each by itself. Options of
        single notes stay at the strongest, since they are too many to be heard one by one.
        """
        for knob in self.knobs.knobs:
            if not isinstance(knob.parameter, Choice) or knob.parameter.per_note:
                continue
            tried = self.knobs.tried(z, knob)
            asked = Asked(tried, self.knobs.harden(self.knobs.apply(tried, self.song.start)), [])
            best = int(self._on_fixed_windows(asked).merit.nan_to_num(-math.inf).argmax())
            z = tried[best : best + 1]
        return z

    @property
    def _spent(self) -> float:
        """The share of the budget that is spent; 0 where there is none."""
        return 0.0 if self.schedule.budget is None else (time.monotonic() - self._started) / self.schedule.budget

    @property
    def _phase_over(self) -> bool:
        """Whether the present phase has had its steps, or its part of the budget."""
        through = sum(phase.steps for phase in self.phases[: self.state.phase + 1])
        part = through / max(1, self.schedule.steps)
        taken = self.state.phase_step >= self.phase.steps or self.state.step >= self.schedule.steps
        return taken or self._spent >= part

    # Steps -----------------------------------------------------------------------------------------------------

    def ask(self) -> Asked:
        """The next candidates, and the windows on which they should be heard."""
        z = self._embed(self.optimizer.ask())
        if self.optimizer.differentiates:
            z.requires_grad_(True)
        patch = self.knobs.apply(z, self.song.start, self._relaxation(len(z)))
        if self.optimizer.decides or self.phase.decided:
            patch = self.knobs.harden(patch)
        return Asked(z, patch, [self._window(index) for index in range(self.schedule.windows)])

    def tell(self, values: Tensor, gradient: Tensor | None = None) -> None:
        """What the candidates last asked for are worth: values (candidates,), gradient (candidates, size)."""
        columns = self.phase.columns.to(values.device)
        self.optimizer.tell(values.detach(), None if gradient is None else gradient[:, columns])
        self.state.step += 1
        self.state.phase_step += 1

    def judge(self, asked: Asked) -> tuple[Score, Tensor | None]:
        """The score of candidates on their windows, and the gradient of the objective in z.

        Windows are rendered and differentiated one after another: memory does not grow with their number.
        """
        scores, gradient = [], None
        for window in asked.windows:
            with torch.set_grad_enabled(self.optimizer.differentiates):
                heard = self._hear(asked, window)
                score = self.objective.score(heard)
            if self.optimizer.differentiates:
                if heard.audio.requires_grad and not score.rating.requires_grad:
                    raise RaterFailed("the rater gives no gradient; climb it with optimizer=cma or random")
                own = _gradient(score.objective.sum(), asked.z, more=window != asked.windows[-1])
                gradient = own if gradient is None else gradient + own
            self.objective.learn(heard, score)
            scores.append(score)
        return Score.mean(scores), None if gradient is None else gradient / len(asked.windows)

    def _hear(self, asked: Asked, window: Window) -> Heard:
        audio = self.song(asked.patch, window, self._kept)
        return Heard(
            audio,
            self.song.sample_rate,
            self.knobs.positions(asked.z),
            self.neutral,
            asked.patch,
            self.song,
            window,
            draw=self.seed * 1_000_003 + self.state.step if asked.windows else 0,
            knobs=self.knobs,
        )

    def advance(self) -> Row:
        """One step: ask, judge, tell, and every so often a look at the leaders. Returns its row of the history."""
        state = self.state
        try:
            return self._advance()
        except RaterFailed as failure:
            state.stopped = str(failure)
            return {"step": state.step + 1}

    def _advance(self) -> Row:
        state = self.state
        if state.step == 0 and not state.history:
            self.objective.begin([self.hear_start(window) for window in self._fixed_windows()])
            self._look({})
        if self.schedule.steps == 0:
            state.stopped = "all steps taken"
            return {"step": 0}
        row: Row = {"step": state.step + 1}
        if len(self.phases) > 1:
            row["phase"] = self.phase.name
        asked = self.ask()
        score, gradient = self.judge(asked)
        finite = bool(torch.isfinite(score.objective).all())
        if not finite or (gradient is not None and not bool(torch.isfinite(gradient).all())):
            state.stopped = "the rating or its gradient is not finite"
            return row
        self.tell(score.objective, gradient)
        row |= {
            "window": round(asked.windows[0].start, 3),
            "rating": float(score.rating.detach().mean()),
            "ratings": [float(value) for value in score.rating.detach()],
            "objective": float(score.objective.detach().mean()),
            "terms": {name: float(term.detach().mean()) for name, term in score.terms.items()},
            "measures": {name: float(value.detach().mean()) for name, value in score.measures.items()},
        }
        ends = self._phase_over
        if state.step % self.schedule.evaluate_every == 0 or ends:
            self._look(row)
        if ends and state.phase + 1 < len(self.phases):
            self._leave()
        self._stop()
        state.seconds = time.monotonic() - self._started
        row["seconds"] = round(state.seconds, 3)
        state.history.append(row)
        state.optimizer, state.objective = self.optimizer.state(), self.objective.state()
        return row

    def _window(self, index: int) -> Window:
        """A random stretch of the song, drawn from the seed and the optimizer's round."""
        number = (self.state.step - self.state.phase_step + self.optimizer.round) * self.schedule.windows + index
        length = min(self.schedule.window, self.song.length)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        start = float(torch.rand((), generator=generator)) * (self.song.length - length)
        return Window(start, length)

    def _relaxation(self, candidates: int) -> Relaxation | None:
        """How choices are blended in this step."""
        if not self.knobs.chooses or self.optimizer.decides or self.phase.decided:
            return None
        temperature = self._temperature()
        if not self.schedule.gumbel:
            return Relaxation(temperature)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.state.step + 500_000)
        return Relaxation.gumbel((candidates, self.knobs.size), temperature, generator)

    def _temperature(self) -> float:
        warm, cold = (float(value) for value in self.schedule.temperature)
        blended = sum(phase.steps for phase in self.phases if not phase.decided)
        part = blended / max(1, self.schedule.steps)
        share = min(1.0, max(self.state.step / max(1, blended - 1), self._spent / max(part, 1e-9)))
        return warm * math.exp(share * math.log(cold / warm))

    # Looks -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _look(self, row: Row) -> None:
        """Compare the leaders, choices decided, on the same windows; keep the best, count plateaus and partings."""
        leaders = self._leaders()
        patch = self.knobs.harden(self.knobs.apply(leaders, self.song.start))
        asked = Asked(leaders, patch, [])
        scores, heldout = [], []
        for window in self._fixed_windows():
            heard = self._hear(asked, window)
            scores.append(self.objective.score(heard))
            judged = self.objective.rate_heldout(heard.audio, heard.sample_rate)
            if judged is not None:
                heldout.append(judged)
        score = Score.mean(scores)
        strangers = torch.stack(heldout).mean(dim=0) if heldout else None
        keep = self._keep_best if self.objective.front is None else self._keep_front
        keep(leaders, score, strangers)
        row["looked"] = {
            "best": self.state.best_rating,
            "ratings": [float(value) for value in score.rating],
            "diversity": float(self.knobs.positions(leaders).std(dim=0, correction=0).mean()),
        }
        if strangers is not None:
            row["heldout"] = float(strangers[int(score.merit.nan_to_num(-math.inf).argmax())])

    def _fixed_windows(self) -> list[Window]:
        """The windows on which candidates are compared."""
        length = min(self.schedule.window, self.song.length)
        room = self.song.length - length
        return [Window(room * (index + 0.5) / self.LOOKS, length) for index in range(self.LOOKS)]

    def _on_fixed_windows(self, asked: Asked) -> Score:
        """The mean score of candidates on the windows on which they are compared."""
        return Score.mean([self.objective.score(self._hear(asked, window)) for window in self._fixed_windows()])

    @torch.no_grad()
    def hear_start(self, window: Window) -> Heard:
        """What the climb begins from, in a window."""
        return self._hear(Asked(self.knobs.unbounded(self.song.start), self.song.start, []), window)

    def _keep_best(self, leaders: Tensor, score: Score, heldout: Tensor | None) -> None:
        state, tolerance, merit = self.state, self.schedule.tolerance, score.merit
        leader = int(merit.nan_to_num(-math.inf).argmax())
        improved = float(merit[leader]) > state.best_objective + tolerance
        fell = False
        if heldout is not None and state.best_heldout is not None:
            # A bound that comes to be kept may cost any rating: only where none does is a fall a parting.
            nearer = float(score.violation[leader]) < state.best_violation - NEARER
            fell = float(heldout[leader]) < state.best_heldout - tolerance and not nearer
        state.parted = state.parted + 1 if improved and fell else 0
        state.stalled = 0 if improved else state.stalled + 1
        if improved and not fell:
            state.best = leaders[leader : leader + 1].clone()
            state.best_objective = float(merit[leader])
            state.best_rating = float(score.rating[leader])
            state.best_heldout = None if heldout is None else float(heldout[leader])
            state.best_violation = float(score.violation[leader])

    def _keep_front(self, leaders: Tensor, score: Score, heldout: Tensor | None) -> None:
        """As `_keep_best`, for every candidate by itself."""
        state, tolerance = self.state, self.schedule.tolerance
        merit = score.merit.nan_to_num(-math.inf)
        found = {"z": leaders, "merit": merit, "rating": score.rating, "violation": score.violation}
        found |= {} if heldout is None else {"heldout": heldout}
        kept = {key: value.to(leaders) for key, value in state.front.items()}
        improved = torch.ones_like(merit, dtype=torch.bool)
        fell = torch.zeros_like(improved)
        if kept:
            improved = found["merit"] > kept["merit"] + tolerance
            nearer = found["violation"] < kept["violation"] - NEARER
            fell = (found["heldout"] < kept["heldout"] - tolerance) & ~nearer if "heldout" in kept else fell
        taken = improved & ~fell
        state.parted = state.parted + 1 if bool(improved.any()) and not bool(taken.any()) else 0
        state.stalled = 0 if bool(improved.any()) else state.stalled + 1
        for key, value in found.items():
            rows = taken.reshape(-1, *[1] * (value.ndim - 1))
            state.front[key] = torch.where(rows, value, kept[key]) if kept else value.clone()
        leader = int(state.front["merit"].argmax())
        state.best = state.front["z"][leader : leader + 1].clone()
        state.best_objective = float(state.front["merit"][leader])
        state.best_rating = float(state.front["rating"][leader])
        state.best_heldout = float(state.front["heldout"][leader]) if "heldout" in state.front else None

    def _stop(self) -> None:
        state, schedule = self.state, self.schedule
        last = state.phase + 1 == len(self.phases)
        if state.step >= schedule.steps or (last and state.phase_step >= self.phase.steps):
            state.stopped = "all steps taken"
        elif state.parted >= schedule.patience:
            state.stopped = "the held-out rating fell while the climbed rating rose"
        elif state.stalled >= schedule.patience:
            self._end_phase_or_stop("plateau")
        if not state.stopped and self._spent >= 1.0:
            state.stopped = "budget spent"

    def _end_phase_or_stop(self, reason: str) -> None:
        """A plateau ends a phase; in the last one it ends the climb."""
        if self.state.phase + 1 < len(self.phases):
            self.state.stalled = 0
            self._leave()
        else:
            self.state.stopped = reason

    def result(self) -> Climbed:
        """The best so far."""
        state, front, relaxed = self.state, None, None
        if state.front:
            front = self._decided(state.front["z"].to(state.best))
        if self.knobs.chooses and not self.kind.decides:
            z = state.best if state.relaxed_temperature is None else state.relaxed
            relaxation = Relaxation(state.relaxed_temperature or self._temperature())
            relaxed = self.knobs.apply(z, self.song.start, relaxation).map(lambda value: value.detach())
        return Climbed(self._decided(state.best), self.knobs, state.stopped, state.history, relaxed, front)

    def _decided(self, z: Tensor) -> Patch:
        return self.knobs.harden(self.knobs.apply(z, self.song.start)).map(lambda value: value.detach())


def _gradient(value: Tensor, z: Tensor, more: bool) -> Tensor:
    """The gradient in z; `more` windows follow, that share its graph."""
    try:
        (gradient,) = torch.autograd.grad(value, z, retain_graph=more)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # a user's own module may raise anything, also on the way back
        raise RaterFailed(f"the gradient failed: {type(error).__name__}: {error}") from error
    return gradient


def climb(
    song: Song,
    rater: Rater | Judge | Sequence[Judge] | Objective,
    learn: Sequence[str] | None = None,
    heldout: Judge | None = None,
    seed: int = 0,
    on_step: Callable[[Row], None] | None = None,
    neutral: float = 3.0,
    bounds: float = 0.05,
    optimizer: str = "adam",
    **settings: Any,
) -> Climbed:
    """Climb a rater through the knobs of a song.

    Args:
        song: from `Song.load`; it is climbed from `song.start`.
        rater: any `audio (batch, channels, samples), sample_rate -> (batch,)`, differentiable where the optimizer
            needs a gradient; or several; or a whole `Objective`, which then says all that is climbed.
        learn: patterns of the parameters to free; the song's own choice where None.
        heldout: a rater that stops the climb but is never climbed.
        seed: of the variations and of the windows.
        on_step: called with each row of the history.
        neutral, bounds: weights of the objective's terms.
        optimizer: its name, as in the config group.
        **settings: of the schedule (see `Schedule`) and of the optimizer itself, for example steps=200, batch=4.

    Returns:
        the best patch and how it was found. `song(result.patch)` is its master.
    """
    if isinstance(rater, Objective):
        objective = rater
    else:
        objective = Objective(list(rater) if isinstance(rater, Sequence) else [rater], heldout, neutral, bounds)
    schedule, own = split_settings(optimizer, settings)
    patterns = song.learn if learn is None else learn
    ascent = Ascent(song, objective, patterns, schedule, seed, optimizer=optimizer, settings=own)
    while not ascent.finished:
        row = ascent.advance()
        if on_step is not None:
            on_step(row)
    return ascent.result()


def split_settings(optimizer: str, values: dict[str, Any]) -> tuple[Schedule, Any]:
    """The schedule and the optimizer's own settings among `values`. Raises `UserError` for an unknown key."""
    shared = {entry.name for entry in dataclasses.fields(Schedule)}
    schedule = Schedule.of(**{key: value for key, value in values.items() if key in shared})
    own = optimizers.settings_of(optimizer, {key: value for key, value in values.items() if key not in shared})
    return schedule, own
