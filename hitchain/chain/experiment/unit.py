"""One start, climbed in every way: what every judge says of what came out, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain import rater
from hitchain.chain.chain import Window
from hitchain.chain.experiment.arms import ARMS, Climb, Task
from hitchain.chain.experiment.critic import critic_of
from hitchain.chain.experiment.judges import Panel
from hitchain.chain.experiment.measures import measures
from hitchain.chain.experiment.plan import Start, recording, song_of
from hitchain.chain.knobs import Knobs
from hitchain.files import write_wav
from hitchain.rater.features import features

NEAR_BOUND = 0.02


def run_unit(
    start: Start,
    climbed: Sequence[str],
    config: Mapping[str, Any],
    panel: Panel,
    arms: Sequence[str],
    sounds: Path | None,
) -> dict[str, Any]:
    """Every arm of one start on one set of climbed raters.

    Args:
        climbed: names of the raters whose mean is climbed.
        sounds: the folder for the sound files; None to keep none.

    Returns:
        {"start", "climbed", "arms": {arm: {"points": {"start", "0.1", ..., "final": point}, "steps", "seconds"}}}, a
        point being what `_point` gives.
    """
    rate, section = int(config["sample_rate"]), float(config["section"])
    song = song_of(start, rate)
    other = recording(start.other, start.other_at, section, rate) if start.other else None
    raters = [rater.load(name) for name in climbed]
    task = Task(
        song=song, window=Window(start.first, section), other=other, climbed=raters,
        goals=[float(goal) for goal in config["goals"]], seconds=float(config["seconds"]), seed=start.seed,
        critic=critic_of,
    )  # fmt: skip
    results = {}
    for name in arms:
        climb = ARMS[name](task)
        results[name] = _judged(task, climb, panel, start, section)
        if sounds is not None:
            _keep(sounds / start.name.replace(" ", "-") / name.replace(",", "").replace(" ", "-"), climb, rate)
    return {"start": start.as_dict(), "climbed": list(climbed), "arms": results}


def _judged(task: Task, climb: Climb, panel: Panel, start: Start, section: float) -> dict[str, Any]:
    points = {
        "start": climb.start,
        **{f"{goal:g}": audio for goal, audio in climb.gained.items()},
        "final": climb.final,
    }
    judged = {name: _point(task, audio, climb.start, panel) for name, audio in points.items()}
    if climb.knobs:
        _judge_elsewhere(task, climb, panel, judged, Window(start.second, section))
    return {"points": judged, "steps": climb.steps, "seconds": round(climb.seconds, 3)}


@torch.no_grad()
def _point(task: Task, audio: Tensor, start: Tensor, panel: Panel) -> dict[str, Any]:
    """One audio: what the climbed raters and every judge say, the measures, and the features."""
    rate = task.song.sample_rate
    vector = _features(audio, rate)
    return {
        "climbed": float(task.rate(audio, rate)),
        "judges": panel(audio, rate, vector),
        "measures": measures(audio, rate, start, vector),
        "features": [round(float(value), 5) for value in vector],
    }


_TAKEN: dict[bytes, NDArray[np.float64]] = {}


def _features(audio: Tensor, sample_rate: int) -> NDArray[np.float64]:
    """The features of (1, 2, samples); arms share their starts, so those taken lately are kept."""
    key = hashlib.sha256(audio.numpy().tobytes()).digest()
    if key not in _TAKEN:
        while len(_TAKEN) >= 16:
            _TAKEN.pop(next(iter(_TAKEN)))
        _TAKEN[key] = features(audio[0].numpy(), sample_rate)
    return _TAKEN[key]


@torch.no_grad()
def _judge_elsewhere(task: Task, climb: Climb, panel: Panel, judged: dict[str, Any], section: Window) -> None:
    """The same knobs on another section of the song, and how many of them stand at an end."""
    knobs = Knobs(task.song, task.song.learn)
    rate = task.song.sample_rate
    for name, z in climb.knobs.items():
        if name not in judged:
            continue
        audio = task.song(knobs.harden(knobs.apply(z, task.song.start)), section)
        vector = _features(audio, rate)
        judged[name]["elsewhere"] = {"climbed": float(task.rate(audio, rate)), **panel(audio, rate, vector)}
        place = knobs.positions(z)
        judged[name]["at bound"] = float((torch.minimum(place, 1.0 - place) < NEAR_BOUND).float().mean())


def _keep(folder: Path, climb: Climb, sample_rate: int) -> None:
    for name, audio in {
        "start": climb.start,
        **{f"{g:g}": a for g, a in climb.gained.items()},
        "final": climb.final,
    }.items():
        write_wav(folder / f"{name}.wav", audio[0].clamp(-1.0, 1.0), sample_rate, "PCM_16", "tpdf")
