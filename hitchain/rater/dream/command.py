"""What `hitchain dream` does: gradient ascent on a waveform, with judges that were never climbed looking on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitchain.devices import usable_device
from hitchain.errors import UserError
from hitchain.files import read_audio, write_json, write_text, write_wav
from hitchain.interrupts import interruptible
from hitchain.progress import Progress
from hitchain.rater.dream import checkpoint
from hitchain.rater.dream.config import NOISE_RATE, Plan
from hitchain.rater.dream.dream import NOT_FINITE, Dream, noise
from hitchain.rater.rater import SHORTEST_SECONDS, Rater, load

Say = Callable[[str], None]

COUNTER_EXAMPLE = (
    "this is a counter-example: the waveform itself was climbed, so the gain says what pleases this rater, not what "
    "would please a listener"
)


def dream(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Dream, or go on with a dream that was stopped. Returns what stands in result.json.

    Raises:
        UserError: the input is missing or too short, a rater unknown or without gradients, a value out of range, or
            the run folder taken.
    """
    if config.get("resume"):
        folder = Path(str(config["resume"]))
        return _dream(folder, Plan.of(_kept(folder)), say)
    import yaml

    plan, folder = Plan.of(config), Path(config["out"])
    if (folder / "config.yaml").exists():
        raise UserError(
            f"out={folder} already holds a run. Go on with it by resume={folder}, or choose another folder."
        )
    start, sample_rate = _start(plan)
    load(plan.rater)
    write_wav(folder / "before.wav", start[0], sample_rate)
    write_text(folder / "config.yaml", yaml.safe_dump({"command": "dream", **config}, sort_keys=False))
    return _dream(folder, plan, say)


def _kept(folder: Path) -> dict[str, Any]:
    """The config of the dream in a folder. Raises `UserError` where there is none, or it has finished."""
    import yaml

    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read config {path}: {error}") from error
    if not isinstance(config, dict) or config.get("command") != "dream":
        raise UserError(f"resume={folder} is not the folder of a dream.")
    if (folder / "result.json").is_file():
        raise UserError(f"resume={folder} has finished already; its result is in {folder / 'result.json'}.")
    return config


def _start(plan: Plan) -> tuple[Tensor, int]:
    """What the dream begins from: (1, channels, samples), and its sample rate."""
    least = _least(plan)
    if plan.seconds < least:
        raise UserError(f"seconds={plan.seconds:g} should be {least:.2f} or more with shift_semitones on.")
    if plan.input is None:
        sample_rate = plan.sample_rate or NOISE_RATE
        return noise(1, plan.seconds, sample_rate, plan.settings.seed), sample_rate
    audio, sample_rate = read_audio(plan.input, plan.sample_rate)
    first = round(plan.start * sample_rate)
    heard = audio[:, first : first + round(plan.seconds * sample_rate)]
    if heard.shape[-1] < least * sample_rate:
        length = audio.shape[-1] / sample_rate
        raise UserError(
            f"input={plan.input} lasts {length:.2f} s; from start={plan.start:g} there should be {least:.2f} s or more."
        )
    return heard[None], sample_rate


def _least(plan: Plan) -> float:
    """The shortest dream [s]: what is played faster is shorter, and must still be long enough to rate."""
    semitones = plan.settings.shift_semitones
    return SHORTEST_SECONDS * 2.0 ** (semitones / 12.0) + 0.01 if semitones else SHORTEST_SECONDS


@dataclass
class _Session:
    """A dream, its judges, and what is told of it."""

    folder: Path
    plan: Plan
    dream: Dream
    heldout: Rater | None
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""

    def save(self) -> None:
        told = {"history": self.history, "seconds": self.seconds}
        checkpoint.save(self.folder, {"start": self.dream.start, **self.dream.state()}, told)


def _dream(folder: Path, plan: Plan, say: Say) -> dict[str, Any]:
    device = usable_device(plan.device)
    rater = load(plan.rater).to(device)
    judges = {name: load(name).to(device) for name in plan.judges}
    kept = checkpoint.load(folder)
    before, sample_rate = read_audio(folder / "before.wav")
    start = before[None] if kept is None else kept[0]["start"]
    session = _Session(
        folder, plan, Dream(rater, start.to(device), sample_rate, plan.settings), judges.get(plan.heldout or "")
    )
    if kept is not None:
        session.dream.restore(kept[0])
        session.history, session.seconds = list(kept[1]["history"]), float(kept[1]["seconds"])
    begun = plan.input.name if plan.input else "white noise"
    say(f"dreaming of {plan.rater} from {begun}, {start.shape[-1] / sample_rate:.1f} s; {folder}")
    with interruptible() as interrupted:
        _ascend(session, interrupted)
    audio = session.dream.audio()
    write_wav(folder / "dream.wav", audio[0].cpu(), sample_rate)
    result = _result(session, rater, judges, audio)
    write_json(folder / "result.json", result)
    _report(folder, result, session.history, say)
    _tell(result, folder, say)
    return result


def _ascend(session: _Session, interrupted: Callable[[], bool]) -> None:
    """Step until the dream ends, writing history and checkpoints as it goes."""
    going, plan = session.dream, session.plan
    path = session.folder / "history.jsonl"
    # Rows that a killed run wrote after its checkpoint will be computed again.
    write_text(path, "".join(json.dumps(row) + "\n" for row in session.history))
    began = saved = time.monotonic()
    earlier = session.seconds
    shown: dict[str, float] = {}
    with Progress(plan.settings.steps, "dream", initial=going.step) as progress:
        while not session.stopped:
            row = _step(session)
            session.seconds = earlier + time.monotonic() - began
            session.stopped = session.stopped or _end(session, interrupted)
            row["seconds"] = round(session.seconds, 3)
            session.history.append(row)
            with path.open("a", encoding="utf-8") as history:
                history.write(json.dumps(row) + "\n")
            shown = {**shown, **{key: row[key] for key in ("rating", "heldout") if row.get(key) is not None}}
            progress.update(going.step, **shown)
            if session.stopped or time.monotonic() - saved >= plan.checkpoint_every:
                session.save()
                saved = time.monotonic()


def _step(session: _Session) -> dict[str, Any]:
    """A step, and its row: the rating before it, and now and then the held-out one."""
    going, plan = session.dream, session.plan
    row: dict[str, Any] = {"step": going.step}
    if session.heldout is not None and going.step % plan.evaluate_every == 0:
        with torch.no_grad():
            row["heldout"] = _number(session.heldout(going.audio(), going.sample_rate))
    if going.step >= plan.settings.steps:
        session.stopped = "all steps taken"
        with torch.no_grad():
            return {**row, "rating": _number(going.judge(going.audio(), going.sample_rate))}
    rating = going.advance()
    if not going.finite:
        session.stopped = NOT_FINITE
    return {**row, "rating": _number(rating)}


def _number(rating: Tensor) -> float | None:
    """The rating of a batch of one; None where it is not finite, which JSON cannot say."""
    value = float(rating[0])
    return value if math.isfinite(value) else None


def _end(session: _Session, interrupted: Callable[[], bool]) -> str:
    budget = session.plan.budget
    if interrupted():
        return "interrupted"
    return "budget spent" if budget is not None and session.seconds >= budget else ""


def _result(session: _Session, rater: Rater, judges: Mapping[str, Rater], audio: Tensor) -> dict[str, Any]:
    """What stands in result.json."""
    plan, going = session.plan, session.dream
    start, sample_rate = going.start, going.sample_rate
    before, after = (float(rater.rate(sound, sample_rate).mean()) for sound in (start, audio))
    asked = {
        name: {
            when: float(judge.rate(sound, sample_rate).mean()) for when, sound in (("before", start), ("after", audio))
        }
        for name, judge in judges.items()
    }
    shown = asked.get(plan.heldout or "", {"before": None, "after": None})
    gains = [said["after"] - said["before"] for said in asked.values()]
    gain = after - before
    transfer = sum(gains) / len(gains) / gain if gains and gain > 0 else None
    return {
        "command": "dream",
        "input": None if plan.input is None else str(plan.input),
        "rater": plan.rater,
        "seed": plan.settings.seed,
        "sample_rate": sample_rate,
        "length": start.shape[-1] / sample_rate,
        "seconds": round(session.seconds, 3),
        "steps": going.step,
        "stopped": session.stopped,
        "rating_before": before,
        "rating_after": after,
        "heldout_before": shown["before"],
        "heldout_after": shown["after"],
        "judges": asked,
        "transfer": transfer,
        "changed": _changed(audio, start),
        "regularisers": {name: getattr(plan.settings, name) for name in plan.settings.regularised},
        "warnings": _warnings(gain, transfer),
    }


def _changed(audio: Tensor, start: Tensor) -> float:
    """Level of what was added, under the level of what it began from [dB]."""
    difference, whole = ((one.double().square().sum() + 1e-20) for one in (audio - start, start))
    return float(10.0 * torch.log10(difference / whole))


def _warnings(gain: float, transfer: float | None) -> list[str]:
    said = [COUNTER_EXAMPLE]
    if gain <= 0:
        said.append("the rating did not rise")
    elif transfer is not None and transfer < 0.25:
        said.append(
            f"the gain does not transfer: judges that were never climbed rose by {100 * max(transfer, 0.0):.0f} % of it"
        )
    return said


def _report(folder: Path, result: Mapping[str, Any], history: list[dict[str, Any]], say: Say) -> None:
    """The page; a dream whose audio is safe is not failed by its picture."""
    from hitchain.rater.dream.report import write_report

    try:
        write_report(folder, result, history)
    except (OSError, ValueError, UserError) as error:
        say(f"warning  report.html could not be written: {error}")


def _tell(result: Mapping[str, Any], folder: Path, say: Say) -> None:
    on = ", ".join(result["regularisers"]) or "none"
    ended = f"{result['stopped']}, {result['steps']} steps; regularisers: {on}"
    say(f"rating   {result['rating_before']:.3f} -> {result['rating_after']:.3f}   ({ended})")
    for name, said in result["judges"].items():
        say(f"judge    {said['before']:.3f} -> {said['after']:.3f}   {name}, never climbed")
    if result["transfer"] is not None:
        say(f"transfer {result['transfer']:.2f} of the gain, mean of the judges")
    say(f"changed  {result['changed']:.1f} dB against what it began from")
    for warning in result["warnings"]:
        say(f"warning  {warning}")
    say(f"dream    {folder / 'dream.wav'}")
    say(f"report   {folder / 'report.html'}")
