"""The pages of the experiment: claim.md for the docs, and report.html with the sounds side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.chain.experiment.arms import LETTERS
from hitchain.chain.experiment.measures import UNITS
from hitchain.drawing import page as pages
from hitchain.drawing.axes import Axes
from hitchain.drawing.mp3 import mp3
from hitchain.drawing.pictures import data_uri, mel_levels, png
from hitchain.files import read_audio

Claim = Mapping[str, Any]
SHOWN = 3
"""Starts whose sounds stand on the page."""
COLOURS = ("#b5482f", "#2f6db5")


def interval(entry: Mapping[str, Any], digits: int = 2, signed: bool = False) -> str:
    """A value with its interval in words: "0.61 [0.38, 0.79]"."""
    if entry.get("value") is None:
        return "-"
    sign = "+" if signed else ""
    value = f"{entry['value']:{sign}.{digits}f}"
    if entry.get("low") is None:
        return value
    return f"{value} [{entry['low']:{sign}.{digits}f}, {entry['high']:{sign}.{digits}f}]"


def markdown(claim: Claim) -> str:
    """claim.md: the tables, with what was done and how to do it again."""
    kinds = ", ".join(f"{count} of {kind}" for kind, count in claim["kinds"].items())
    parts = [
        "# Climbing the chain and climbing the waveform\n",
        f"Written by `{claim['command']}`. Numbers are in claim.json; {claim['starts']} starts over {claim['songs']} "
        f"songs ({kinds}), {claim['seconds']:g} s of processor time an arm, sections of {claim['section']:g} s at "
        f"{claim['sample_rate']} Hz. Starts, sections and starting knobs were drawn before any judge was asked. "
        "Intervals are 95 % bootstraps over songs and starts.\n",
        "Songs: " + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in claim["song_names"].items()) + ".\n",
    ]
    for target in claim["targets"]:
        parts += _target_in_markdown(target, claim)
    return "\n".join(parts).rstrip() + "\n"


def _target_in_markdown(target: Mapping[str, Any], claim: Claim) -> list[str]:
    names = " + ".join(target["climbed"])
    judges = claim["judges"]
    lines = [
        f"## Climbing {names}\n",
        f"{target['starts']} starts. Judges never climbed: "
        f"{', '.join(f'{judge} ({what})' for judge, what in judges.items())}. "
        "Their mean is of those trained as raters.\n",
        "### From the very same start audio, at equal climbed gain\n",
        "| climbed gain | judges by the chain | judges by the waveform | difference | times | starts |",
        "|---|---|---|---|---|---|",
    ]
    for goal, row in target["paired"].items():
        lines.append(
            f"| +{goal} | {interval(row['chain'], 3, True)} | {interval(row['waveform'], 3, True)} | "
            f"{interval(row['difference'], 3, True)} | {interval(row['times'], 1)} | {row['chain']['starts']} |"
        )
    lines += ["", "The chain with prior and copies (f) against the waveform:\n", *lines[3:5]]
    for goal, row in target["paired_held"].items():
        lines.append(
            f"| +{goal} | {interval(row['chain'], 3, True)} | {interval(row['waveform'], 3, True)} | "
            f"{interval(row['difference'], 3, True)} | {interval(row['times'], 1)} | {row['chain']['starts']} |"
        )
    everyone = ["judges", *claim["panel"]]
    lines += ["", "### Transfer: judges' gain / climbed gain, when the time was up\n"]
    lines += ["| arm | climbed gain | " + " | ".join(_heading(judge) for judge in everyone) + " | another section |"]
    lines += ["|---" * (len(everyone) + 3) + "|"]
    for arm, row in target["transfer"].items():
        cells = " | ".join(interval(row[judge]) for judge in everyone)
        away = interval(target["elsewhere"][arm])
        lines.append(f"| {LETTERS[arm]}. {arm} | {interval(target['climbed_gain'][arm], 2, True)} | {cells} | {away} |")
    lines += ["", "At equal gain instead (each start as far as the largest goal it reached):\n"]
    lines += ["| arm | " + " | ".join(_heading(judge) for judge in everyone) + " |", "|---" * (len(everyone) + 1) + "|"]
    for arm, row in target["transfer_at_goal"].items():
        lines.append(f"| {LETTERS[arm]}. {arm} | " + " | ".join(interval(row[judge]) for judge in everyone) + " |")
    kinds = list(target["by_kind"])
    lines += ["", "By kind of song, mean of the judges, when the time was up:\n"]
    lines += ["| arm | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for arm in target["transfer"]:
        lines.append(
            f"| {LETTERS[arm]}. {arm} | " + " | ".join(interval(target["by_kind"][kind][arm]) for kind in kinds) + " |"
        )
    lines += ["", "### What no rater saw\n", *_measures_in_markdown(target)]
    lines += ["", *_bounds_in_markdown(target)]
    return lines


def _bounds_in_markdown(target: Mapping[str, Any]) -> list[str]:
    rows = {arm: row for arm, row in target["at_bound"].items() if row["final"]["value"] is not None}
    if not rows:
        return []
    told = (
        f"{arm}: {100 * row['start']['value']:.0f} % to {100 * row['final']['value']:.0f} %"
        for arm, row in rows.items()
    )
    return [f"Knobs at an end of their range (within 2 %): {'; '.join(told)}.\n"]


def _heading(judge: str) -> str:
    return "mean of judges" if judge == "judges" else judge


def _measures_in_markdown(target: Mapping[str, Any]) -> list[str]:
    names = list(UNITS)
    distances = target["distances"]
    head = [f"{name} ({UNITS[name]})" for name in names] + (["Frechet distance to real music"] if distances else [])
    lines = ["| arm | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for arm, row in target["measures"].items():
        if not row:
            continue
        cells = [_change(row[name]) for name in names]
        if distances:
            own = distances.get(arm)
            cells.append(f"{own['start']:.2f} to {own['final']:.2f}" if own else "-")
        lines.append(f"| {LETTERS[arm]}. {arm} | " + " | ".join(cells) + " |")
    return lines


def _change(entry: Mapping[str, Any]) -> str:
    start, final = entry["start"]["value"], entry["final"]["value"]
    return "-" if start is None or final is None else f"{start:.3g} to {final:.3g}"


# report.html ------------------------------------------------------------------------------------------------------


def html(claim: Claim, sounds: Path) -> str:
    """report.html: the main figure, the tables, and starts side by side as sound and spectrogram."""
    sections = [
        pages.header(
            "Climbing the chain and climbing the waveform",
            f"{claim['starts']} starts over {claim['songs']} songs · {claim['seconds']:g} s an arm",
        )
    ]
    for number, target in enumerate(claim["targets"]):
        names = " + ".join(target["climbed"])
        sections.append(
            pages.section(f"figure{number}", f"Climbing {names}: the same start, equal climbed gain", _figure(target))
        )
        sections.append(
            pages.section(f"transfer{number}", "Transfer when the time was up", _transfer_table(target, claim))
        )
        sections.append(pages.section(f"measures{number}", "What no rater saw", _measure_table(target)))
    sections.append(pages.section("sounds", "Side by side", *_players(sounds, int(claim["sample_rate"]))))
    return pages.page("Climbing the chain and climbing the waveform – hitchain", sections)


def _figure(target: Mapping[str, Any]) -> str:
    """Judges' gain over climbed gain: chain and waveform with their intervals."""
    lines: dict[str, list[tuple[float, Mapping[str, Any]]]] = {"chain": [], "waveform": []}
    for goal, row in target["paired"].items():
        for name, points in lines.items():
            if row[name]["value"] is not None:
                points.append((float(goal), row[name]))
    everything = [point for points in lines.values() for point in points]
    if not everything:
        return pages.missing("No start reached any goal by both ways.")
    heights = [entry[key] for _, entry in everything for key in ("low", "high", "value") if entry[key] is not None]
    axes = Axes.around([0.0, *(goal for goal, _ in everything)], [0.0, *heights], margin=0.06)
    parts = [axes.grid("climbed gain", "gain of judges never climbed")]
    parts += [
        _series(axes, name, points, colour) for (name, points), colour in zip(lines.items(), COLOURS, strict=True)
    ]
    return axes.svg("".join(parts), "Gain of judges never climbed over climbed gain, by the chain and by the waveform")


def _series(axes: Axes, name: str, points: Sequence[tuple[float, Mapping[str, Any]]], colour: str) -> str:
    """A line with its intervals and its name at the end."""
    path = axes.path([(0.0, 0.0), *((goal, entry["value"]) for goal, entry in points)])
    parts = [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>']
    x = y = 0.0
    for goal, entry in points:
        x, y = axes.x(goal), axes.y(entry["value"])
        if entry["low"] is not None:
            low, high = axes.y(entry["low"]), axes.y(entry["high"])
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
    if points:
        parts.append(f'<text x="{x - 8:.1f}" y="{y - 8:.1f}" text-anchor="end" fill="{colour}">{name}</text>')
    return "".join(parts)


def _transfer_table(target: Mapping[str, Any], claim: Claim) -> str:
    everyone = ["judges", *claim["panel"]]
    rows = []
    for arm, row in target["transfer"].items():
        cells = [interval(row[judge]) for judge in everyone]
        climbed, away = interval(target["climbed_gain"][arm], 2, True), interval(target["elsewhere"][arm])
        rows.append([f"{LETTERS[arm]}. {arm}", climbed, *cells, away])
    return pages.table(["arm", "climbed gain", *(_heading(judge) for judge in everyone), "another section"], rows)


def _measure_table(target: Mapping[str, Any]) -> str:
    rows = [
        [f"{LETTERS[arm]}. {arm}", *(_change(row[name]) for name in UNITS)]
        for arm, row in target["measures"].items()
        if row
    ]
    return pages.table(["arm", *(f"{name} ({unit})" for name, unit in UNITS.items())], rows)


def _players(sounds: Path, sample_rate: int) -> list[str]:
    folders = sorted(path for path in sounds.glob("*") if path.is_dir())[:SHOWN] if sounds.is_dir() else []
    if not folders:
        return [pages.missing("No sounds were kept.")]
    parts = []
    for folder in folders:
        rows = []
        for arm in sorted(path for path in folder.iterdir() if path.is_dir()):
            players = (_player(arm / f"{point}.wav", point, sample_rate) for point in ("start", "0.2", "final"))
            heading = pages.text(arm.name.replace("-", " "))
            rows.append(f"<h4>{heading}</h4><div style='display:flex;gap:1rem;flex-wrap:wrap'>{''.join(players)}</div>")
        parts.append(f"<h3>{pages.text(folder.name.replace('-', ' '))}</h3>{''.join(rows)}")
    return parts


def _player(path: Path, point: str, sample_rate: int) -> str:
    if not path.is_file():
        return ""
    audio, rate = read_audio(path)
    picture = data_uri(png(mel_levels(audio, rate)), "image/png")
    sound = data_uri(mp3(audio, rate, 96), "audio/mpeg")
    words = {"start": "start", "final": "when the time was up"}.get(point, f"climbed by {point}")
    return (
        f"<figure style='margin:0;width:16rem'><img src='{picture}' alt='spectrogram' style='width:100%;height:6rem'>"
        f"<audio controls src='{sound}' style='width:100%'></audio>"
        f"<figcaption>{pages.text(words)}</figcaption></figure>"
    )
