"""The rating curve of a climb as an SVG drawing and the values behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hitchain.drawing.axes import BOTTOM, TOP, Axes
from hitchain.drawing.page import number

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
    parts = [axes.grid("step")]
    parts += [f'<path class="candidate" d="{axes.path(points)}"/>' for points in faint]
    parts += [_line(axes, key, points) for key, points in reversed(lines.items())]
    summary = "; ".join(f"{labels[key]}: {p[0][1]:.3f} to {p[-1][1]:.3f}" for key, p in lines.items())
    parts.append(f'<line class="cross" y1="{TOP}" y2="{axes.height - BOTTOM}"/>')
    svg = axes.svg("".join(parts), f"Rating by step. {summary}.")
    legend = "".join(f'<span class="{key}"><i></i>{label}</span>' for key, label in labels.items())
    if faint:
        legend += '<span class="candidate"><i></i>each candidate</span>'
    return Curve(svg, legend, _data(axes, lines, labels))


def _axes(points: Sequence[tuple[float, float]]) -> Axes:
    low, high = min(y for _, y in points), max(y for _, y in points)
    margin = max(0.05 * (high - low), 1e-3)
    return Axes(min(x for x, _ in points), max(x for x, _ in points), low - margin, high + margin)


def _line(axes: Axes, key: str, points: Sequence[tuple[float, float]]) -> str:
    dots = (
        ""
        if len(points) > 60 or key == "rating"
        else "".join(f'<circle class="{key}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="2.5"/>' for x, y in points)
    )
    return f'<path class="{key}" d="{axes.path(points)}"/>{dots}'


def _data(axes: Axes, lines: dict[str, list[tuple[float, float]]], labels: dict[str, str]) -> dict[str, Any]:
    steps = sorted({x for points in lines.values() for x, _ in points})
    values = {key: dict(points) for key, points in lines.items()}
    return {
        "steps": steps,
        "x": [round(axes.x(step), 1) for step in steps],
        "width": axes.width,
        "series": [
            {"key": key, "label": labels[key], "values": [values[key].get(step) for step in steps]} for key in lines
        ],
    }
