"""The page that shows runs beside each other: figures, curves, players, and the knobs that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hitchain import files
from hitchain.chain.compare import Compared, configured, differences, figures, uncommon
from hitchain.chain.report import curve, sound
from hitchain.chain.report.sound import Sound
from hitchain.drawing.axes import Axes
from hitchain.drawing.page import header, missing, note, notices_list, page, section, table, text

COLOURS = ("var(--accent)", "var(--second)", "#2f8a4d", "#9a5bb5", "#b58a1f", "#5f6ecf", "#c2527d", "#5d7a7a")
"""Of the runs' curves; after the last they begin again, dashed otherwise."""

STYLE = """
.chart path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart path.heldout { stroke-width: 1.5; stroke-dasharray: 5 3; }
.runs { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 0.75rem; }
.runs figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1em; }
.runs img { display: block; width: 100%; height: 5rem; border-radius: 4px; }
.runs audio { width: 100%; height: 2rem; margin-top: 0.4rem; }
.runs figcaption { padding: 0 0 0.4rem; }
"""


def write_comparison(runs: Sequence[Compared], path: Path) -> Path:
    """Write the page, whole or not at all. Opens offline."""
    songs = list(dict.fromkeys(str(one.run.result.get("song") or one.name) for one in runs))
    sections = [
        header(f"{len(runs)} runs", "hitchain compare · " + ", ".join(songs)),
        notices_list(
            [f"{one.name}: {warning}" for one in runs for warning in one.run.result.get("warnings") or ()]
            + [f"{one.name}: {problem}" for one in runs for problem in one.run.problems]
        ),
        section("figures", "Figures", _figures(runs)),
        section("curves", "The climbs", _curves(runs)),
        section("listen", "Listen", _players(runs)),
        _configured(runs),
        section("knobs", "Knobs that differ", _knobs(runs)),
        _uncommon(runs),
    ]
    files.write_text(path, page(f"{len(runs)} runs – hitchain compare", sections, STYLE))
    return path


def _figures(runs: Sequence[Compared]) -> str:
    rows = [figures(one) for one in runs]
    heads = [head for head in rows[0] if any(row[head] for row in rows)]
    return table(
        ("run", *heads), [(one.name, *(row[head] for head in heads)) for one, row in zip(runs, rows, strict=True)]
    )


def _curves(runs: Sequence[Compared]) -> str:
    """The best candidate of each run by step, and its held-out rating, dashed."""
    lines = []
    for index, one in enumerate(runs):
        for key, kind in (("best", "best"), ("heldout", "heldout")):
            points = curve.series(one.run.history, key)
            if points:
                lines.append((COLOURS[index % len(COLOURS)], kind, points))
    if not lines:
        return missing("None of these runs is a climb with ratings.")
    everything = [point for _, _, points in lines for point in points]
    axes = Axes.around([x for x, _ in everything], [y for _, y in everything])
    paths = "".join(
        f'<path class="{kind}" style="stroke:{colour}" d="{axes.path(points)}"/>' for colour, kind, points in lines
    )
    legend = "".join(
        f'<span><i style="border-top:3px solid {COLOURS[index % len(COLOURS)]};opacity:1"></i>{text(one.name)}</span>'
        for index, one in enumerate(runs)
    )
    drawing = axes.svg(axes.grid("step", "rating") + paths, f"Ratings of {len(runs)} runs by step")
    told = note("Lines: the best candidate so far, on fixed windows. Dashed: the rater that was never climbed.")
    return f'<figure class="chart">{drawing}<figcaption>{legend}</figcaption></figure>{told}'


def _players(runs: Sequence[Compared]) -> str:
    """The master of each run, at the loudness of the quietest."""
    paths = {one.name: path for one in runs if (path := one.run.audio("master.wav"))}
    if not paths:
        return missing("None of these runs has a master.wav.")
    sounds = sound.load_all([], paths.values())
    heard = {name: sounds[path] for name, path in paths.items()}
    quietest = min((one.loudness - one.attenuation for one in heard.values() if isinstance(one, Sound)), default=0.0)
    cells = [_player(name, heard[name], quietest) for name in heard]
    script = (
        "<script>document.querySelectorAll('audio[data-volume]').forEach(a => a.volume = a.dataset.volume)</script>"
    )
    said = note("Played equally loud: every run is turned down to the quietest.")
    return f'<div class="runs">{"".join(cells)}</div>{script}{said}'


def _player(name: str, one: Sound | str, quietest: float) -> str:
    if isinstance(one, str):
        return f"<figure><figcaption>{text(name)}</figcaption>{missing(one)}</figure>"
    volume = 10.0 ** (min(0.0, quietest - (one.loudness - one.attenuation)) / 20.0)
    return (
        f'<figure><figcaption>{text(name)} <span class="facts">{one.loudness:.1f} LUFS</span></figcaption>'
        f'<img src="{one.spectrogram}" alt="Mel spectrogram of {text(name)}">'
        f'<audio controls preload="metadata" data-volume="{volume:.4f}" src="{one.source}"></audio></figure>'
    )


def _configured(runs: Sequence[Compared]) -> str:
    rows = configured(runs)
    if not rows:
        return section("configs", "Settings that differ", note("None: the runs have the same config."))
    heads = ("key", *(one.name for one in runs))
    return section("configs", "Settings that differ", table(heads, [(key, *values) for key, values in rows]))


def _knobs(runs: Sequence[Compared]) -> str:
    found = differences(runs)
    if not found:
        return note("None that all runs have.")
    heads = ("knob", *(one.name for one in runs), "apart")
    told = note(
        "Apart: the distance between the runs that are furthest from each other, as a share of the knob's range."
    )
    return told + table(heads, [(one.name, *one.values, f"{100 * one.apart:.0f} %") for one in found])


def _uncommon(runs: Sequence[Compared]) -> str:
    rows = uncommon(runs)
    if not rows:
        return ""
    heads = ("place", *(one.name for one in runs))
    told = note("Here the runs do not have the same block, so its knobs are not compared.")
    return section("blocks", "Blocks that differ", table(heads, [(path, *values) for path, values in rows]), told)
