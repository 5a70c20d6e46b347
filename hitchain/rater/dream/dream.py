"""Gradient ascent on audio: what pleases a rating network where nothing holds the waveform to music."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hitchain.errors import UserError
from hitchain.rater.dream.settings import DreamSettings
from hitchain.rater.dream.transform import band_limited, transformed

Judge = Callable[[Tensor, int], Tensor]
"""audio (batch, channels, samples), sample rate [Hz] -> rating (batch,)."""

START_LEVEL = 0.1
"""Root-mean-square level of the noise that a dream starts from."""
NOT_FINITE = "the rating or its gradient is not finite"
LOWEST_SPECTRAL = 20.0
"""[Hz] under which the 1/f scale of the spectral parameterisation stays flat."""


@dataclass
class Dreamed:
    """What a dream came to.

    Attributes:
        audio: (batch, channels, samples), the last.
        start: the same shape, what it began from.
        gained: {gain: audio} for each milestone, as each item first reached it; NaN where it never did.
        reached: {gain: bool (batch,)}.
        history: a row for each step: `step`, `ratings` (batch,) and `seconds`.
        stopped: why it ended.
    """

    audio: Tensor
    start: Tensor
    gained: dict[float, Tensor]
    reached: dict[float, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""


class Dream:
    """A dream in progress: Adam on samples or Fourier coefficients, each item of the batch on its own.

    The level of the start is kept after each step and samples stay within full scale, so that nothing is won or lost
    by loudness. Everything random is drawn from (seed, step).

    Args:
        judge: what is climbed: differentiable.
        start: (batch, channels, samples); what `noise` gives where None is wanted.
        sample_rate: [Hz].
        settings: how it goes.
        extra: more to climb, beside the judge; for example a critic: audio, sample rate -> (batch,).
    """

    BETAS = (0.9, 0.99)

    def __init__(
        self, judge: Judge, start: Tensor, sample_rate: int, settings: DreamSettings, extra: Judge | None = None
    ) -> None:
        if start.ndim != 3 or not start.is_floating_point():
            raise UserError(f"a dream starts from audio (batch, channels, samples), not {tuple(start.shape)}.")
        self.judge, self.sample_rate, self.settings, self.extra = judge, sample_rate, settings, extra
        self.start = start.detach()
        self.level = _level(self.start).clamp_min(1e-4)
        self.scale = _spectral_scale(start.shape[-1], sample_rate).to(start.device)
        self.free = self._inverse(band_limited(self.start, sample_rate, settings.low_hz, settings.high_hz))
        self.mean, self.square = torch.zeros_like(self.free), torch.zeros_like(self.free)
        self.step = 0
        self.finite = True

    def audio(self) -> Tensor:
        """The audio as it is: (batch, channels, samples)."""
        return self._forward(self.free.detach())

    def advance(self) -> Tensor:
        """One step. Returns the judge's rating of the audio before it: (batch,).

        Where that or its gradient is not finite, nothing moves and `finite` is False from then on.

        Raises:
            UserError: the judge's rating does not depend on the audio by a gradient.
        """
        free = self.free.detach().requires_grad_(True)
        audio = self._forward(free)
        rating = self.judge(audio, self.sample_rate)
        if not rating.requires_grad:
            raise UserError("a dream follows the gradient of a rating; this rater gives none.")
        altered = transformed(audio, self.sample_rate, self.settings, self.step)
        objective = rating if altered is audio else self.judge(altered, self.sample_rate)
        if self.settings.total_variation:
            steps = (audio[..., 1:] - audio[..., :-1]).abs().mean(dim=(1, 2))
            objective = objective - self.settings.total_variation * steps / self.level.flatten()
        if self.extra is not None:
            objective = objective + self.extra(altered, self.sample_rate)
        (gradient,) = torch.autograd.grad(objective.sum(), free)
        self.finite = bool(torch.isfinite(rating).all()) and bool(torch.isfinite(gradient).all())
        if self.finite:
            self._move(gradient)
            self.step += 1
        return rating.detach()

    @torch.no_grad()
    def _move(self, gradient: Tensor) -> None:
        """Adam, upward; then back to the level of the start and into the band."""
        beta1, beta2 = self.BETAS
        self.mean = beta1 * self.mean + (1 - beta1) * gradient
        self.square = beta2 * self.square + (1 - beta2) * gradient.square()
        mean = self.mean / (1 - beta1 ** (self.step + 1))
        square = self.square / (1 - beta2 ** (self.step + 1))
        size = 1.0 if self._spectral else self.level
        free = self.free + self.settings.learning_rate * size * mean / (square.sqrt() + 1e-12)
        audio = band_limited(self._forward(free), self.sample_rate, self.settings.low_hz, self.settings.high_hz)
        audio = (audio * (self.level / _level(audio).clamp_min(1e-9))).clamp(-1.0, 1.0)
        self.free = self._inverse(audio)

    @property
    def _spectral(self) -> bool:
        return self.settings.parameterisation == "spectral"

    def _forward(self, free: Tensor) -> Tensor:
        """Free numbers -> audio."""
        if not self._spectral:
            return free
        coefficients = torch.view_as_complex(free) * (self.scale * self.level)
        audio: Tensor = torch.fft.irfft(coefficients, n=self.start.shape[-1], norm="ortho")
        return audio

    def _inverse(self, audio: Tensor) -> Tensor:
        """Audio -> the free numbers that give it."""
        if not self._spectral:
            return audio.clone()
        coefficients = torch.fft.rfft(audio, norm="ortho") / (self.scale * self.level)
        return torch.view_as_real(coefficients).contiguous()

    def state(self) -> dict[str, Tensor]:
        """All that changes, as tensors."""
        return {"free": self.free, "mean": self.mean, "square": self.square, "step": torch.tensor(self.step)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from `state`."""
        self.free, self.mean, self.square = (state[key].to(self.start.device) for key in ("free", "mean", "square"))
        self.step = int(state["step"])


def noise(batch: int, seconds: float, sample_rate: int, seed: int, channels: int = 2) -> Tensor:
    """White noise to dream from: (batch, channels, samples)."""
    generator = torch.Generator().manual_seed(seed)
    return START_LEVEL * torch.randn(batch, channels, round(seconds * sample_rate), generator=generator)


def dream(
    judge: Judge,
    start: Tensor,
    sample_rate: int,
    settings: DreamSettings | None = None,
    milestones: Sequence[float] = (),
    budget: float | None = None,
    extra: Judge | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    stop_at_last: bool = True,
) -> Dreamed:
    """Dream to the end.

    Args:
        judge, start, sample_rate, settings, extra: see `Dream`.
        milestones: gains over the start's rating at which the audio is kept; the dream ends when every item has
            reached the last.
        budget: [s] of the process's own time on the processor; None for none.
        on_step: called with each row of the history.
        stop_at_last: whether the last milestone ends it.
    """
    going = Dream(judge, start, sample_rate, settings or DreamSettings(), extra)
    goals = sorted(float(goal) for goal in milestones)
    result = Dreamed(
        audio=start,
        start=start,
        gained={goal: torch.full_like(start, math.nan) for goal in goals},
        reached={goal: torch.zeros(len(start), dtype=torch.bool) for goal in goals},
    )
    began = time.process_time()
    first = _rated(judge, start, sample_rate)
    before = start
    while not result.stopped:
        audio = going.audio()
        rating = going.advance() if going.step < going.settings.steps else _rated(judge, audio, sample_rate)
        if not going.finite or not bool(torch.isfinite(rating).all()):
            result.stopped = NOT_FINITE
            break
        row = {
            "step": len(result.history),
            "ratings": rating.tolist(),
            "seconds": round(time.process_time() - began, 3),
        }
        result.history.append(row)
        result.audio = audio
        for goal in goals:
            new = ((rating - first >= goal).cpu() & ~result.reached[goal]).to(audio.device)
            if bool(new.any()):
                paused = time.process_time()  # looking for the exact place is no part of the climb
                exact = _where_it_gains(judge, before[new], audio[new], first[new] + goal, sample_rate)
                began += time.process_time() - paused
                result.gained[goal][new] = exact
                result.reached[goal] |= new.cpu()
        before = audio
        if on_step is not None:
            on_step(row)
        if stop_at_last and goals and bool(result.reached[goals[-1]].all()):
            result.stopped = "all milestones reached"
        elif len(result.history) > going.settings.steps:
            result.stopped = "all steps taken"
        elif budget is not None and time.process_time() - began >= budget:
            result.stopped = "budget spent"
    return result


@torch.no_grad()
def _rated(judge: Judge, audio: Tensor, sample_rate: int) -> Tensor:
    return torch.as_tensor(judge(audio, sample_rate))


@torch.no_grad()
def _where_it_gains(
    judge: Judge, before: Tensor, after: Tensor, goal: Tensor, sample_rate: int, halvings: int = 7
) -> Tensor:
    """The audio between two steps at which a goal (batch,) is just reached, by halving the way between them.

    A step may jump far past a goal, and gains that are to be compared must be equal.
    """
    low, high = torch.zeros_like(goal), torch.ones_like(goal)
    for _ in range(halvings):
        middle = (low + high) / 2
        enough = _rated(judge, torch.lerp(before, after, middle[:, None, None]), sample_rate) >= goal
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    exact: Tensor = torch.lerp(before, after, high[:, None, None])
    return exact


def _level(audio: Tensor) -> Tensor:
    """Root mean square of every item: (batch, 1, 1)."""
    return audio.square().mean(dim=(1, 2), keepdim=True).sqrt()


def _spectral_scale(samples: int, sample_rate: int) -> Tensor:
    """The 1/f scale of the spectral parameterisation, of unit mean square: (samples // 2 + 1,)."""
    scale = 1.0 / torch.fft.rfftfreq(samples, 1.0 / sample_rate).clamp_min(LOWEST_SPECTRAL)
    unit: Tensor = scale / scale.square().mean().sqrt()
    return unit
