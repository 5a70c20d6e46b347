"""What `hitchain render` and `hitchain optimize` do, given a checked config."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hitchain.budget import read_budget
from hitchain.chain import checkpoint, run
from hitchain.chain import config as configs
from hitchain.chain.ascent import Ascent, Climbed, Row, Schedule, State, split_settings
from hitchain.chain.build import build
from hitchain.chain.decision import choices_of, told_of_choices
from hitchain.chain.diversity import collapsed, diversity
from hitchain.chain.objective.config import objective_of
from hitchain.chain.outcome import Outcome, chosen, front_of, front_rows, judge_whole, terms_of, write_front
from hitchain.chain.result import levels, moved, told, unmet, warnings
from hitchain.errors import UserError
from hitchain.files import read_audio, read_json, write_text, write_wav
from hitchain.interrupts import interruptible
from hitchain.progress import Progress

Say = Callable[[str], None]


def render(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Write every stem of a song, its mix and its master. Returns what stands in result.json."""
    began = time.monotonic()
    kind = run.checked_format(config)
    folder = Path(config["out"])
    song = build(config)
    run.check_space(folder, song)
    run.begin(folder, {"command": "render", **config})
    master = run.write_audio(folder, song, song.start, kind)
    result = {
        "command": "render",
        "song": song.name,
        "tracks": list(song.tracks),
        "seed": config["seed"],
        "sample_rate": song.sample_rate,
        "length": song.length,
        "seconds": round(time.monotonic() - began, 3),
        **levels({"master": master[0]}, song.sample_rate),
    }
    run.write_result(folder, result)
    _report(folder, say)
    say(f"stems    {folder / 'stems'}")
    say(f"mix      {folder / 'mix.wav'}")
    say(f"master   {folder / 'master.wav'}  ({result['loudness']:.1f} LUFS, {result['true_peak']:.1f} dBTP)")
    return result


def optimize(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Climb a rating through the knobs of a song, and render the best. Returns what stands in result.json."""
    if config.get("resume"):
        return _resume(Path(config["resume"]), say)
    folder = Path(config["out"])
    return _climb(folder, dict(config), None, say, begin=True)


def _resume(folder: Path, say: Say) -> dict[str, Any]:
    """Go on with the climb in a run folder, by its own config."""
    if not (folder / "config.yaml").is_file():
        raise UserError(f"resume={folder} is not a run folder: it has no config.yaml.")
    kept = configs.read(folder / "config.yaml")
    if kept.get("command") != "optimize":
        raise UserError(f"resume={folder} is a run of '{kept.get('command')}'; only a climb (optimize) can be resumed.")
    if (folder / "result.json").is_file() and not (folder / "report.html").is_file():
        say(f"report   {_report(folder, say)}")  # killed after all but the report was written
        return dict(read_json(folder / "result.json", "result"))
    if (folder / "result.json").is_file():
        raise UserError(f"resume={folder} has finished already; its result is in {folder / 'result.json'}.")
    return _climb(folder, kept, checkpoint.load(folder), say, begin=False)


def _climb(folder: Path, config: dict[str, Any], state: State | None, say: Say, begin: bool) -> dict[str, Any]:
    kind = run.checked_format(config)
    song = build(config)
    objective = objective_of(config)
    learn = config["learn"] if config.get("learn") is not None else song.learn
    name, schedule, settings = optimizer_of(config)
    ascent = Ascent(song, objective, patterns(learn), schedule, config["seed"], state, name, settings)
    run.check_space(folder, song)
    if begin:
        run.begin(folder, {"command": "optimize", **config})
    say(f"climbing {len(ascent.knobs)} knobs of '{song.name}', {ascent.schedule.batch} candidates; {folder}")
    before = _before(folder, ascent)
    with interruptible() as interrupted:
        _ascend(ascent, folder, before, float(config["optimizer"]["checkpoint_every"]), interrupted)
    climbed = ascent.result()
    after, front = _after(folder, ascent, climbed, before)
    master = run.write_audio(folder, song, after.patch, kind)
    wishes = terms_of(ascent, before, after)
    spread = diversity(climbed.history)
    result = {
        "command": "optimize",
        "song": song.name,
        "tracks": list(song.tracks),
        "seed": config["seed"],
        "sample_rate": song.sample_rate,
        "length": song.length,
        "seconds": round(ascent.state.seconds, 3),
        "steps": ascent.state.step,
        "stopped": climbed.stopped,
        "learned": len(ascent.knobs),
        "rating_before": before.rating,
        "rating_after": after.rating,
        "heldout_before": before.heldout,
        "heldout_after": after.heldout,
        **wishes,
        **({"front": front} if front else {}),
        **choices_of(ascent, climbed, before, after),
        "knobs": moved(climbed.knobs, song.start, after.patch),
        "diversity": spread,
        "warnings": [*warnings(before, after, climbed), *collapsed(spread), *unmet(wishes["constraints"], front)],
        **levels({"before": read_audio(folder / "before.wav")[0], "master": master[0]}, song.sample_rate),
    }
    run.write_result(folder, result)
    report = _report(folder, say)
    say(f"rating   {before.rating:.3f} -> {after.rating:.3f}   ({climbed.stopped}, {ascent.state.step} steps)")
    if before.heldout is not None and after.heldout is not None:
        say(f"held out {before.heldout:.3f} -> {after.heldout:.3f}   (a rater that was not climbed)")
    for line in (*told_of_choices(result), *told(result)):
        say(line)
    for warning in result["warnings"]:
        say(f"warning  {warning}")
    say(f"master   {folder / 'master.wav'}")
    if report is not None:
        say(f"report   {report}")
    return result


def _ascend(ascent: Ascent, folder: Path, before: Outcome, every: float, interrupted: Callable[[], bool]) -> None:
    """Step until the climb stops, writing history and checkpoints as it goes."""
    _write_history(folder, ascent.state.history)
    heldout = next((row["heldout"] for row in reversed(ascent.state.history) if "heldout" in row), before.heldout)
    saved = time.monotonic()
    with Progress(ascent.schedule.steps, "climb", initial=ascent.state.step) as progress:
        while not ascent.finished:
            row = ascent.advance()
            with (folder / "history.jsonl").open("a", encoding="utf-8") as history:
                history.write(json.dumps(row) + "\n")
            heldout = row.get("heldout", heldout)
            shown = {"rating": row.get("rating", before.rating), "best": ascent.state.best_rating}
            shown |= {} if heldout is None else {"held_out": heldout}
            progress.update(ascent.state.step, **shown)
            if interrupted() and not ascent.finished:
                ascent.state.stopped = "interrupted"
            if ascent.finished or time.monotonic() - saved >= every:
                checkpoint.save(folder, ascent.state)
                saved = time.monotonic()


def _write_history(folder: Path, history: Sequence[Row]) -> None:
    """The history up to the checkpoint: rows that a killed run wrote after it will be computed again."""
    write_text(folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in history))


@torch.no_grad()
def _before(folder: Path, ascent: Ascent) -> Outcome:
    """Render and judge the starting patch."""
    song = ascent.song
    master = song(song.start)
    write_wav(folder / "before.wav", master[0], song.sample_rate)
    return judge_whole(ascent, song.start, master)


def _after(
    folder: Path, ascent: Ascent, climbed: Climbed, before: Outcome
) -> tuple[Outcome, Sequence[Mapping[str, Any]]]:
    """The climbed patch, or the starting one if on the whole song it is worth no more; and the rows of a front."""
    if climbed.front is None:
        after = judge_whole(ascent, climbed.patch)
        return (after if after.worth > before.worth else before), []
    outcomes = front_of(ascent, climbed.front)
    rows = front_rows(ascent, outcomes)
    write_front(folder, ascent, outcomes, rows)
    return chosen(outcomes, rows), rows


def optimizer_of(config: Mapping[str, Any]) -> tuple[str, Schedule, Any]:
    """The name of the optimizer that a config describes, the schedule, and the optimizer's own settings."""
    section = {key: value for key, value in config["optimizer"].items() if key not in ("name", "checkpoint_every")}
    budget = read_budget(section["budget"], "optimizer.budget")
    section |= {"budget": budget.seconds} if budget.steps is None else {"budget": None, "steps": budget.steps}
    name = str(config["optimizer"]["name"])
    return name, *split_settings(name, section)


def patterns(learn: Any) -> list[str]:
    """`learn` as a list of patterns. Raises `UserError` where it is something else."""
    items = [learn] if isinstance(learn, str) else learn
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise UserError(f"learn={learn!r} should be a list of patterns, for example learn=[mastering.*,lead.amp.*].")
    return list(items)


def _report(folder: Path, say: Say) -> Path | None:
    """The report; a run whose audio is safe is not failed by its picture."""
    from hitchain.chain.report import write_report

    try:
        return write_report(folder)
    except (OSError, ValueError, UserError) as error:
        say(f"warning  report.html could not be written: {error}")
        return None
