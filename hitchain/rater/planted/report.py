"""The learning curve as a table and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from hitchain.drawing.axes import BOTTOM, TOP, Axes
from hitchain.drawing.page import header, note, page, section, table, text
from hitchain.files import write_text
from hitchain.rater.planted.curve import WANTED, Point

HEADS = ("rated by", "songs", "Spearman", "95 %", "of the ceiling", "95 %", "with the rule itself")
SYSTEMS = ("network", "features + trees")
"""What is drawn as a line, in the classes of page.css."""


def markdown(points: Sequence[Point]) -> str:
    """A table for each rule, and whether its network reached what it should."""
    parts = []
    for rule in dict.fromkeys(point.rule for point in points):
        here = [point for point in points if point.rule == rule]
        lines = [f"**{rule.replace('_', ' ')}**", "", f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
        lines += [f"| {' | '.join(_cells(point))} |" for point in here]
        parts.append("\n".join([*lines, "", verdict(here)]))
    return "\n\n".join(parts)


def _cells(point: Point) -> list[str]:
    share = ["", ""] if point.name == "ceiling" else [_percent(point.share["value"]), _range(point.share, percent=True)]
    return [
        point.name, str(point.songs) if point.songs else "", _number(point.correlation["value"]),
        _range(point.correlation), *share, _number(point.without_noise),
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.0%}"


def _range(measured: Mapping[str, float | None], percent: bool = False) -> str:
    low, high = measured["low"], measured["high"]
    if low is None or high is None:
        return ""
    return f"{low:.0%} to {high:.0%}" if percent else f"{low:.3f} to {high:.3f}"


def verdict(points: Sequence[Point]) -> str:
    """In words, from how many songs on the network of a rule reaches 90 % of the ceiling; "" where none is trained."""
    networks = [point for point in points if point.name == "network"]
    if not networks:
        return ""
    rule = points[0].rule.replace("_", " ")
    enough = [point for point in networks if (point.share["value"] or 0.0) >= WANTED]
    if enough:
        sure = (enough[0].share["low"] or 0.0) >= WANTED
        surely = ", and its whole interval does" if sure else ""
        return f"{rule}: the network reaches {WANTED:.0%} of the ceiling from {enough[0].songs} songs on{surely}."
    best = max(networks, key=lambda point: point.share["value"] or 0.0)
    return (
        f"{rule}: the network falls short: at best {_percent(best.share['value'])} of the ceiling, "
        f"with {best.songs} songs."
    )


def write_page(path: Path, points: Sequence[Point], about: str) -> None:
    """Write the page: a curve and a table for each rule."""
    style = (resources.files(__package__) / "page.css").read_text(encoding="utf-8")
    sections = [header("Planted labels", about)]
    for rule in dict.fromkeys(point.rule for point in points):
        here = [point for point in points if point.rule == rule]
        parts = [
            f'<figure class="chart">{chart(here)}</figure>',
            note(verdict(here) or "No network is trained yet."),
            table(HEADS, [_cells(point) for point in here]),
        ]
        sections.append(section(rule, rule.replace("_", " ").capitalize(), *parts))
    sections.append(
        note(
            "Spearman's correlation with the noisy p on songs by artists that were never heard; 95 % intervals by "
            "bootstrap over artists. The ceiling is what the rule itself gets."
        )
    )
    write_text(path, page("Planted labels", sections, style))


def chart(points: Sequence[Point]) -> str:
    """Correlation by songs, evenly spaced, with intervals; the ceiling and 90 % of it as lines across."""
    most = next(point for point in points if point.name == "ceiling").correlation["value"] or 0.0
    sizes = sorted({point.songs for point in points if point.name in SYSTEMS})
    ends = [
        end for point in points for end in (point.correlation["value"], point.correlation["low"]) if end is not None
    ]
    low = min(0.0, *ends) - 0.03
    axes = Axes(-0.4, len(sizes) - 0.6, low, 1.0, 640.0, 300.0)
    parts = [axes.grid("training songs", "Spearman", most_x=0)]
    parts += [
        f'<text x="{axes.x(place):.1f}" y="{axes.height - BOTTOM + 16:.1f}" text-anchor="middle">{size}</text>'
        for place, size in enumerate(sizes)
    ]
    for kind, level, name in (("ceiling", most, "ceiling"), ("wanted", WANTED * most, f"{WANTED:.0%} of it")):
        parts.append(_line(kind, axes.x(axes.first), axes.y(level), axes.x(axes.last), axes.y(level)))
        parts.append(f'<text x="{axes.x(axes.first) + 6:.1f}" y="{max(TOP + 8, axes.y(level) - 4):.1f}">{name}</text>')
    for number, name in enumerate(SYSTEMS):
        rows = [point for point in points if point.name == name and point.correlation["value"] is not None]
        parts.append(_curve(axes, rows, sizes, f"system-{number}", 0.06 * number))
    told = ", ".join(f"{point.name} {point.songs}: {_number(point.correlation['value'])}" for point in points)
    return axes.svg("".join(parts), text(told)) + _legend()


def _curve(axes: Axes, points: Sequence[Point], sizes: Sequence[int], kind: str, aside: float) -> str:
    places = [(sizes.index(point.songs) + aside, point.correlation) for point in points]
    line = [(x, row["value"]) for x, row in places if row["value"] is not None]
    parts = [f'<path class="{kind}" d="{axes.path(line)}"/>'] if line else []
    for x, row in places:
        if row["low"] is not None and row["high"] is not None:
            parts.append(_line(kind, axes.x(x), axes.y(row["low"]), axes.x(x), axes.y(row["high"])))
    parts += [f'<circle class="{kind}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="4"/>' for x, y in line]
    return "".join(parts)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _legend() -> str:
    names = "".join(f'<span class="system-{number}">{text(name)}</span>' for number, name in enumerate(SYSTEMS))
    return f'<figcaption class="legend">{names}</figcaption>'
