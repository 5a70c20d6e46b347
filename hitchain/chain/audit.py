"""`hitchain audit RUN_FOLDER ...`: is the gain of a finished climb real? Judges that were never climbed are asked.

The song is cut into sections; each is rated before and after by the raters that were climbed and by the judges. How
much of the climbed gain the judges share is the transfer; its interval is a bootstrap over sections.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain import rater
from hitchain.blocks.parameter import Choice
from hitchain.chain import config as configs
from hitchain.chain import patch as patches
from hitchain.chain.build import build
from hitchain.chain.chain import Song
from hitchain.chain.diversity import collapsed, diversity
from hitchain.chain.knobs import EDGE, Knobs
from hitchain.chain.patch import Patch
from hitchain.chain.report.run import read_run
from hitchain.chain.result import levels
from hitchain.devices import usable_device
from hitchain.errors import UserError, nearest
from hitchain.files import read_audio, write_json
from hitchain.progress import Progress
from hitchain.rater.evaluation.bootstrap import Estimate
from hitchain.rater.rater import judges

Array = NDArray[np.float64]
Say = Callable[[str], None]

KEYS = ("sections", "judges", "device")
SECTIONS = 8
SHORTEST = 2.0
"""[s] of a section."""
QUIET = 40.0
"""[dB] under the song's level: a section softer than that is left out, since nothing is played in it."""
NOTHING = 1e-3
"""A gain no larger than this is none."""
DRAWS = 2000
FEWEST = 3
"""Sections for which an interval is given."""


@dataclass(frozen=True)
class Climb:
    """A finished climb, read from its folder.

    Attributes:
        before, after: (channels, samples), the master of the starting patch and of the best.
    """

    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    song: Song
    patch: Patch
    before: Tensor
    after: Tensor
    sample_rate: int


def audit_words(words: Sequence[str]) -> None:
    """`hitchain audit RUN_FOLDER ... [sections=8] [judges=NAME,NAME] [device=cpu]`: print, and write audit.json."""
    folders = [word for word in words if "=" not in word or Path(word).exists()]
    options = dict(word.partition("=")[::2] for word in words if word not in folders)
    for key in options:
        if key not in KEYS:
            raise UserError(f"unknown key '{key}'; {nearest(key, KEYS)}")
    if not folders:
        raise UserError("give the folder of a finished climb: hitchain audit RUN_FOLDER ...")
    count = options.get("sections", str(SECTIONS))
    if not count.isdecimal() or not 1 <= int(count) <= 1000:
        raise UserError(f"sections={count} should be a whole number from 1 to 1000.")
    asked = [name for name in options["judges"].strip("[]").split(",") if name] if "judges" in options else None
    for folder in folders:
        climb = read_climb(Path(folder))
        with Progress(None, "rating", unit="section") as progress:
            found = audit(climb, int(count), asked, options.get("device", "cpu"), progress.update)
        write_json(climb.folder / "audit.json", found)
        tell(found, print)


def read_climb(folder: Path) -> Climb:
    """A finished climb.

    Raises:
        UserError: the folder is missing, holds no climb, or one that has not finished; a file in it is damaged.
    """
    read = read_run(folder)
    config = configs.read(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    if config.get("command") != "optimize":
        kind = f"a run of '{config['command']}'" if config.get("command") else "no climb"
        raise UserError(f"{folder} is {kind}; only a finished climb (hitchain optimize) can be audited.")
    if not read.result:
        raise UserError(f"{folder} has no result.json: the climb has not finished. Go on with it by resume={folder}.")
    song = build(config)
    patch = patches.load(folder / "patch.json", song.blocks(), song.start)
    before, sample_rate = read_audio(folder / "before.wav")
    after, _ = read_audio(folder / "master.wav", sample_rate)
    samples = min(before.shape[-1], after.shape[-1])
    return Climb(
        folder, config, read.result, read.history, song, patch, before[:, :samples], after[:, :samples], sample_rate
    )


@torch.no_grad()
def audit(
    climb: Climb,
    sections: int = SECTIONS,
    asked: Sequence[str] | None = None,
    device: str = "cpu",
    on_section: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Judge a climb again. Returns what audit.json holds.

    Args:
        sections: of the song at most; each lasts `SHORTEST` or more.
        asked: the judges; all that were never climbed where None.
        on_section: called with how many sections have been rated.

    Raises:
        UserError: a judge is unknown, or was climbed.
    """
    names = climbed_by(climb.config)
    judging = judges_of(climb.config) if asked is None else list(asked)
    for name in judging:
        if name in names:
            raise UserError(f"judges: {name} was climbed; a judge must never be.")
    parts = sections_of(climb.before, climb.sample_rate, sections)
    rated = _rated(climb, [*names, *judging], parts, device, on_section)
    gain_of = {name: values[:, 1] - values[:, 0] for name, values in rated.items()}
    climbed = np.mean([gain_of[name] for name in names], axis=0)
    mean = np.mean([gain_of[name] for name in judging], axis=0) if judging else None
    bounds = at_bounds(climb.song, climb.patch, _learned(climb))
    found = {
        "command": "audit",
        "run": str(climb.folder),
        "song": climb.song.name,
        "sections": [[first / climb.sample_rate, last / climb.sample_rate] for first, last in parts],
        "climbed": {name: _row(rated[name], None) for name in names},
        "judges": {name: _row(rated[name], climbed) for name in judging},
        "gain": _mean(climbed).as_dict(),
        "transfer": None if mean is None else _ratio(mean, climbed).as_dict(),
        "bounds": bounds,
        "diversity": diversity(climb.history),
        "stopped": climb.result.get("stopped"),
        **_levels(climb),
    }
    return {**found, "verdict": verdict(found)}


def _rated(
    climb: Climb,
    names: Sequence[str],
    parts: Sequence[tuple[int, int]],
    device: str,
    on_section: Callable[[int], None] | None,
) -> dict[str, Array]:
    """Every rater's ratings of the sections, before and after: (sections, 2)."""
    panel = {name: rater.load(name).to(usable_device(device)) for name in names}
    rated = {name: np.zeros((len(parts), 2)) for name in panel}
    for index, (first, last) in enumerate(parts):
        for name, one in panel.items():
            pair = (sound[None, :, first:last].to(one.device) for sound in (climb.before, climb.after))
            rated[name][index] = [float(one.rate(sound, climb.sample_rate).mean()) for sound in pair]
        if on_section is not None:
            on_section(index + 1)
    return rated


def climbed_by(config: Mapping[str, Any]) -> list[str]:
    """Names of the raters that a run climbed."""
    section = config.get("objective")
    given = section.get("rater") if isinstance(section, Mapping) else None
    names = given if isinstance(given, list) else [given]
    if not names or any(name is None for name in names):
        raise UserError("config.yaml: objective.rater is missing; it says what was climbed.")
    return [str(name) for name in names]


def judges_of(config: Mapping[str, Any]) -> list[str]:
    """Names of the raters that never were: the run's own held-out one, and all judges that ship."""
    own = config["objective"].get("heldout")
    names = [*([] if own is None else [str(own)]), *judges()]
    return [name for name in dict.fromkeys(names) if name not in climbed_by(config)]


def sections_of(audio: Tensor, sample_rate: int, most: int) -> list[tuple[int, int]]:
    """Sections of audio (channels, samples), as first and last sample, without those in which nothing is played."""
    samples = audio.shape[-1]
    count = max(1, min(most, int(samples / (SHORTEST * sample_rate))))
    edges = np.linspace(0, samples, count + 1).round().astype(int).tolist()
    whole = float(audio.square().mean())
    parts = list(itertools.pairwise(edges))
    heard = [part for part in parts if float(audio[:, part[0] : part[1]].square().mean()) > whole * 10 ** (-QUIET / 10)]
    return heard or parts


def _row(rated: Array, climbed: Array | None) -> dict[str, Any]:
    """One rater over the sections (sections, 2): before and after, its gain, and its share of the climbed gain."""
    gain = rated[:, 1] - rated[:, 0]
    row: dict[str, Any] = {
        "before": float(rated[:, 0].mean()),
        "after": float(rated[:, 1].mean()),
        "gain": _mean(gain).as_dict(),
        "by_section": gain.tolist(),
    }
    return row if climbed is None else {**row, "transfer": _ratio(gain, climbed).as_dict()}


def _drawn(count: int) -> NDArray[np.intp]:
    return np.random.default_rng(0).integers(0, count, (DRAWS, count))


def _mean(values: Array) -> Estimate:
    """The mean over sections and its 95 % interval."""
    if len(values) < FEWEST:
        return Estimate(float(values.mean()))
    low, high = np.quantile(values[_drawn(len(values))].mean(axis=1), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def _ratio(judged: Array, climbed: Array) -> Estimate:
    """Judges' gain over climbed gain, of the sums; None where nothing was gained, no interval where that is open."""
    total = float(climbed.sum())
    if total <= 1e-6:
        return Estimate(None)
    value = float(judged.sum()) / total
    if len(climbed) < FEWEST:
        return Estimate(value)
    rows = _drawn(len(climbed))
    below = climbed[rows].sum(axis=1)
    if np.quantile(below, 0.025) <= 1e-6:
        return Estimate(value)
    low, high = np.quantile(judged[rows].sum(axis=1) / below, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _learned(climb: Climb) -> list[str]:
    learn = climb.config.get("learn")
    given = climb.song.learn if learn is None else learn
    return [given] if isinstance(given, str) else list(given)


def at_bounds(song: Song, patch: Patch, learn: Sequence[str]) -> dict[str, Any]:
    """The freed knobs that stand within 2 % of an end of their range, and how many did at the start.

    Returns:
        `freed`, `before`, `after` (counts) and `knobs`: for each at an end its `name`, `end` ("lowest" or "highest"),
        `value` and `start` in words, `stayed` (it began there), and for one with a value a note, `share` of its notes.
    """
    rows, freed, began = [], 0, 0
    for knob in Knobs(song, learn).knobs:
        parameter = knob.parameter
        if isinstance(parameter, Choice):
            continue
        freed += 1
        start, now = (one.settings[knob.path][parameter.name][0].double().flatten() for one in (song.start, patch))
        first, last = (_ends(parameter.to_unit(value)) for value in (start, now))
        began += bool(first)
        if not last:
            continue
        end = max(last, key=lambda side: last[side])
        rows.append(
            {
                "name": knob.name,
                "end": end,
                "value": parameter.show(float(now.mean())),
                "start": parameter.show(float(start.mean())),
                "stayed": end in first,
                "share": last[end],
            }
        )
    return {"freed": freed, "before": began, "after": len(rows), "knobs": rows}


def _ends(position: Tensor) -> dict[str, float]:
    """The ends at which a knob stands, and the share of its values there; those of few notes do not count."""
    shares = {
        "lowest": float((position <= EDGE + 1e-6).double().mean()),
        "highest": float((position >= 1.0 - EDGE - 1e-6).double().mean()),
    }
    return {side: share for side, share in shares.items() if share >= 0.5}


def _levels(climb: Climb) -> dict[str, Any]:
    measured = levels({"before": climb.before, "master": climb.after}, climb.sample_rate)["meters"]
    return {
        name: {"before": measured["before"][key], "after": measured["master"][key]}
        for name, key in (("loudness", "integrated"), ("true_peak", "true_peak"))
    }


def verdict(found: Mapping[str, Any]) -> list[str]:
    """What the figures of an audit come to, in sentences; the first is on the gain."""
    said = [_on_transfer(found)]
    doubting = [
        name for name, row in found["judges"].items() if row["transfer"]["low"] is not None and row["gain"]["low"] <= 0
    ]
    if doubting and found["gain"]["value"] > NOTHING:
        said.append(f"not every judge hears it: {', '.join(doubting)} may not have risen")
    bounds = found["bounds"]
    arrived = [row["name"] for row in bounds["knobs"] if not row["stayed"]]
    if arrived:
        said.append(f"{len(arrived)} of {bounds['freed']} freed knobs went to an end of their range")
    if bounds["freed"] and bounds["after"] > max(2 * bounds["before"], 0.1 * bounds["freed"]):
        said.append("that many are a sign of gaming: raise objective.bounds or objective.neutral")
    said += collapsed(found["diversity"])
    if found["true_peak"]["after"] > 0.0:
        said.append(f"the master clips: its true peak is {found['true_peak']['after']:+.1f} dBTP")
    return said


def _on_transfer(found: Mapping[str, Any]) -> str:
    gain, transfer = found["gain"], found["transfer"]
    if gain["value"] <= NOTHING:
        return "the climb gained nothing: the climbed raters do not rate it higher than its start"
    if transfer is None or transfer["value"] is None:
        return "nobody judged it: every rater asked was climbed"
    value, low = transfer["value"], transfer["low"]
    share = f"judges that were never climbed rose by {100 * value:.0f} % of the climbed gain"
    if value < 0:
        return (
            f"the raters were gamed: judges that were never climbed fell, by {-100 * value:.0f} % of the climbed gain"
        )
    if low is not None and low >= 0.5:
        return f"the gain transfers: {share}"
    if value < 0.25:
        return f"the gain does not transfer: {share}"
    if low is None:
        return f"{share}; there are too few sections to say how sure that is"
    return (
        f"the gain transfers in part: {share}" if low > 0 else f"the gain may not transfer: {share}, and perhaps none"
    )


def tell(found: Mapping[str, Any], say: Say) -> None:
    """Print an audit."""
    say(f"audit    {found['run']}: {found['song']}, {len(found['sections'])} sections; stopped by: {found['stopped']}")
    for name, row in found["climbed"].items():
        say(f"climbed  {name:20} {row['before']:7.3f} -> {row['after']:7.3f}  {interval(row['gain'], sign='+')}")
    for name, row in found["judges"].items():
        gain, transfer = interval(row["gain"], sign="+"), interval(row["transfer"], 2)
        say(f"judge    {name:20} {row['before']:7.3f} -> {row['after']:7.3f}  {gain}  transfer {transfer}")
    if found["transfer"] is not None:
        say(f"transfer {interval(found['transfer'], 2)} of the climbed gain, mean of the judges")
    say("levels   " + ", ".join(
        f"{found[key]['before']:.1f} -> {found[key]['after']:.1f} {unit}"
        for key, unit in (("loudness", "LUFS"), ("true_peak", "dBTP"))
    ))  # fmt: skip
    if found["diversity"]:
        said = found["diversity"]
        say(f"batch    diversity {said['first']:.4f} -> {said['last']:.4f} (of a knob's range)")
    bounds = found["bounds"]
    say(f"bounds   {bounds['before']} -> {bounds['after']} of {bounds['freed']} knobs within 2 % of an end")
    for row in bounds["knobs"]:
        note = "was there" if row["stayed"] else f"from {row['start']}"
        say(f"         {row['name']} at its {row['end']}, {row['value']} ({note})")
    for sentence in found["verdict"]:
        say(f"verdict  {sentence}")


def interval(estimate: Mapping[str, float | None], digits: int = 3, sign: str = "") -> str:
    """An estimate in words: "+0.610 [+0.380, +0.790]"."""
    if estimate["value"] is None:
        return "-"
    ends = [estimate["low"], estimate["high"]]
    told = "" if None in ends else f" [{', '.join(f'{end:{sign}.{digits}f}' for end in ends)}]"
    return f"{estimate['value']:{sign}.{digits}f}{told}"
