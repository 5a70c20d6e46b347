"""The page: a run's outcome, curve, players, knobs and circumstances as one HTML file without requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hitchain import files
from hitchain.chain.report import along, curve, meters, sound, wishes
from hitchain.chain.report.run import Run, Stem, read_run
from hitchain.chain.report.sound import Sound
from hitchain.drawing.page import duration, header, missing, notices_list, number, page, section, text, tile, tile_row

Sounds = Mapping[Path, Sound | str]

KNOBS_SHOWN = 20
"""Rows of the table of knobs that are shown before one asks for all."""


def write_report(folder: Path) -> Path:
    """Write report.html into a run folder, from what the folder holds.

    What is missing or broken is said in the page. Opens offline: sound, pictures, style and script are all inside.

    Args:
        folder: of a run of `hitchain optimize` or `hitchain render`, finished or not.

    Returns:
        The path of the report.

    Raises:
        UserError: the folder is missing or not a run folder, or the report cannot be written.
    """
    folder = Path(folder)
    run = read_run(folder)
    masters = [path for name in ("before.wav", "master.wav") if (path := run.audio(name))]
    stages = [stem.path for stems in run.stems.values() for stem in stems]
    mix = [path for path in [run.audio("mix.wav")] if path]
    sounds = sound.load_all(masters, [*stages, *mix])
    report = folder / "report.html"
    files.write_text(report, _page(run, sounds))
    return report


def _page(run: Run, sounds: Sounds) -> str:
    sections = [
        _header(run),
        _notices(run),
        _tiles(run),
        _comparison(run, sounds),
        _curve(run),
        along.phases(run.history),
        along.spread(run.history),
        wishes.front(run.result),
        wishes.terms(run.result, run.history),
        wishes.choices(run.result),
        _meters(run.result),
        _stages(run, sounds),
        _knobs(run.result),
        _circumstances(run),
    ]
    title = f"{_song(run)} – hitchain {_command(run)}"
    own = resources.files(__package__)
    style, script = ((own / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    return page(title, sections, style, script)


def _song(run: Run) -> str:
    return str(run.result.get("song") or run.folder.resolve().name)


def _command(run: Run) -> str:
    return str(run.result.get("command") or ("optimize" if run.history else "run"))


def _header(run: Run) -> str:
    result = run.result
    parts = [f"hitchain {_command(run)}"]
    parts += [f"seed {result['seed']}"] if "seed" in result else []
    steps, seconds = number(result.get("steps")), number(result.get("seconds"))
    parts += [f"{steps:.0f} steps"] if steps is not None else []
    parts += [duration(seconds)] if seconds is not None else []
    parts += [str(result["stopped"])] if result.get("stopped") else []
    return header(_song(run), " · ".join(parts))


def _notices(run: Run) -> str:
    warnings = run.result.get("warnings")
    notices = [*run.problems, *([str(warning) for warning in warnings] if isinstance(warnings, list) else [])]
    return notices_list(notices)


def _tiles(run: Run) -> str:
    result = run.result
    tiles = [
        _rating_tile("Rating", "by the raters that were climbed", result, "rating_before", "rating_after"),
        _rating_tile("Held-out rating", "by a rater that never was", result, "heldout_before", "heldout_after"),
        _value_tile("Loudness", "integrated, of the master", result, "loudness", "LUFS"),
        _value_tile("True peak", "of the master", result, "true_peak", "dBTP"),
        _value_tile("Knobs freed", "the rest stood still", result, "learned", ""),
        along.diversity_tile(run.history),
    ]
    return tile_row(tiles)


def _rating_tile(label: str, note: str, result: Mapping[str, Any], before: str, after: str) -> str:
    old, new = number(result.get(before)), number(result.get(after))
    if new is None:
        return ""
    if old is None:
        return tile(label, f"{new:.3f}", note)
    gain = f'<span class="{"up" if new >= old else "down"}">{new - old:+.3f}</span>'
    return tile(label, f"{old:.3f} → {new:.3f}", f"{gain} {note}")


def _value_tile(label: str, note: str, result: Mapping[str, Any], key: str, unit: str) -> str:
    value = number(result.get(key))
    return "" if value is None else tile(label, f"{value:.4g} <small>{text(unit)}</small>", note)


def _comparison(run: Run, sounds: Sounds) -> str:
    """Before and after at equal loudness: the louder is turned down, so that it does not win by level."""
    before, after = (_heard(run, sounds, name) for name in ("before.wav", "master.wav"))
    if isinstance(before, Sound) and isinstance(after, Sound):
        return section("listen", "Before and after", _switched(before, after))
    parts = [missing(said) for said in (before, after) if isinstance(said, str) and said]
    if isinstance(after, Sound):
        parts.append(_player("master", after, _facts(after)))
    elif isinstance(before, Sound):
        parts.append(_player("starting patch", before, _facts(before)))
    return (
        section("listen", "Master", *parts)
        if parts
        else section("listen", "Master", missing("There is no master.wav."))
    )


def _heard(run: Run, sounds: Sounds, name: str) -> Sound | str:
    path = run.audio(name)
    if path is not None:
        return sounds[path]
    if name == "before.wav":
        return "There is no before.wav to compare with." if _command(run) == "optimize" else ""
    return f"There is no {name}."


def _switched(before: Sound, after: Sound) -> str:
    played = {"before": before.loudness - before.attenuation, "after": after.loudness - after.attenuation}
    quieter = min(played.values())
    cells = []
    for key, label, one in (("before", "Before", before), ("after", "After", after)):
        volume = 10.0 ** (min(0.0, quieter - played[key]) / 20.0)
        checked = " checked" if key == "after" else ""
        cells.append(
            f'<div class="side" data-side="{key}">'
            f'<label><input type="radio" name="side" value="{key}"{checked}> {label}</label>'
            f'<span class="facts">{_facts(one)}</span>{_pictures(one, label)}'
            f'<audio controls preload="metadata" data-volume="{volume:.4f}" src="{one.source}"></audio></div>'
        )
    difference = abs(played["after"] - played["before"])
    louder = "after" if played["after"] > played["before"] else "before"
    note = (
        f"Switching keeps the position. Both are played equally loud: “{louder}” is turned down by {difference:.1f} dB."
        if difference >= 0.05
        else "Switching keeps the position. Both are equally loud."
    )
    return (
        '<div class="switch" role="group" aria-label="Player of before and after">'
        f'{"".join(cells)}<div class="transport"></div><p class="note">{note}</p></div>'
    )


def _facts(one: Sound) -> str:
    return f"{one.loudness:.1f} LUFS, peak {one.peak:.1f} dBFS"


def _pictures(one: Sound, label: str) -> str:
    return (
        '<div class="pictures">'
        f'<svg viewBox="0 0 400 100" preserveAspectRatio="none" aria-hidden="true"><path d="{one.outline}"/></svg>'
        f'<img src="{one.spectrogram}" alt="Mel spectrogram of {text(label)}" width="400" height="64">'
        '<i class="head"></i></div>'
    )


def _player(label: str, one: Sound, facts: str) -> str:
    return (
        f'<div class="player" data-label="{text(label)}"><div class="name"><span>{text(label)}</span>'
        f'<span class="facts">{text(facts)}</span></div>{_pictures(one, label)}'
        f'<audio controls preload="metadata" src="{one.source}"></audio></div>'
    )


def _curve(run: Run) -> str:
    if not run.history:
        return (
            section("climb", "The climb", missing("There is no history.jsonl.")) if _command(run) == "optimize" else ""
        )
    drawn = curve.draw(run.history)
    if drawn is None:
        return section("climb", "The climb", missing("history.jsonl holds no ratings."))
    data = json.dumps(drawn.data, allow_nan=False).replace("<", "\\u003c")  # a script element ends at its end tag
    return section(
        "climb",
        "The climb",
        f'<figure class="chart curve" tabindex="0">{drawn.svg}<div class="tip" role="status"></div>'
        f"<figcaption>{drawn.legend}</figcaption></figure>",
        f'<script type="application/json" id="curve-data">{data}</script>',
    )


def _stages(run: Run, sounds: Sounds) -> str:
    if not run.stems:
        return section("stages", "Stage by stage", missing("There are no stems in this run folder."))
    groups = [_track(name, stems, sounds) for name, stems in run.stems.items()]
    mix = run.audio("mix.wav")
    if mix is not None:
        groups.append(_track("all tracks", [Stem(mix, "mix")], sounds))
    shortened = [one for one in sounds.values() if isinstance(one, Sound) and one.seconds < one.full_seconds - 0.01]
    note = "Each stage hears what the one before it gave. Levels are the stems' own; waveforms are drawn to their peak."
    if shortened:
        note += f" To keep this page small, they end here after {shortened[0].seconds:.0f} s; the files are whole."
    return section("stages", "Stage by stage", f'<p class="note">{text(note)}</p>', *groups)


def _track(name: str, stems: Sequence[Stem], sounds: Sounds) -> str:
    players = []
    for stem in stems:
        one = sounds[stem.path]
        if isinstance(one, Sound):
            players.append(_player(stem.stage, one, _facts(one)))
        else:
            players.append(f'<div class="player"><div class="name">{text(stem.stage)}</div>{missing(one)}</div>')
    return f'<h3 class="track">{text(name)}</h3><div class="line">{"".join(players)}</div>'


def _knobs(result: Mapping[str, Any]) -> str:
    knobs = result.get("knobs")
    if not isinstance(knobs, list):
        return ""
    rows = [row for row in knobs if isinstance(row, dict)]
    rows.sort(key=lambda row: -(number(row.get("moved")) or 0.0))
    if not rows:
        return section("knobs", "Knobs", missing("No knob was freed."))
    heads = "".join(
        f'<th scope="col"{order}><button type="button">{label}</button></th>'
        for label, order in (("Knob", ""), ("Before", ""), ("After", ""), ("Moved", ' aria-sort="descending"'))
    )
    body = "\n".join(_knob(row) for row in rows)
    table = f'<table data-shown="{KNOBS_SHOWN}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return section("knobs", "Knobs that moved most", f'<div class="scroll">{table}</div>')


def _knob(row: Mapping[str, Any]) -> str:
    """One row. What a column sorts by is its number where it has one, else its text."""
    moved = number(row.get("moved")) or 0.0
    cells = []
    for key in ("before", "after"):
        value = number(row.get(key))
        shown = row.get(f"{key}_text") or ("" if value is None else f"{value:.4g} {row.get('unit') or ''}".strip())
        cells.append(f'<td data-sort="{"" if value is None else repr(value)}">{text(shown)}</td>')
    width = 100.0 * min(max(moved, 0.0), 1.0)
    bar = f'<span class="bar"><span style="width:{width:.1f}%"></span></span>{width:.0f} %'
    path = str(row.get("path", ""))
    return f'<tr><th scope="row">{text(path)}</th>{"".join(cells)}<td data-sort="{moved!r}">{bar}</td></tr>'


def _meters(result: Mapping[str, Any]) -> str:
    readings = result.get("meters")
    if not isinstance(readings, dict) or not readings:
        return ""
    return section("meters", "Meters", f'<div class="scroll">{meters.table(readings)}</div>', meters.spectra(readings))


def _circumstances(run: Run) -> str:
    environment = run.result.get("environment")
    facts = {
        key: run.result[key] for key in ("command", "seed", "sample_rate", "length", "seconds") if key in run.result
    }
    facts |= environment if isinstance(environment, dict) else {}
    terms = "".join(
        f"<div><dt>{text(key.replace('_', ' '))}</dt><dd>{text(value)}</dd></div>" for key, value in facts.items()
    )
    return section(
        "made",
        "How this was made",
        f"<dl>{terms}</dl>" if terms else missing("There is no result.json to tell seed and environment."),
        f"<details><summary>config.yaml</summary><pre>{text(run.config)}</pre></details>" if run.config else "",
        f'<p class="note">In the run folder: {_links(run)}. '
        f"Rebuild this page with <code>hitchain report {text(run.folder)}</code>.</p>",
    )


def _links(run: Run) -> str:
    known: Iterable[str] = (
        "master.wav",
        "mix.wav",
        "before.wav",
        "notes.mid",
        "patch.json",
        "result.json",
        "history.jsonl",
    )
    return (
        ", ".join(f'<a href="{name}">{name}</a>' for name in known if (run.folder / name).is_file()) or "nothing else"
    )
