"""A parameter: one knob of a block, declared once. Range checks, help, docs, reports and tests are derived from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hitchain.errors import UserError, nearest

Scale = Literal["linear", "log"]
Settings = Mapping[str, Tensor]
"""Values for one block, in physical units: {parameter: (batch,), (batch, frames), (batch, notes), (batch, options) or
(batch, notes, options)}.

Beside a block's parameters they may hold what every block is told, under reserved keys:
    seed       integer (): from which all noise is drawn
    start      float64 (): when in the song the audio begins [s]; what moves by itself keeps its phase by it
    onsets     (batch, notes): of the track's notes, from the start of the audio [s]; negative before it, inf for none
    sidechain  (batch, channels, samples): the audio of another track, for a block that listens to one
"""

SEED, START, ONSETS, SIDECHAIN = "seed", "start", "onsets", "sidechain"
RESERVED = (SEED, START, ONSETS, SIDECHAIN)


@dataclass(frozen=True)
class Parameter:
    """A bounded, continuous knob.

    Args:
        name: a word a person would find on a front panel, spelled out.
        low, high: the inclusive range, in `unit`.
        default: the value of an untouched knob.
        unit: "Hz", "dB", "ms", "s", "semitones", "LUFS", "%", ... or "" for a plain number.
        scale: how the knob turns: "linear", or "log" (equal ratios for equal turns; needs low > 0).
        description: one line for people.
        per_note: one value for each note, shape (batch, notes), instead of one for the whole render.
        varying: may also be given through time, shape (batch, frames), interpolated over the signal.
        estimate: the gradient is a declared estimate (such as straight-through rounding), not the derivative.
    """

    name: str
    low: float
    high: float
    default: float
    unit: str = ""
    scale: Scale = "linear"
    description: str = ""
    per_note: bool = False
    varying: bool = False
    estimate: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.low < self.high:
            raise ValueError(f"parameter {self.name}: low {self.low} must be below high {self.high}")
        if not self.low <= self.default <= self.high:
            raise ValueError(f"parameter {self.name}: default {self.default} is outside {self.range}")
        if self.scale not in ("linear", "log") or (self.scale == "log" and self.low <= 0):
            raise ValueError(f"parameter {self.name}: scale '{self.scale}' does not fit the range {self.range}")

    @property
    def range(self) -> str:
        """The range for people: '20 to 20000 Hz'."""
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()

    def from_unit(self, position: Tensor) -> Tensor:
        """Knob position in [0, 1] -> physical value. Any shape; differentiable."""
        if self.scale == "log":
            return torch.exp(math.log(self.low) + position * math.log(self.high / self.low))
        return self.low + position * (self.high - self.low)

    def to_unit(self, value: Tensor) -> Tensor:
        """Physical value -> knob position in [0, 1]. Any shape; differentiable."""
        if self.scale == "log":
            return torch.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def check(self, value: object, where: str) -> float:
        """`value` as a float. Raises `UserError` naming `where` if it is no number or outside the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{where}={value!r} is not a number; it takes {self.range}.")
        if not self.low <= value <= self.high:
            raise UserError(f"{where}={value:g} is out of range; it takes {self.range}.")
        return float(value)

    def show(self, value: float) -> str:
        """A value for people: '1.20 kHz' is written '1200 Hz'; four significant digits."""
        return f"{value:.4g} {self.unit}".rstrip()


@dataclass(frozen=True)
class Choice:
    """A knob with named positions. Its setting is a weight for each option, shape (batch, options), summing to 1.

    An ascent blends the options softly and ends on the strongest; a person just names one. With `per_note` there are
    weights for each note, (batch, notes, options), or (batch, options) where they are the same for all.
    """

    name: str
    options: tuple[str, ...]
    default: str
    description: str = ""
    per_note: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.default not in self.options or len(set(self.options)) != len(self.options):
            raise ValueError(f"choice {self.name}: default '{self.default}' must be one of distinct {self.options}")

    @property
    def range(self) -> str:
        """The options for people."""
        return ", ".join(self.options)

    def weights(self, option: str) -> Tensor:
        """The setting that is wholly `option`: float32, shape (options,)."""
        return torch.tensor([1.0 if name == option else 0.0 for name in self.options])

    def check(self, value: object, where: str) -> Tensor:
        """Weights of shape (options,) from an option's name or a list of weights; with `per_note` also (notes, options)
        from a list of those. Raises `UserError` naming `where`."""
        if self.per_note and isinstance(value, list) and value and isinstance(value[0], str | list):
            return torch.stack([self._check_one(item, where) for item in value])
        return self._check_one(value, where)

    def _check_one(self, value: object, where: str) -> Tensor:
        if isinstance(value, list | tuple):
            return self._check_weights([self._number(weight, where) for weight in value], where)
        name = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
        if name not in self.options:
            raise UserError(f"{where}={value!r} is not an option; {nearest(name, self.options)}")
        return self.weights(name)

    def _number(self, value: object, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < math.inf:
            raise UserError(f"{where}: weight {value!r} is not a number from 0 up.")
        return float(value)

    def _check_weights(self, weights: list[float], where: str) -> Tensor:
        total = sum(weights)
        if len(weights) != len(self.options) or total <= 0:
            raise UserError(f"{where} needs {len(self.options)} weights, not all 0, one for each of: {self.range}.")
        return torch.tensor(weights) / total

    def plain(self, weights: Tensor) -> Any:
        """Weights (options,) or (notes, options) as JSON has them: an option's name, or weights where it is a blend."""
        if weights.ndim > 1:
            return [self.plain(own) for own in weights]
        numbers: list[float] = weights.tolist()
        return self.options[numbers.index(max(numbers))] if max(numbers) > 0.999 else numbers

    def show(self, weights: Sequence[Any]) -> str:
        """Weights for people: the option's name, or shares where it is a blend; of many notes, their mean."""
        if isinstance(weights[0], Sequence):
            return self.show([sum(column) / len(weights) for column in zip(*weights, strict=True)])
        if max(weights) > 0.995:
            return self.options[weights.index(max(weights))]
        return " + ".join(f"{100 * w:.0f} % {o}" for o, w in zip(self.options, weights, strict=True) if w > 0.005)


def _check_name(name: str) -> None:
    if name in RESERVED:
        raise ValueError(f"a parameter cannot be named '{name}': under that key every block is told something")
