"""The picture: a song's spectrogram in grey, and over it in colour what raises and what lowers its rating."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitchain.drawing.axes import BOTTOM, LEFT, RIGHT, TOP, Axes, ticks
from hitchain.drawing.pictures import data_uri, png_of_colours
from hitchain.rater.explain.attribution import Attribution
from hitchain.rater.explain.edits import named
from hitchain.rater.explain.summary import GRID, per_piece

WIDTH, HEIGHT, CURVE_HEIGHT = 960.0, 340.0, 130.0
COLUMNS = 1200
ROWS_PER_BAND = 3
RAISES, LOWERS = np.array([200.0, 60.0, 20.0]), np.array([20.0, 90.0, 190.0])
STRONG = 0.995
"""The quantile of the attributions' size that gets the full colour."""
SMOOTHING = (1.0, 4.0)
"""Standard deviations [bands, frames] of what smooths the colours."""
SHOWN = (200, 500, 1000, 2000, 5000, 10000)


def overlay(attribution: Attribution, frequencies: NDArray[np.float64]) -> str:
    """The picture as SVG with axes of time and frequency."""
    axes = Axes(0.0, float(attribution.times[-1]), 0.0, len(frequencies) - 1.0, WIDTH, HEIGHT)
    pixels = colours(attribution)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [
        f'<image x="{LEFT}" y="{TOP}" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="{data_uri(png_of_colours(pixels), "image/png")}"/>'
    ]
    for frequency in SHOWN:
        if frequencies[0] <= frequency <= frequencies[-1]:
            y = axes.y(float(np.interp(frequency, frequencies, np.arange(len(frequencies)))))
            parts.append(f'<line class="tick" x1="{LEFT - 4}" x2="{LEFT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{named(frequency)}</text>')
    parts += _times(axes)
    label = "Spectrogram over time and frequency; red raises the rating, blue lowers it."
    return axes.svg("".join(parts) + _cursor(axes), label)


def _times(axes: Axes) -> Sequence[str]:
    bottom = axes.height - BOTTOM
    parts = [
        f'<text x="{axes.x(second):.1f}" y="{bottom + 18}" text-anchor="middle">{clock(second)}</text>'
        for second in ticks(axes.first, axes.last, 10)
    ]
    return [*parts, f'<text x="{axes.width - RIGHT}" y="{axes.height - 2}" text-anchor="end">time</text>']


def _cursor(axes: Axes) -> str:
    """A line at what is being played; the script moves it between the ends that stand here."""
    ends = f'data-left="{LEFT}" data-right="{axes.width - RIGHT}" data-seconds="{axes.last:.3f}"'
    return f'<line class="cursor" {ends} x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{axes.height - BOTTOM}"/>'


def clock(seconds: float) -> str:
    """1:05, or 0:01.5 where there is a fraction."""
    minutes, rest = divmod(round(seconds, 1), 60.0)
    return f"{minutes:.0f}:{rest:02.0f}" if rest == int(rest) else f"{minutes:.0f}:{rest:04.1f}"


def colours(attribution: Attribution) -> NDArray[np.uint8]:
    """(rows, columns, 3): levels as grey, loud dark; attributions over it, red above 0, blue below, low bands last."""
    from scipy.ndimage import gaussian_filter

    amounts = gaussian_filter(attribution.values.mean(axis=0).sum(axis=0), SMOOTHING)
    levels = attribution.levels.max(axis=0)
    grey, amount = _columns(levels), _columns(amounts)
    paper = 255.0 - 175.0 * np.clip(grey, 0.0, 1.0)[..., None]
    strong = max(float(np.quantile(np.abs(amount), STRONG)), 1e-12)
    opacity = (0.85 * np.clip(np.abs(amount) / strong, 0.0, 1.0) ** 1.2)[..., None]
    colour = np.where((amount > 0.0)[..., None], RAISES, LOWERS)
    mixed = paper * (1.0 - opacity) + colour * opacity
    picture: NDArray[np.uint8] = np.repeat(mixed[::-1], ROWS_PER_BAND, axis=0).round().astype(np.uint8)
    return picture


def _columns(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Frames averaged into at most `COLUMNS` columns."""
    frames = values.shape[1]
    edges = np.linspace(0, frames, min(frames, COLUMNS) + 1).astype(int)[:-1]
    return np.add.reduceat(values, edges, axis=1) / np.diff([*edges, frames])


def curve(attribution: Attribution, seconds: float) -> str:
    """What each stretch of `seconds` adds, as a curve over time with the members' spread: SVG."""
    pieces = per_piece(attribution)
    width = max(1, min(pieces.shape[1], round(seconds / GRID)))
    smooth = np.stack([np.convolve(member, np.ones(width), mode="same") for member in pieces])
    centre, spread = smooth.mean(axis=0), smooth.std(axis=0, ddof=1) if len(smooth) > 1 else 0.0 * smooth[0]
    low, high = centre - spread, centre + spread
    margin = max(0.05 * float(high.max() - low.min()), 1e-6)
    last = float(attribution.times[-1])
    axes = Axes(
        0.0, last, min(float(low.min()), 0.0) - margin, max(float(high.max()), 0.0) + margin, WIDTH, CURVE_HEIGHT
    )
    places = np.minimum((np.arange(len(centre)) + 0.5) * GRID, last)
    band = axes.path([*zip(places, high, strict=True), *zip(places[::-1], low[::-1], strict=True)])
    line = axes.path(zip(places, centre, strict=True))
    zero = f'<line class="zero" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{axes.y(0.0):.1f}" y2="{axes.y(0.0):.1f}"/>'
    grid = axes.grid("", most_x=0, most_y=3) + "".join(_times(axes))
    content = f'{grid}<path class="spread" d="{band}Z"/><path class="mean" d="{line}"/>{zero}{_cursor(axes)}'
    return axes.svg(content, f"What each {seconds:g} s add to the rating.")
