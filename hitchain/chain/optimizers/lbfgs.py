"""Gradient ascent with a curvature model: limited-memory BFGS with a backtracking line search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.optimizers.optimizer import Optimizer, Start
from hitchain.chain.optimizers.settings import setting

SUFFICIENT = 1e-4
"""Share of the rise that the slope promises which a step must reach (Armijo)."""
SMALLEST_STEP = 1e-4
LARGEST_MOVE = 0.5
"""A knob moves at most so far, on the unbounded scale, in one trial: beyond, the model says nothing."""


@dataclass(frozen=True)
class LBFGSSettings:
    """Attributes:

    history: pairs of moves and changes of the gradient that are remembered.
    refresh: trials heard on one window before another one is drawn.
    first_move: length of the very first trial, in root mean square over the knobs.
    """

    history: int = setting(10, 1, 100)
    refresh: int = setting(12, 2, 100_000)
    first_move: float = setting(0.1, 1e-6, 10.0)


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5), every candidate on its own.

    A line search compares objectives, so a window is kept for `refresh` trials. When it changes, the value and the
    gradient are taken again where the candidate stands, and the curvature that was learnt is kept.
    """

    name = "lbfgs"
    Settings = LBFGSSettings
    keeps_places = True

    settings: LBFGSSettings

    def __init__(self, start: Start, settings: LBFGSSettings) -> None:
        super().__init__(start, settings)
        batch, columns = start.z.shape
        self.z = start.z.clone()
        self.value = torch.full((batch,), -torch.inf, dtype=start.z.dtype, device=start.z.device)
        self.gradient = torch.zeros_like(self.z)
        self.direction = torch.zeros_like(self.z)
        self.step = torch.ones_like(self.value)
        self.moves = self.z.new_zeros(batch, settings.history, columns)
        self.changes = torch.zeros_like(self.moves)
        self.filled = torch.zeros(batch, dtype=torch.long, device=self.z.device)
        self.count = 0

    @property
    def round(self) -> int:
        return self.count // self.settings.refresh

    @property
    def _begins(self) -> bool:
        """Whether this trial is the first on its window: then it is where the candidate stands."""
        return self.count % self.settings.refresh == 0

    def ask(self) -> Tensor:
        return self.z if self._begins else self.z + self.step[:, None] * self.direction

    def tell(self, values: Tensor, gradient: Tensor | None) -> None:
        assert gradient is not None
        gradient = gradient * self.start.rates
        if self._begins:
            self.value, self.gradient = values.clone(), gradient.clone()
            accepted = torch.ones_like(values, dtype=torch.bool)
        else:
            accepted = self._accept(values, gradient)
        for item in torch.nonzero(accepted).flatten().tolist():
            self.direction[item] = self._direction(item)
        self.step = torch.where(accepted, torch.ones_like(self.step), 0.5 * self.step)
        self._give_up()
        self.count += 1

    def _accept(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Take the trials that rose enough, and learn from them."""
        slope = (self.gradient * self.direction).sum(-1)
        accepted = values >= self.value + SUFFICIENT * self.step * slope
        move = self.step[:, None] * self.direction
        change = self.gradient - gradient  # of the negated objective, which BFGS descends
        curved = accepted & ((move * change).sum(-1) > 1e-10 * move.norm(dim=-1) * change.norm(dim=-1))
        for item in torch.nonzero(curved).flatten().tolist():
            self.moves[item] = torch.cat([self.moves[item, 1:], move[item : item + 1]])
            self.changes[item] = torch.cat([self.changes[item, 1:], change[item : item + 1]])
            self.filled[item] = min(int(self.filled[item]) + 1, self.settings.history)
        self.z = torch.where(accepted[:, None], self.z + move, self.z)
        self.value = torch.where(accepted, values, self.value)
        self.gradient = torch.where(accepted[:, None], gradient, self.gradient)
        return accepted

    def _direction(self, item: int) -> Tensor:
        """The two-loop recursion, upward; no knob further than `LARGEST_MOVE`."""
        used = int(self.filled[item])
        direction = self.gradient[item].clone()
        if used == 0:
            size = direction.square().mean().sqrt().clamp_min(1e-20)
            return direction * (self.settings.first_move / size)
        pairs = list(zip(self.moves[item, -used:], self.changes[item, -used:], strict=True))
        shares = []
        for move, change in reversed(pairs):
            share = (move @ direction) / (move @ change)
            direction = direction - share * change
            shares.append(share)
        move, change = pairs[-1]
        direction = direction * ((move @ change) / (change @ change))
        for (move, change), share in zip(pairs, reversed(shares), strict=True):
            direction = direction + move * (share - (change @ direction) / (move @ change))
        if bool((direction @ self.gradient[item]) <= 0) or not bool(torch.isfinite(direction).all()):
            self.filled[item] = 0
            return self._direction(item)
        shortened: Tensor = direction * (LARGEST_MOVE / direction.abs().max()).clamp(max=1.0)
        return shortened

    def _give_up(self) -> None:
        """A line search that found nothing forgets the curvature and follows the gradient."""
        for item in torch.nonzero(self.step < SMALLEST_STEP).flatten().tolist():
            self.filled[item] = 0
            self.direction[item] = self._direction(item)
            self.step[item] = 1.0

    def leaders(self) -> Tensor:
        return self.z

    _KEPT = ("z", "value", "gradient", "direction", "step", "moves", "changes", "filled")

    def state(self) -> dict[str, Tensor]:
        return {**{key: getattr(self, key).clone() for key in self._KEPT}, "count": torch.tensor(self.count)}

    def restore(self, state: dict[str, Tensor]) -> None:
        for key in self._KEPT:
            setattr(self, key, state[key].to(self.z.device))
        self.count = int(state["count"])
