"""`hitchain experiment claim`: every arm of every start, in processes beside each other, to be gone on with."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hitchain.chain import config as configs
from hitchain.errors import UserError, nearest
from hitchain.files import read_json, write_json, write_text
from hitchain.progress import Progress

QUICK = {"starts_per_song": 1, "seconds": 3.0}
"""What the quick form changes: a few minutes instead of hours."""
Say = Callable[[str], None]


def experiment(words: Sequence[str]) -> None:
    """`hitchain experiment claim key=value ...`."""
    if not words or words[0] != "claim":
        given = words[0] if words else ""
        hint = nearest(given, ["claim"]) if given else "there is one: claim."
        raise UserError(f"unknown experiment '{given}'; {hint}")
    config = configs.compose("claim", list(words[1:]))
    if not config.get("out"):
        config["out"] = "runs/claim"
    told = [word for word in words[1:] if not word.startswith("conclude=")]
    claim(config, " ".join(["hitchain experiment claim", *told]))


def claim(config: Mapping[str, Any], command: str = "hitchain experiment claim", say: Say = print) -> dict[str, Any]:
    """Run the experiment, or go on with it: claim.json, claim.md, report.html. Returns what claim.json holds."""
    from hitchain.chain.experiment.judges import check_panel
    from hitchain.chain.experiment.plan import draw_starts

    config = {**config, **(QUICK if config["quick"] else {})}
    targets = [[str(name) for name in target] for target in config["targets"]]
    for target in targets:
        check_panel(target, config["judges"])
    folder = Path(config["out"])
    _begin(folder, config)
    starts = draw_starts(config)
    songs = len({start.song for start in starts})
    say(f"{len(starts)} starts of {songs} songs, {len(targets)} sets of raters; {folder}")
    ordered = sorted(targets, key=len, reverse=True)  # whoever stops early has the larger ensembles whole
    jobs = [
        (start, target, number < int(config["sounds"]))
        for target in ordered
        for number, start in enumerate(_spread(starts))
    ]
    missing = [job for job in jobs if _arms_missing(_unit_path(folder, job[0].name, job[1]), config["arms"])]
    if not config["conclude"]:
        with Progress(len(jobs), "experiment", initial=len(jobs) - len(missing), unit="start") as progress:
            _run(missing, config, folder, lambda done: progress.update(len(jobs) - len(missing) + done))
    paths = [_unit_path(folder, start.name, target) for start, target, _ in jobs]
    units = [read_json(path, "result of a start") for path in paths if path.is_file()]
    if not units:
        raise UserError(f"out={folder} holds no finished start yet: there is nothing to conclude from.")
    result = _conclude(folder, config, command, units, targets)
    say(f"claim    {folder / 'claim.json'}")
    say(f"tables   {folder / 'claim.md'}")
    say(f"report   {folder / 'report.html'}")
    for target in result["targets"]:
        _say_target(target, say)
    return result


def _say_target(target: Mapping[str, Any], say: Say) -> None:
    from hitchain.chain.experiment.page import interval

    say(f"climbing {' + '.join(target['climbed'])}: transfer to judges never climbed, when the time was up")
    for arm, row in target["transfer"].items():
        say(f"  {arm:32} {interval(row['judges'])}")


def _spread(starts: Sequence[Any]) -> list[Any]:
    """The first start of every song, then the second ..., kinds in turn: who stops early has heard of everything."""
    songs = list(dict.fromkeys(start.song for start in starts))
    kind_of = {start.song: start.kind for start in starts}
    place = {song: [other for other in songs if kind_of[other] == kind_of[song]].index(song) for song in songs}
    seen: dict[str, int] = {}
    order = []
    for start in starts:
        order.append(((seen.get(start.song, 0), place[start.song]), start))
        seen[start.song] = seen.get(start.song, 0) + 1
    return [start for _, start in sorted(order, key=lambda pair: pair[0])]


def _begin(folder: Path, config: Mapping[str, Any]) -> None:
    """Keep the config; refuse a folder that holds another experiment. Other raters may be climbed from its starts."""
    kept = folder / "config.yaml"
    own = {key: value for key, value in config.items() if key not in ("workers", "out", "targets", "arms", "conclude")}
    if kept.is_file():
        there = configs.read(kept)
        differing = sorted(key for key in own if there.get(key) != own[key])
        if differing:
            raise UserError(
                f"out={folder} holds an experiment with another {differing[0]} ({there.get(differing[0])!r}); "
                "choose another out=FOLDER, or repeat its settings to go on with it."
            )
    write_text(kept, configs.dump({**config, "out": str(folder)}))


def _unit_path(folder: Path, start: str, climbed: Sequence[str]) -> Path:
    raters = "+".join(name.replace("/", "-") for name in climbed)
    return folder / "units" / f"{start.replace(' ', '-')}--{raters}.json"


def _arms_missing(path: Path, arms: Sequence[str]) -> list[str]:
    """The arms that a start was not climbed by yet."""
    known = read_json(path, "result of a start")["arms"] if path.is_file() else {}
    return [str(arm) for arm in arms if arm not in known]


def _run(jobs: Sequence[Any], config: Mapping[str, Any], folder: Path, told: Callable[[int], None]) -> None:
    """Every job in a process of its own thread; what is finished is on disk at once."""
    if not jobs:
        return
    # Arms are compared at equal time on the processor: each process must have one core and use one thread.
    for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[key] = "1"
    workers = max(1, min(int(config["workers"]), len(jobs)))
    with ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (dict(config),)) as pool:
        waiting: set[Future[None]] = {
            pool.submit(_work, start, target, keep, str(folder)) for start, target, keep in jobs
        }
        done = 0
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    done += 1
                    told(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # a mistake in one start is told at once, not after all the others
            raise


_SHARED: dict[str, Any] = {}


def _leave_with(parent: int) -> None:
    """End this process where the one that started it is gone: killed, it can no longer tell us to."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _prepare(config: dict[str, Any]) -> None:
    """What a worker does once: one thread, and the judges."""
    import torch

    from hitchain.chain.experiment.judges import Panel

    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(1)
    _SHARED.update(config=config, panel=Panel({str(judge): str(name) for judge, name in config["judges"].items()}))


def _work(start: Any, target: Sequence[str], keep: bool, folder: str) -> None:
    from hitchain.chain.experiment.unit import run_unit

    config, panel = _SHARED["config"], _SHARED["panel"]
    sounds = Path(folder) / "sounds" if keep and len(target) == len(config["targets"][-1]) else None
    path = _unit_path(Path(folder), start.name, target)
    result = run_unit(start, target, config, panel, _arms_missing(path, config["arms"]), sounds)
    if path.is_file():
        kept = read_json(path, "result of a start")
        result["arms"] = {**kept["arms"], **result["arms"]}
    write_json(path, result)


def _conclude(
    folder: Path,
    config: Mapping[str, Any],
    command: str,
    units: Sequence[Mapping[str, Any]],
    targets: Sequence[Sequence[str]],
) -> dict[str, Any]:
    from hitchain.chain.experiment.analysis import analyse, distances, judge_by_real_music, measured, of_target
    from hitchain.chain.experiment.judges import real_music
    from hitchain.chain.experiment.page import html, markdown

    arms, goals = list(config["arms"]), [float(goal) for goal in config["goals"]]
    real = real_music(config["recordings"], int(config["sample_rate"]))
    if real is not None:
        judge_by_real_music(units, real)
    first = next(iter(units[0]["arms"].values()))
    panel = list(first["points"]["start"]["judges"])
    songs = {unit["start"]["song"]: unit["start"]["kind"] for unit in units}
    names = {unit["start"]["name"]: unit["start"]["kind"] for unit in units}
    result: dict[str, Any] = {
        "command": command,
        "starts": len(names),
        "songs": len(songs),
        "kinds": {kind: list(names.values()).count(kind) for kind in sorted(set(names.values()))},
        "song_names": {
            kind: sorted(song for song, own in songs.items() if own == kind) for kind in sorted(set(songs.values()))
        },
        "seconds": float(config["seconds"]),
        "section": float(config["section"]),
        "sample_rate": int(config["sample_rate"]),
        "seed": config["seed"],
        "judges": {
            **config["judges"],
            **({"real music": "features, no faults known"} if "real music" in panel else {}),
        },
        "panel": panel,
        "targets": [],
    }
    for target in (target for target in targets if of_target(units, target)):
        own = of_target(units, target)
        result["targets"].append(
            {"climbed": list(target), "starts": len(own), **analyse(own, arms, goals, panel),
             "measures": measured(own, arms),
             "distances": distances(own, arms, None if real is None else real.vectors)}
        )  # fmt: skip
    largest = max(result["targets"], key=lambda entry: len(entry["climbed"]))
    result["transfer"] = {arm: row["judges"] for arm, row in largest["transfer"].items()}
    json.dumps(result, allow_nan=False)
    write_json(folder / "claim.json", result)
    write_text(folder / "claim.md", markdown(result))
    write_text(folder / "report.html", html(result, folder / "sounds"))
    return result
