"""The page of an explanation: the picture, the moments with buttons to hear them, the bands, the changes tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hitchain.drawing.mp3 import MP3_RATES, mp3
from hitchain.drawing.page import duration, header, note, page, section, tile, tile_row
from hitchain.drawing.pictures import data_uri
from hitchain.files import write_text
from hitchain.rater.explain import picture
from hitchain.rater.explain.attribution import Attribution
from hitchain.rater.explain.edits import THERE_AND_BACK, named
from hitchain.rater.explain.picture import clock

BUDGET = 6_000_000
"""Bytes of compressed sound in a page, where the lowest bit rate allows it."""
HIGHEST_RATE, LOWEST_RATE = 128, 40  # kbit/s

_BASELINES = {
    "mean": ("itself held still", "the song held still at its own mean spectrum"),
    "silence": ("silence", "silence"),
}


def write_report(
    folder: Path,
    result: Mapping[str, Any],
    attribution: Attribution | None,
    frequencies: NDArray[np.float64] | None,
    audio: Tensor,
    sample_rate: int,
) -> Path:
    """Write report.html into a run folder.

    Args:
        result: what stands in result.json. attribution, frequencies: None for a rater without gradients.
        audio: (channels, samples).
    """
    own = resources.files(__package__)
    style, script = ((own / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    line = f"hitchain explain · rater {result['rater']} · {duration(result['length'])}"
    sections = [
        header(Path(result["input"]).name, line),
        _tiles(result),
        _song(audio, sample_rate),
        *(
            _attributed(result, attribution, frequencies)
            if attribution is not None and frequencies is not None
            else [_none()]
        ),
        _changes(result),
    ]
    path = folder / "report.html"
    write_text(path, page(f"{Path(result['input']).name} – hitchain explain", sections, style, script))
    return path


def _none() -> str:
    return note("This rater has no gradient, so nothing can be attributed to moments; the changes below were tried.")


def _tiles(result: Mapping[str, Any]) -> str:
    members = ", ".join(f"{value:.2f}" for value in result["members"].values())
    tiles = [
        tile("Rating", f"{result['rating']:.3f}", f"members: {members}" if len(result["members"]) > 1 else "one member")
    ]
    about = result["attribution"]
    if about is not None:
        error = 100.0 * about["completeness_error"]
        tiles.append(
            tile("Against " + _BASELINES[about["baseline"]][0], f"{about['difference']:+.3f}", "is what is explained")
        )
        tiles.append(tile("Attributed", f"{about['attributed']:+.3f}", f"within {error:.2f} % of it"))
    if result["noise_floor"] is not None:
        tiles.append(tile("Noise floor", f"{result['noise_floor']:.3f}", "moved by changes that nobody hears"))
    return tile_row(tiles)


def _song(audio: Tensor, sample_rate: int) -> str:
    """The whole recording, to be played from the buttons."""
    seconds = audio.shape[-1] / sample_rate
    rate = int(min(max(BUDGET / 125 / seconds, LOWEST_RATE), HIGHEST_RATE))
    if sample_rate not in MP3_RATES:
        from hitchain.rater.training.augment import resample

        audio, sample_rate = resample(audio, sample_rate, 44_100), 44_100
    sound = mp3(audio / max(1.0, float(audio.abs().max())), sample_rate, rate)
    return f'<audio id="song" controls preload="auto" src="{data_uri(sound, "audio/mpeg")}"></audio>'


def _attributed(result: Mapping[str, Any], attribution: Attribution, frequencies: NDArray[np.float64]) -> Sequence[str]:
    moments = result["moments"]
    lists = "".join(
        f"<div><h3>{heading}</h3>{_moments(moments[key])}</div>"
        for key, heading in (("raising", "Moments that raise it most"), ("lowering", "Moments that lower it most"))
    )
    length = moments["raising"][0]["end"] - moments["raising"][0]["start"] if moments["raising"] else 2.0
    return [
        section(
            "picture",
            "Where the rating comes from",
            f'<figure class="chart">{picture.overlay(attribution, frequencies)}'
            f"{picture.curve(attribution, length)}"
            '<figcaption><span class="raises"><i></i>raises the rating</span>'
            '<span class="lowers"><i></i>lowers it</span>'
            "<span>grey: the song itself, loud is dark</span></figcaption></figure>",
            note(
                f"Integrated gradients, from {_BASELINES[result['attribution']['baseline']][1]} to the song, a little "
                f"smoothed for the eye. The curve is the sum over {length:.1f} s, shaded by one standard deviation of "
                "the members. Click to play from there."
            ),
        ),
        section("moments", "Moments", f'<div class="lists">{lists}</div>'),
        section("bands", "Bands", _table(_band_rows(result["bands"]), ("Band", "Adds", "", "Spread", "Members"))),
    ]


def _moments(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return note("None.")
    items = "".join(
        f'<li><button type="button" data-start="{row["start"]}" data-end="{row["end"]}">▶ {clock(row["start"])}–'
        f'{clock(row["end"])}</button> <b class="{_side(row["change"])}">{row["change"]:+.4f}</b> '
        f'<span class="facts">{_agreement(row)}</span></li>'
        for row in rows
    )
    return f"<ol>{items}</ol>"


def _side(change: float) -> str:
    return "raises" if change > 0 else "lowers"


def _agreement(row: Mapping[str, Any]) -> str:
    if row["spread"] is None:
        return ""
    return "members agree" if row["clear"] else "members disagree"


def _band_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any], str]]:
    return [(named(row["band"]), row, _agreement(row)) for row in rows]


def _changes(result: Mapping[str, Any]) -> str:
    rows = result["counterfactuals"]
    if rows is None:
        return ""
    told = [(row["name"], row, _outcome(row)) for row in rows]
    return section(
        "changes",
        "Changes that were tried",
        note(
            "Each was made to the recording and rated again. No clear change: not above the noise floor, or the "
            f"members disagree on the sign. Of tempo and pitch, what “{THERE_AND_BACK}” does is taken off: it is the "
            "stretching's own sound."
        ),
        _table(told, ("Change", "Rating", "", "Spread", "Outcome")),
    )


def _outcome(row: Mapping[str, Any]) -> str:
    if row["kind"] == "control":
        return "the stretching itself"
    return ("raises it" if row["change"] > 0 else "lowers it") if row["clear"] else "no clear change"


def _table(rows: Sequence[tuple[str, Mapping[str, Any], str]], heads: Sequence[str]) -> str:
    largest = max((abs(row["change"]) for _, row, _ in rows), default=0.0) or 1.0
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(
        f'<tr class="{"clear" if row["clear"] else "unclear"}"><th scope="row">{name}</th><td>{row["change"]:+.4f}</td>'
        f"<td>{_bar(row['change'] / largest)}</td>"
        f"<td>{'' if row['spread'] is None else format(row['spread'], '.4f')}</td><td>{outcome}</td></tr>"
        for name, row, outcome in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _bar(share: float) -> str:
    """A bar from the middle, to the right where above 0."""
    width = 50.0 * abs(share)
    left = 50.0 if share > 0 else 50.0 - width
    return f'<span class="signed"><i class="{_side(share)}" style="left:{left:.1f}%;width:{width:.1f}%"></i></span>'
