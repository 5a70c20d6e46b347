"""Charts of an evaluation as SVG: measures with intervals, scatter, calibration, residuals, coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hitchain.drawing.axes import BOTTOM, LEFT, RIGHT, TOP, Axes, ticks
from hitchain.drawing.page import text
from hitchain.rater.evaluation.metrics import Vector

SIDE = 420.0
ROW, NAME_WIDTH = 26.0, 190.0
MOST_DOTS = 3000
"""Of a scatter: with more recordings, so many evenly spaced by rating are drawn."""
BINS = 10
FEWEST_IN_A_BIN = 5


def intervals(rows: Mapping[str, Mapping[str, Any]], chance: float | None, label: str) -> str:
    """A measure of every system with its interval, under each other, and a line at chance."""
    shown = {name: row for name, row in rows.items() if row["value"] is not None}
    if not shown:
        return ""
    ends = [end for row in shown.values() for end in (row["value"], row["low"], row["high"]) if end is not None]
    ends += [] if chance is None else [chance]
    space = 0.05 * max(max(ends) - min(ends), 1e-9)
    width, height = 800.0, TOP + ROW * len(shown) + BOTTOM
    names = (NAME_WIDTH - LEFT) / (width - LEFT - RIGHT)  # the names take this share: the axis begins after them
    low, high = min(ends) - space, max(ends) + space
    axes = Axes(high - (high - low) / (1.0 - names), high, 0.0, 1.0, width, height)
    parts = [
        f'<text x="{axes.x(tick):.1f}" y="{height - 16}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks(low, high, 8)
    ]
    parts.append(f'<text x="{width - RIGHT}" y="{height - 2}" text-anchor="end">{text(label)}</text>')
    if chance is not None:
        parts.append(_bar("chance", (axes.x(chance), TOP), (axes.x(chance), height - BOTTOM)))
    for number, (name, row) in enumerate(shown.items()):
        y = TOP + ROW * (number + 0.5)
        parts.append(f'<text x="{NAME_WIDTH - 12}" y="{y + 4:.1f}" text-anchor="end">{text(name)}</text>')
        if row["low"] is not None:
            parts.append(_bar(row["kind"], (axes.x(row["low"]), y), (axes.x(row["high"]), y)))
        parts.append(_dot(row["kind"], axes.x(row["value"]), y, 4.0))
    told = "; ".join(f"{name} {row['value']:.2f}" for name, row in shown.items())
    return axes.svg("".join(parts), f"{text(label)}: {text(told)}.")


def _bar(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line class="{kind}" {ends}/>'


def _dot(kind: str, x: float, y: float, radius: float = 2.5) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def _marked(axes: Axes, x: float, low: float, value: float, high: float) -> str:
    """A value with its interval, upright."""
    return _bar("rater", (axes.x(x), axes.y(low)), (axes.x(x), axes.y(high))) + _dot(
        "rater", axes.x(x), axes.y(value), 4.0
    )


def scatter(targets: Vector, ratings: Vector, labels: tuple[str, str], diagonal: bool) -> str:
    """A dot for each recording: rating across, target up; the diagonal where both have one unit."""
    order = np.argsort(ratings, kind="stable")
    if len(order) > MOST_DOTS:
        order = order[np.linspace(0, len(order) - 1, MOST_DOTS).astype(int)]
    axes = _square(ratings, targets, diagonal)
    dots = "".join(_dot("dot", axes.x(float(ratings[index])), axes.y(float(targets[index]))) for index in order)
    return axes.svg(axes.grid(*labels, most_x=5) + (_diagonal(axes) if diagonal else "") + dots, "Targets by ratings.")


def calibration(targets: Vector, ratings: Vector, labels: tuple[str, str], diagonal: bool) -> str:
    """Mean target of recordings of about the same rating, with 1.96 standard errors, songs taken as independent."""
    count = max(1, min(BINS, len(ratings) // FEWEST_IN_A_BIN))
    parts = np.array_split(np.argsort(ratings, kind="stable"), count)
    x = np.array([ratings[part].mean() for part in parts])
    y = np.array([targets[part].mean() for part in parts])
    error = np.array(
        [1.96 * targets[part].std(ddof=1) / np.sqrt(len(part)) if len(part) > 1 else 0.0 for part in parts]
    )
    axes = _square(x, np.concatenate([y - error, y + error]), diagonal)
    drawn = [axes.grid(*labels, most_x=5), _diagonal(axes) if diagonal else ""]
    for place, middle, reach in zip(x, y, error, strict=True):
        drawn.append(_marked(axes, float(place), middle - reach, middle, middle + reach))
    return axes.svg("".join(drawn), f"Mean target in {count} bins of the rating.")


def residuals(targets: Vector, ratings: Vector, labels: tuple[str, str]) -> str:
    """Target - rating by rating, with a line at 0."""
    axes = Axes.around(list(ratings), [*(targets - ratings), 0.0], width=SIDE, height=SIDE * 0.8)
    zero = _bar("chance", (axes.x(axes.first), axes.y(0.0)), (axes.x(axes.last), axes.y(0.0)))
    step = -(-len(ratings) // MOST_DOTS)
    pairs = zip(ratings[::step], targets[::step], strict=True)
    dots = "".join(_dot("dot", axes.x(float(rating)), axes.y(float(target - rating))) for rating, target in pairs)
    return axes.svg(axes.grid(*labels, most_x=5) + zero + dots, "What is left of the targets, by rating.")


def coverage(rows: Sequence[Mapping[str, float]]) -> str:
    """The share of recordings that intervals held, by the share they promise."""
    axes = Axes(0.45, 1.0, 0.0, 1.0, SIDE, SIDE * 0.8)
    drawn = [axes.grid("promised share", "share held", most_x=5), _diagonal(axes)]
    drawn += [_marked(axes, row["level"], row["low"], row["share"], row["high"]) for row in rows]
    return axes.svg("".join(drawn), "Coverage of the intervals.")


def _square(x: Vector, y: Vector, same: bool) -> Axes:
    """Axes for points; with one scale for both where both have one unit."""
    both = [*x, *y] if same else None
    return Axes.around(both or list(x), both or list(y), width=SIDE, height=SIDE * 0.8)


def _diagonal(axes: Axes) -> str:
    low, high = max(axes.first, axes.low), min(axes.last, axes.high)
    return f'<path class="diagonal" d="{axes.path([(low, low), (high, high)])}"/>'
