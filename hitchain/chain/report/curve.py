"""The rating curve of a climb as an SVG drawing and the values behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hitchain.chain.report.run import number

WIDTH, HEIGHT = 800.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 38.0

_SERIES = (
    ("best", "best candidate, on the same windows"),
    ("rating", "mean of the candidates, on each step's window"),
    ("heldout", "held-out rater"),
)


@dataclass(frozen=True)
class Curve:
    """A drawing, its legend, and its values by step for the pointer: {"x": [...], "series": [{label, key, y}]}."""

    svg: str
    legend: str
    data: dict[str, Any]


@dataclass(frozen=True)
class _Axes:
    first: float
    last: float
    low: float
    high: float

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - self.first) / max(self.last - self.first, 1e-9)

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)


def series(history: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """The points (step, value) of one series: "rating", "heldout" or "best"."""
    points = []
    for row in history:
        looked = row.get("looked")
        value = row.get(key) if key != "best" else looked.get("best") if isinstance(looked, dict) else None
        if (found := number(value)) is not None:
            points.append((float(row["step"]), found))
    return points


def candidates(history: Sequence[dict[str, Any]]) -> list[list[tuple[float, float]]]:
    """The points of each candidate by itself."""
    lines: dict[int, list[tuple[float, float]]] = {}
    for row in history:
        ratings = row.get("ratings")
        for index, value in enumerate(ratings if isinstance(ratings, list) else []):
            if (found := number(value)) is not None:
                lines.setdefault(index, []).append((float(row["step"]), found))
    return list(lines.values())


def draw(history: Sequence[dict[str, Any]]) -> Curve | None:
    """The curve of a history, or None where it holds no rating."""
    lines = {key: series(history, key) for key, _ in _SERIES}
    lines = {key: points for key, points in lines.items() if points}
    if not lines:
        return None
    faint = candidates(history)
    axes = _axes([point for points in [*lines.values(), *faint] for point in points])
    labels = {key: label for key, label in _SERIES if key in lines}
    parts = [_grid(axes)]
    parts += [f'<path class="candidate" d="{_path(axes, points)}"/>' for points in faint]
    parts += [_line(axes, key, points) for key, points in reversed(lines.items())]
    summary = "; ".join(f"{labels[key]}: {p[0][1]:.3f} to {p[-1][1]:.3f}" for key, p in lines.items())
    svg = (
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="Rating by step. {summary}.">'
        f'{"".join(parts)}<line class="cross" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>'
    )
    legend = "".join(f'<span class="{key}"><i></i>{label}</span>' for key, label in labels.items())
    if faint:
        legend += '<span class="candidate"><i></i>each candidate</span>'
    return Curve(svg, legend, _data(axes, lines, labels))


def _axes(points: Sequence[tuple[float, float]]) -> _Axes:
    low, high = min(y for _, y in points), max(y for _, y in points)
    margin = max(0.05 * (high - low), 1e-3)
    return _Axes(min(x for x, _ in points), max(x for x, _ in points), low - margin, high + margin)


def _grid(axes: _Axes) -> str:
    parts = []
    for value in ticks(axes.low, axes.high, 5):
        y = axes.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for step in ticks(axes.first, axes.last, 8):
        parts.append(f'<text x="{axes.x(step):.1f}" y="{HEIGHT - 16}" text-anchor="middle">{step:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">step</text>')
    return "".join(parts)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round numbers (1, 2 or 5 times a power of ten apart) in [low, high]."""
    if high <= low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    gap = next(power * factor for factor in (1, 2, 5, 10) if (high - low) / (power * factor) <= most)
    first = math.ceil(low / gap - 1e-9)
    return [round(index * gap, 10) for index in range(first, math.floor(high / gap + 1e-9) + 1)]


def _path(axes: _Axes, points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in points)


def _line(axes: _Axes, key: str, points: Sequence[tuple[float, float]]) -> str:
    dots = (
        ""
        if len(points) > 60 or key == "rating"
        else "".join(f'<circle class="{key}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="2.5"/>' for x, y in points)
    )
    return f'<path class="{key}" d="{_path(axes, points)}"/>{dots}'


def _data(axes: _Axes, lines: dict[str, list[tuple[float, float]]], labels: dict[str, str]) -> dict[str, Any]:
    steps = sorted({x for points in lines.values() for x, _ in points})
    values = {key: dict(points) for key, points in lines.items()}
    return {
        "steps": steps,
        "x": [round(axes.x(step), 1) for step in steps],
        "width": WIDTH,
        "series": [
            {"key": key, "label": labels[key], "values": [values[key].get(step) for step in steps]} for key in lines
        ],
    }
