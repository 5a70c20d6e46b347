"""The page of a dream: what it began from and what it came to, side by side, and who believes in the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.drawing.axes import Axes
from hitchain.drawing.mp3 import MP3_RATES, mp3
from hitchain.drawing.page import (
    duration,
    header,
    note,
    notices_list,
    number,
    page,
    section,
    table,
    text,
    tile,
    tile_row,
)
from hitchain.drawing.pictures import data_uri, mel_levels, png
from hitchain.files import read_audio, write_text

STYLE = """
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.pair figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1em; }
.pair img { display: block; width: 100%; height: 9rem; border-radius: 4px; }
.pair audio { width: 100%; height: 2rem; margin-top: 0.5rem; }
.pair figcaption { padding: 0.25rem 0 0; }
.chart path { fill: none; stroke-width: 2; }
.chart path.rating { stroke: var(--accent); }
.chart path.heldout { stroke: var(--second); stroke-dasharray: 5 3; }
figcaption .rating i { border-top: 2px solid var(--accent); opacity: 1; }
figcaption .heldout i { border-top: 2px dashed var(--second); opacity: 1; }
@media (max-width: 34rem) { .pair { grid-template-columns: 1fr; } }
"""
_LINES = {"rating": "the rater that was climbed", "heldout": "a rater that never was"}


def write_report(folder: Path, result: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> Path:
    """Write report.html into the folder of a dream, beside its sounds. Opens offline."""
    began = Path(str(result["input"])).name if result["input"] else "white noise"
    line = f"hitchain dream · rater {result['rater']} · {result['steps']} steps · {duration(result['seconds'])}"
    sections = [
        header(f"A dream from {began}", line),
        notices_list([str(warning) for warning in result["warnings"]]),
        _tiles(result),
        section("listen", "Before and after", _pair(folder)),
        section("climb", "The climb", _curve(history)),
        section("judges", "Who believes in the gain", _judges(result)),
        section("held", "Regularisers", _regularisers(result)),
    ]
    path = folder / "report.html"
    write_text(path, page(f"A dream from {began} – hitchain dream", sections, STYLE))
    return path


def _tiles(result: Mapping[str, Any]) -> str:
    tiles = [_rating("Rating", "was climbed", result["rating_before"], result["rating_after"])]
    if result["heldout_before"] is not None:
        tiles.append(_rating("Held-out rating", "never was", result["heldout_before"], result["heldout_after"]))
    if result["transfer"] is not None:
        tiles.append(tile("Transfer", f"{result['transfer']:.2f}", "of the gain, mean of the judges"))
    tiles.append(tile("Changed", f"{result['changed']:.1f} <small>dB</small>", "what was added, against the start"))
    return tile_row(tiles)


def _rating(label: str, words: str, before: float, after: float) -> str:
    gain = f'<span class="{"up" if after >= before else "down"}">{after - before:+.3f}</span>'
    return tile(label, f"{before:.3f} → {after:.3f}", f"{gain} {words}")


def _pair(folder: Path) -> str:
    """Both sounds at one level (a dream keeps that of its start), each under its spectrogram."""
    sounds = {label: read_audio(folder / name) for label, name in (("before", "before.wav"), ("after", "dream.wav"))}
    highest = max(1.0, *(float(audio.abs().max()) for audio, _ in sounds.values()))
    cells = []
    for label, (audio, rate) in sounds.items():
        picture = data_uri(png(mel_levels(audio, rate)), "image/png")
        if rate not in MP3_RATES:
            from hitchain.rater.training.augment import resample

            audio, rate = resample(audio, rate, 44_100), 44_100
        heard = data_uri(mp3((audio / highest).clamp(-1.0, 1.0), rate, 160), "audio/mpeg")
        cells.append(
            f'<figure><img src="{picture}" alt="Mel spectrogram {label}"><audio controls src="{heard}"></audio>'
            f"<figcaption>{label}</figcaption></figure>"
        )
    return f'<div class="pair">{"".join(cells)}</div>'


def _curve(history: Sequence[Mapping[str, Any]]) -> str:
    lines = {
        key: [(float(row["step"]), found) for row in history if (found := number(row.get(key))) is not None]
        for key in _LINES
    }
    lines = {key: points for key, points in lines.items() if points}
    if not lines:
        return note("No rating was finite.")
    everything = [point for points in lines.values() for point in points]
    axes = Axes.around([x for x, _ in everything], [y for _, y in everything])
    paths = "".join(f'<path class="{key}" d="{axes.path(points)}"/>' for key, points in lines.items())
    legend = "".join(f'<span class="{key}"><i></i>{_LINES[key]}</span>' for key in lines)
    told = "; ".join(f"{_LINES[key]}: {points[0][1]:.3f} to {points[-1][1]:.3f}" for key, points in lines.items())
    drawing = axes.svg(axes.grid("step", "rating") + paths, text(f"Rating by step. {told}."))
    return f'<figure class="chart">{drawing}<figcaption>{legend}</figcaption></figure>'


def _judges(result: Mapping[str, Any]) -> str:
    rows = [(f"{result['rater']} (climbed)", *_change(result["rating_before"], result["rating_after"]))]
    rows += [(name, *_change(said["before"], said["after"])) for name, said in result["judges"].items()]
    return table(("Rater", "Before", "After", "Gain"), rows)


def _change(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}"


def _regularisers(result: Mapping[str, Any]) -> str:
    on = result["regularisers"]
    if not on:
        return note("None was on: nothing held the waveform. regularised=true switches all on.")
    return table(("Regulariser", "Value"), [(name.replace("_", " "), str(value)) for name, value in on.items()])
