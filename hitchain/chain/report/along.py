"""What happened along a climb: each of its phases with a curve of its own, and how far apart the candidates stood."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from hitchain.chain.diversity import diversity, points
from hitchain.chain.report import curve
from hitchain.drawing.axes import Axes
from hitchain.drawing.page import note, section, text, tile

Rows = Sequence[dict[str, Any]]
WIDTH, HEIGHT = 380.0, 170.0
"""Of one small curve, in the drawing's units."""


def stretches(history: Rows) -> list[tuple[str, list[dict[str, Any]]]]:
    """The phases of a climb, each with its rows; none where it had only one."""
    found = [(str(name), list(rows)) for name, rows in groupby(history, key=lambda row: row.get("phase"))]
    return [] if len(found) < 2 else found


def phases(history: Rows) -> str:
    """The section on phases; empty for a climb of one."""
    charts = [_phase(index + 1, name, rows) for index, (name, rows) in enumerate(stretches(history))]
    if not any(charts):
        return ""
    said = note("What is unlocked stays free. The curves are the mean of the candidates on each step's window.")
    return section(
        "phases", "Stage by stage along the climb", f'<div class="line measures">{"".join(charts)}</div>', said
    )


def _phase(number: int, name: str, rows: Rows) -> str:
    drawn = curve.series(rows, "rating")
    best = curve.series(rows, "best")
    if not drawn:
        return ""
    gain = f", best {best[0][1]:.3f} to {best[-1][1]:.3f}" if best else ""
    words = f"{number}. {name}, steps {drawn[0][0]:.0f} to {drawn[-1][0]:.0f}{gain}"
    return _small(drawn, words)


def diversity_tile(history: Rows) -> str:
    """The diversity of the batch at the first and the last look; empty where it was one candidate."""
    found = diversity(history)
    if found is None or found["first"] <= 0:
        return ""
    value = f"{100 * found['first']:.1f} → {100 * found['last']:.1f} <small>%</small>"
    return tile("Diversity", value, "of a knob's range between candidates")


def spread(history: Rows) -> str:
    """The section on diversity over the steps; empty where there is nothing to draw."""
    drawn = points(history)
    if len(drawn) < 2 or max(value for _, value in drawn) <= 0:
        return ""
    chart = _small(drawn, f"{drawn[0][1]:.4f} to {drawn[-1][1]:.4f} of a knob's range")
    said = note("Standard deviation of the knobs over the candidates. At 0 they have become one.")
    return section("diversity", "Diversity of the candidates", f'<div class="line measures">{chart}</div>', said)


def _small(drawn: Sequence[tuple[float, float]], words: str) -> str:
    axes = Axes.around([x for x, _ in drawn], [y for _, y in drawn], width=WIDTH, height=HEIGHT)
    drawing = axes.svg(axes.grid("step", most_x=5, most_y=4) + f'<path d="{axes.path(drawn)}"/>', text(words))
    caption = f"<figcaption><span>{text(words)}</span></figcaption>"
    return f'<figure class="chart measure">{caption}{drawing}</figure>'
