"""A page: one HTML file without requests, and the pieces most pages are made of."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any


def page(title: str, sections: Iterable[str], style: str = "", script: str = "") -> str:
    """A whole page: sections under each other, empty ones left out.

    Args:
        title: plain text. sections: HTML. style, script: CSS and JavaScript of this kind of page, after the common CSS.
    """
    parts = {
        "TITLE": text(title),
        "STYLE": _asset("page.css") + style,
        "SCRIPT": script,
        "BODY": "\n".join(part for part in sections if part),
    }
    pieces = _asset("page.html").split("@@")  # text, KEY, text, KEY, ...: what is put in is never searched again
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def text(value: object) -> str:
    """Anything as text that cannot be read as HTML, in an element or in a quoted attribute."""
    return html.escape(str(value), quote=True)


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def duration(seconds: float) -> str:
    """A time in words: "2.5 s", "3 min 07 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def header(heading: str, line: str) -> str:
    """The top of a page, from plain text."""
    return f'<header><h1>{text(heading)}</h1><p class="subtitle">{text(line)}</p></header>'


def section(identity: str, heading: str, *content: str) -> str:
    """A headed part of a page; empty content is left out."""
    inside = "\n".join(part for part in content if part)
    return f'<section aria-labelledby="{identity}"><h2 id="{identity}">{text(heading)}</h2>\n{inside}\n</section>'


def note(words: str) -> str:
    """A remark, from plain text."""
    return f'<p class="note">{text(words)}</p>'


def missing(words: str) -> str:
    """What should be here and is not, from plain text."""
    return f'<p class="missing">{text(words)}</p>'


def notices_list(notices: Sequence[str]) -> str:
    """Warnings, from plain text; nothing where there are none."""
    items = "".join(f"<li>{text(notice)}</li>" for notice in notices)
    return f'<ul class="notices" aria-label="Warnings">{items}</ul>' if notices else ""


def tile(label: str, value: str, remark: str) -> str:
    """A figure with its name (plain text) and a remark; value and remark are HTML."""
    return f'<div class="tile"><h3>{text(label)}</h3><p class="value">{value}</p><p class="note">{remark}</p></div>'


def tile_row(tiles: Sequence[str]) -> str:
    """Tiles beside each other, empty ones left out."""
    shown = [one for one in tiles if one]
    return f'<div class="tiles">{"".join(shown)}</div>' if shown else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Plain text in rows, the first cell of each its heading; scrolls where it is too wide."""
    top = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>{"".join(f"<td>{text(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
