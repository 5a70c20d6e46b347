"""The meters of a run: readings before and after in a table, and the spectra over each other."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from hitchain.chain.meter import READINGS
from hitchain.drawing.page import number

WIDTH, HEIGHT, LOWEST = 640.0, 180.0, -60.0
"""Of the picture, in its own units; and the level at its bottom [dB]."""

_COLOURS = {"before": "var(--second)", "master": "var(--accent)"}


def table(meters: Mapping[str, Any]) -> str:
    """Readings as rows, recordings as columns. `meters` is {"before" or "master": readings}."""
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in meters)
    rows = []
    for key, label, unit in READINGS:
        cells = "".join(f"<td>{_shown(readings, key)} {html.escape(unit)}</td>" for readings in meters.values())
        rows.append(f'<tr><th scope="row">{html.escape(label)}</th>{cells}</tr>')
    return f'<table><thead><tr><th scope="col">meter</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _shown(readings: Any, key: str) -> str:
    value = number(readings.get(key)) if isinstance(readings, Mapping) else None
    return "" if value is None else f"{value:.2f}" if key != "clipped" else f"{value:.0f}"


def spectra(meters: Mapping[str, Any]) -> str:
    """Third-octave levels of each recording as a line, low frequencies left: an SVG, or nothing where none is known."""
    lines, names = [], []
    for name, readings in meters.items():
        bands = readings.get("bands") if isinstance(readings, Mapping) else None
        levels = [number(level) for level in bands.values()] if isinstance(bands, Mapping) else []
        known = [max(level, LOWEST) for level in levels if level is not None]
        if len(known) < 2:
            continue
        step = WIDTH / (len(known) - 1)
        points = " ".join(f"{index * step:.1f},{HEIGHT * level / LOWEST:.1f}" for index, level in enumerate(known))
        colour = _COLOURS.get(name, "var(--ink)")
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        names.append(f'<span style="color:{colour}">{html.escape(name)}</span>')
    if not lines:
        return ""
    box = f'viewBox="0 -4 {WIDTH:g} {HEIGHT + 8:g}"'
    picture = f'<svg {box} role="img" aria-label="third-octave spectra">{"".join(lines)}</svg>'
    note = f"Third octaves, 25 Hz to 20 kHz, against the whole; 0 dB at the top, {LOWEST:g} dB at the bottom"
    return f'{picture}<p class="note">{note}: {", ".join(names)}.</p>'
