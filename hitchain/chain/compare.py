"""`hitchain compare RUN_FOLDER RUN_FOLDER ...`: runs beside each other as a printed table and as a page.

Runs are read from their folders as data: they may be of different songs and hold different blocks. Knobs that all runs
have are compared, each in its own unit; what only some have is listed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hitchain.blocks import registry
from hitchain.blocks.parameter import Choice, Parameter
from hitchain.chain import config as configs
from hitchain.chain.patch import FORMAT
from hitchain.chain.report.run import Run, read_run
from hitchain.drawing.page import number
from hitchain.errors import UserError, nearest
from hitchain.files import read_json

Say = Callable[[str], None]
Setting = float | str | list[float]

SAME = 0.005
"""Share of a knob's range under which two runs have it alike."""
TOLD = 8
"""Knobs that are printed; the page has all."""
NOT_COMPARED = ("out", "resume", "command")


@dataclass(frozen=True)
class Compared:
    """A run with its name, the settings of its patch by full knob name, and the blocks that have them by path."""

    name: str
    run: Run
    config: Mapping[str, Any]
    blocks: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Setting]]


@dataclass(frozen=True)
class Difference:
    """A knob that all runs have: its value in each, in words, and how far apart they are as a share of its range."""

    name: str
    values: tuple[str, ...]
    apart: float


def compare_words(words: Sequence[str]) -> None:
    """`hitchain compare RUN_FOLDER RUN_FOLDER ... [out=FILE.html]`: print a table, and write the page."""
    folders = [word for word in words if "=" not in word or Path(word).exists()]
    options = dict(word.partition("=")[::2] for word in words if word not in folders)
    for key in options:
        if key != "out":
            raise UserError(f"unknown key '{key}'; {nearest(key, ['out'])}")
    if len(folders) < 2:
        raise UserError("give the folders of two runs or more: hitchain compare RUN_FOLDER RUN_FOLDER ...")
    out = Path(options.get("out") or Path("runs") / f"compare-{time.strftime('%Y%m%d-%H%M%S')}.html")
    if out.is_dir():
        raise UserError(f"out={out} is a folder; give the name of a page, for example {out / 'compare.html'}.")
    compare([Path(folder) for folder in folders], out)


def compare(folders: Sequence[Path], out: Path, say: Say = print) -> None:
    """Print how runs differ, and write the page. Raises `UserError` where one of them is no run folder."""
    from hitchain.chain.report.comparison import write_comparison

    runs = read_all(folders)
    tell(runs, say)
    say(f"page     {write_comparison(runs, out)}")


def read_all(folders: Sequence[Path]) -> list[Compared]:
    """Run folders as data, each with a name of its own: its folder's, with so much of the path as tells them apart."""
    names = _names(folders)
    return [_read(folder, name) for folder, name in zip(folders, names, strict=True)]


def _names(folders: Sequence[Path]) -> list[str]:
    whole = [folder.resolve().parts for folder in folders]
    if len(set(whole)) < len(whole):
        raise UserError("the same run folder is given twice.")
    length = next(n for n in range(1, 1 + max(map(len, whole))) if len({parts[-n:] for parts in whole}) == len(whole))
    return ["/".join(parts[-length:]) for parts in whole]


def _read(folder: Path, name: str) -> Compared:
    run = read_run(folder)
    config = configs.read(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    blocks: dict[str, str] = {}
    settings: dict[str, Mapping[str, Setting]] = {}
    if (folder / "patch.json").is_file():
        patch = read_json(folder / "patch.json", "patch")
        if not isinstance(patch, dict) or patch.get("format") != FORMAT or not isinstance(patch.get("blocks"), dict):
            raise UserError(f"{folder / 'patch.json'} is not a hitchain patch (its 'format' should be '{FORMAT}').")
        for path, entry in patch["blocks"].items():
            if isinstance(entry, dict) and isinstance(entry.get("settings"), dict):
                blocks[path], settings[path] = str(entry.get("block")), entry["settings"]
    return Compared(name, run, config, blocks, settings)


# Figures ----------------------------------------------------------------------------------------------------------


def figures(one: Compared) -> dict[str, str]:
    """A run's row of the table: {heading: cell}."""
    result = one.run.result
    before, after = number(result.get("rating_before")), number(result.get("rating_after"))
    strange, stranger = number(result.get("heldout_before")), number(result.get("heldout_after"))
    gain = None if before is None or after is None else after - before
    judged = None if strange is None or stranger is None else stranger - strange
    transfer = judged / gain if gain is not None and judged is not None and gain > 1e-3 else None
    return {
        "song": str(result.get("song") or ""),
        "seed": str(result.get("seed", "")),
        "steps": _shown(result.get("steps"), "d"),
        "seconds": _shown(result.get("seconds"), ".0f"),
        "rating": "" if after is None else f"{before:.3f} -> {after:.3f}" if before is not None else f"{after:.3f}",
        "gain": _shown(gain, "+.3f"),
        "held-out gain": _shown(judged, "+.3f"),
        "transfer": _shown(transfer, ".2f"),
        "LUFS": _shown(result.get("loudness"), ".1f"),
        "dBTP": _shown(result.get("true_peak"), ".1f"),
        "stopped": str(result.get("stopped") or ""),
    }


def _shown(value: Any, form: str) -> str:
    found = number(value)
    return "" if found is None else format(int(found) if form == "d" else found, form)


def configured(runs: Sequence[Compared]) -> list[tuple[str, tuple[str, ...]]]:
    """Config keys whose values differ between the runs, each with its value in every run."""
    flat = [_flat(one.config) for one in runs]
    keys = dict.fromkeys(key for config in flat for key in config)
    rows = [(key, tuple(config.get(key, "-") for config in flat)) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        elif prefix or key not in NOT_COMPARED:
            flat[f"{prefix}{key}"] = str(value)
    return flat


# Knobs ------------------------------------------------------------------------------------------------------------


def differences(runs: Sequence[Compared]) -> list[Difference]:
    """The knobs that all runs have and that differ, those first that are furthest apart."""
    found = []
    for path in _common(runs):
        known = {parameter.name: parameter for parameter in _parameters(runs[0].blocks[path])}
        shared = [key for key in runs[0].settings[path] if all(key in one.settings[path] for one in runs)]
        for key in shared:
            values = [one.settings[path][key] for one in runs]
            apart = _apart(known.get(key), values)
            if apart > SAME:
                told = tuple(_in_words(known.get(key), value) for value in values)
                found.append(Difference(f"{path}.{key}", told, apart))
    return sorted(found, key=lambda one: -one.apart)


def uncommon(runs: Sequence[Compared]) -> list[tuple[str, tuple[str, ...]]]:
    """Places where not all runs have the same block: (path, the block of each run, "-" for none)."""
    paths = dict.fromkeys(path for one in runs for path in one.blocks)
    common = set(_common(runs))
    return [(path, tuple(one.blocks.get(path, "-") for one in runs)) for path in paths if path not in common]


def _common(runs: Sequence[Compared]) -> list[str]:
    return [path for path in runs[0].blocks if len({one.blocks.get(path) for one in runs}) == 1]


def _parameters(block: str) -> Sequence[Parameter | Choice]:
    """A block's parameters; none where it is of a package that is not here."""
    try:
        return registry.get(block).parameters
    except UserError:
        return ()


def _apart(parameter: Parameter | Choice | None, values: Sequence[Setting]) -> float:
    """How far the values are apart: 0 the same, 1 the whole range."""
    if isinstance(parameter, Parameter):
        numbers = [_numbers(value) for value in values]
        if any(not one for one in numbers):
            return 0.0
        if len({len(one) for one in numbers}) > 1:  # values a note, of tunes that differ: their means
            numbers = [[sum(one) / len(one)] for one in numbers]
        positions = parameter.to_unit(torch.tensor(numbers, dtype=torch.float64))
        return float((positions.max(dim=0).values - positions.min(dim=0).values).mean())
    if isinstance(parameter, Choice) and all(isinstance(value, str | list) for value in values):
        weights = torch.stack([parameter.check(value, parameter.name) for value in values]).double()
        return float((weights[:, None] - weights[None]).abs().sum(dim=-1).max() / 2)
    return float(any(value != values[0] for value in values))


def _numbers(value: Setting) -> list[float]:
    items = value if isinstance(value, list) else [value]
    return [float(item) for item in items if isinstance(item, int | float) and math.isfinite(item)]


def _in_words(parameter: Parameter | Choice | None, value: Setting) -> str:
    if isinstance(parameter, Choice) and isinstance(value, list):
        return parameter.show(value)
    if isinstance(parameter, Parameter) and (numbers := _numbers(value)):
        mean = parameter.show(sum(numbers) / len(numbers))
        return f"{mean} (mean over notes)" if isinstance(value, list) else mean
    return str(value)


def tell(runs: Sequence[Compared], say: Say) -> None:
    """Print the table, what differs in the configs, and the knobs that are furthest apart."""
    rows = [{"run": one.name, **figures(one)} for one in runs]
    heads = [head for head in rows[0] if any(row[head] for row in rows)]
    for line in _columns([heads, *([row[head] for head in heads] for row in rows)]):
        say(line)
    for key, values in configured(runs):
        say(f"config   {key}: {' | '.join(values)}")
    found = differences(runs)
    for difference in found[:TOLD]:
        say(f"knob     {difference.name}: {' | '.join(difference.values)}")
    if len(found) > TOLD:
        say(f"         and {len(found) - TOLD} more that differ")
    elsewhere = uncommon(runs)
    if elsewhere:
        say(f"blocks   {len(elsewhere)} places where the runs have different blocks; their knobs are not compared")


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
