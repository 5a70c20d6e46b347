"""What was wished for beside the rating: each term's measure before, after and along the climb; a front; choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hitchain.drawing.axes import LEFT, RIGHT, Axes
from hitchain.drawing.page import missing, note, number, section, table, text

Rows = Sequence[Mapping[str, Any]]
WIDTH, HEIGHT = 380.0, 170.0
"""Of the curve of one term, in the drawing's units."""


def terms(result: Mapping[str, Any], history: Rows) -> str:
    """The section on terms and constraints; empty where a run has none."""
    weighted, bounded = (_rows(result.get(key)) for key in ("terms", "constraints"))
    if not weighted and not bounded:
        return ""
    rows = [(name, _weight(row), *_values(row), "") for name, row in weighted.items()]
    rows += [(name, _bounds(row), *_values(row), _kept(row)) for name, row in bounded.items()]
    names = list(dict.fromkeys([*weighted, *bounded]))
    drawn = [_curve(name, {**weighted.get(name, {}), **bounded.get(name, {})}, history) for name in names]
    curves = "".join(one for one in drawn if one)
    return section(
        "terms",
        "Terms and constraints",
        table(("Term", "Wanted", "Before", "After", "Kept"), rows),
        f'<div class="line measures">{curves}</div>' if curves else "",
        note("Measured on the whole song; the curves are the mean of the candidates on each step's window.")
        if curves
        else "",
    )


def front(result: Mapping[str, Any]) -> str:
    """The section on a front; empty where a run has none."""
    given = result.get("front")
    if not isinstance(given, list):
        return ""
    rows = [row for row in given if isinstance(row, dict) and number(row.get("rating")) is not None]
    rows = [row for row in rows if number(row.get("measured")) is not None]
    if not rows:
        return section("front", "Front", missing("result.json holds no points of the front."))
    label = f"{rows[0].get('term', 'term')} [{rows[0].get('unit') or '-'}]"
    cells = [
        (
            _figure(row.get("level")),
            _figure(row.get("measured")),
            f"{float(row['rating']):.3f}",
            "" if number(row.get("heldout")) is None else f"{float(row['heldout']):.3f}",
            "level not reached" if row.get("met") is False else "dominated" if row.get("dominated") else "on the front",
            str(row.get("patch", "")),
        )
        for row in rows
    ]
    return section(
        "front",
        f"Rating against {rows[0].get('term', 'a term')}",
        f'<figure class="chart front">{_scatter(rows, label)}'
        "<figcaption><span>● on the front</span><span>○ dominated, or its level was not reached</span>"
        "<span>small: held-out rater</span></figcaption></figure>",
        table(("Level", "Measured", "Rating", "Held out", "", "Patch"), cells),
    )


def choices(result: Mapping[str, Any]) -> str:
    """The section on what was chosen, and what the decision kept; empty where nothing was to be chosen."""
    given = result.get("choices")
    if not isinstance(given, dict) or not isinstance(given.get("options"), dict):
        return ""
    blended, decided, kept = (number(given.get(key)) for key in ("relaxed_rating", "decided_rating", "kept"))
    told = ""
    if blended is not None and decided is not None:
        share = "" if kept is None else f" {100 * kept:.0f} % of the blend's gain over the start is kept."
        told = note(f"Rating {blended:.3f} while options were blended, {decided:.3f} once decided.{share}")
    cells = [(str(name), str(option)) for name, option in given["options"].items()]
    return section("choices", "Choices", table(("Knob", "Decided on"), cells), told)


def _rows(given: Any) -> dict[str, Mapping[str, Any]]:
    """The entries that can be shown, by name."""
    if not isinstance(given, dict):
        return {}
    return {str(name): row for name, row in given.items() if isinstance(row, dict)}


def _figure(value: Any, unit: Any = "") -> str:
    found = number(value)
    return "" if found is None else f"{found:.4g} {unit or ''}".strip()


def _values(row: Mapping[str, Any]) -> tuple[str, str]:
    return _figure(row.get("before"), row.get("unit")), _figure(row.get("after"), row.get("unit"))


def _weight(row: Mapping[str, Any]) -> str:
    weight = number(row.get("weight"))
    return "" if weight is None else f"{'more' if weight > 0 else 'less'}, weight {weight:+g}"


def _bounds(row: Mapping[str, Any]) -> str:
    words = [f"{word} {_figure(row.get(key))}" for key, word in _SIDES if number(row.get(key)) is not None]
    return ", ".join(words)


_SIDES = (("at_least", "at least"), ("at_most", "at most"))


def _kept(row: Mapping[str, Any]) -> str:
    if row.get("met"):
        return "yes"
    return f"no, by {_figure(row.get('violation'), row.get('unit'))}"


def _curve(name: str, row: Mapping[str, Any], history: Rows) -> str:
    """A term's measure by step, and its bounds as dashed lines."""
    points = []
    for step in history:
        measures = step.get("measures")
        value = number(measures.get(name)) if isinstance(measures, dict) else None
        if value is not None:
            points.append((float(step["step"]), value))
    if len(points) < 2:
        return ""
    bounds = [found for key, _ in _SIDES if (found := number(row.get(key))) is not None]
    x, y = [point[0] for point in points], [*(point[1] for point in points), *bounds]
    axes = Axes.around(x, y, width=WIDTH, height=HEIGHT)
    lines = "".join(
        f'<line class="bound" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{axes.y(bound):.1f}" y2="{axes.y(bound):.1f}"/>'
        for bound in bounds
    )
    unit = text(str(row.get("unit") or ""))
    label = f"{text(name)} by step: {points[0][1]:.4g} to {points[-1][1]:.4g} {unit}"
    drawing = axes.svg(axes.grid("step", most_x=5, most_y=4) + lines + f'<path d="{axes.path(points)}"/>', label)
    return f'<figure class="chart measure"><figcaption><span>{text(name)} {unit}</span></figcaption>{drawing}</figure>'


def _scatter(rows: Rows, label: str) -> str:
    heldout = [(float(row["measured"]), found) for row in rows if (found := number(row.get("heldout"))) is not None]
    points = [(float(row["measured"]), float(row["rating"])) for row in rows]
    x, y = zip(*points, *heldout, strict=True)
    axes = Axes.around(x, y)
    best = sorted(point for point, row in zip(points, rows, strict=True) if _on_front(row))
    parts = [axes.grid(text(label), "rating")]
    parts += [f'<path class="best" d="{axes.path(best)}"/>'] if len(best) > 1 else []
    parts += [f'<circle class="heldout" cx="{axes.x(a):.1f}" cy="{axes.y(b):.1f}" r="2.5"/>' for a, b in heldout]
    for (a, b), row in zip(points, rows, strict=True):
        kind = "best" if _on_front(row) else "dominated"
        parts.append(
            f'<circle class="{kind}" cx="{axes.x(a):.1f}" cy="{axes.y(b):.1f}" r="5">'
            f"<title>{text(_figure(row.get('level')))}: {b:.3f}</title></circle>"
        )
    return axes.svg("".join(parts), f"Rating against {text(label)}: {len(best)} of {len(rows)} on the front")


def _on_front(row: Mapping[str, Any]) -> bool:
    return not row.get("dominated") and row.get("met") is not False
