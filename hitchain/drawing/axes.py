"""Axes: values to places in an SVG drawing, with a grid of round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 18.0, 38.0
"""Margins for the numbers at the axes, in the drawing's units."""


@dataclass(frozen=True)
class Axes:
    """A drawing of `width` by `height` that shows x from `first` to `last` and y from `low` to `high`."""

    first: float
    last: float
    low: float
    high: float
    width: float = 800.0
    height: float = 280.0

    @classmethod
    def around(
        cls, x: Sequence[float], y: Sequence[float], margin: float = 0.05, width: float = 800.0, height: float = 280.0
    ) -> Axes:
        """Axes that hold all of some values, with a margin as a share of the span on each side."""
        x_space, y_space = (max(margin * (max(values) - min(values)), 1e-12) for values in (x, y))
        return cls(min(x) - x_space, max(x) + x_space, min(y) - y_space, max(y) + y_space, width, height)

    def x(self, value: float) -> float:
        return LEFT + (self.width - LEFT - RIGHT) * (value - self.first) / max(self.last - self.first, 1e-15)

    def y(self, value: float) -> float:
        return TOP + (self.height - TOP - BOTTOM) * (self.high - value) / max(self.high - self.low, 1e-15)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        """The `d` of an SVG path through points (x, y)."""
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def grid(self, x_label: str, y_label: str = "", most_x: int = 8, most_y: int = 5) -> str:
        """Lines across at round values of y, round numbers below at x (none with most_x=0), and the axes' names."""
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        parts = []
        for value in ticks(self.low, self.high, most_y):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        for step in ticks(self.first, self.last, most_x) if most_x else ():
            parts.append(f'<text x="{self.x(step):.1f}" y="{bottom + 22}" text-anchor="middle">{step:g}</text>')
        parts.append(f'<text x="{right}" y="{self.height - 2}" text-anchor="end">{x_label}</text>')
        if y_label:
            parts.append(f'<text x="{LEFT}" y="{TOP - 2}">{y_label}</text>')
        return "".join(parts)

    def svg(self, content: str, label: str) -> str:
        """The drawing around its content; `label` says in words what it shows. Both are HTML."""
        box = f"0 0 {self.width:.0f} {self.height:.0f}"
        return f'<svg viewBox="{box}" role="img" aria-label="{label}">{content}</svg>'


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round numbers (1, 2 or 5 times a power of ten apart) in [low, high]."""
    if high <= low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    gap = next(power * factor for factor in (1, 2, 5, 10) if (high - low) / (power * factor) <= most)
    first = math.ceil(low / gap - 1e-9)
    digits = 10 - min(0, math.floor(math.log10(gap)))
    return [round(index * gap, digits) for index in range(first, math.floor(high / gap + 1e-9) + 1)]
