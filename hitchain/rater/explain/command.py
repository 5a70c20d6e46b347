"""What `hitchain explain` does: attributions, changes that were tried, and a page with both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.files import read_audio, replacing, write_json, write_text
from hitchain.progress import Progress

Say = Callable[[str], None]
SHORTEST_SECONDS = 2.0
"""A tempo change must leave what a rater can hear, and a moment must be shorter than the song."""


@dataclass(frozen=True)
class ExplainSettings:
    """The keys of conf/explain.yaml, checked."""

    input: Path
    rater: str
    baseline: str
    window_seconds: float
    moment_seconds: float
    top: int
    counterfactuals: bool
    device: str
    seed: int
    out: Path

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ExplainSettings:
        """Raises `UserError` for a missing input or a value out of range."""
        from hitchain.rater.explain.attribution import BASELINES

        if not config.get("input"):
            raise UserError("explain needs a recording: give input=song.wav.")
        if config["baseline"] not in BASELINES:
            raise UserError(f"baseline={config['baseline']!r}: {nearest(str(config['baseline']), BASELINES)}")
        for key, low, high in (("window_seconds", 2.0, 600.0), ("moment_seconds", 0.2, 60.0), ("top", 1, 50)):
            if not low <= config[key] <= high:
                raise UserError(f"{key}={config[key]} should be from {low:g} to {high:g}.")
        values = {key: config[key] for key in cls.__dataclass_fields__}
        return cls(
            **{**values, "input": Path(str(config["input"])), "rater": str(config["rater"]), "out": Path(config["out"])}
        )


def explain(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Explain the rating of one recording. Returns what stands in result.json.

    Raises:
        UserError: the recording is missing, unreadable or under two seconds; the rater is unknown; the run folder is
            taken; a value is out of range.
    """
    import yaml

    from hitchain.devices import usable_device
    from hitchain.rater.explain.report import write_report
    from hitchain.rater.rater import load

    began = time.monotonic()
    settings = ExplainSettings.of(config)
    device = usable_device(settings.device)
    rater = load(settings.rater).to(device)
    audio, sample_rate = read_audio(settings.input)
    seconds = audio.shape[-1] / sample_rate
    if seconds < SHORTEST_SECONDS:
        raise UserError(f"{settings.input} lasts {seconds:.2f} s; explaining needs {SHORTEST_SECONDS:g} s or more.")
    if (settings.out / "config.yaml").exists():
        raise UserError(f"out={settings.out} already holds a run; choose another folder with out=FOLDER.")
    write_text(settings.out / "config.yaml", yaml.safe_dump({"command": "explain", **config}, sort_keys=False))
    found = _attributed(rater, audio, sample_rate, settings)
    tried = _tried(rater, audio, sample_rate, settings) if settings.counterfactuals else None
    result = {
        "command": "explain",
        "input": str(settings.input),
        "rater": settings.rater,
        "seed": settings.seed,
        "length": seconds,
        "sample_rate": sample_rate,
        **found.result,
        "noise_floor": tried.floor if tried else None,
        "counterfactuals": tried.rows if tried else None,
        "seconds": round(time.monotonic() - began, 3),
    }
    write_json(settings.out / "result.json", result)
    write_report(settings.out, result, found.attribution, found.frequencies, audio, sample_rate)
    _tell(result, settings, say)
    return result


@dataclass(frozen=True)
class _Found:
    result: dict[str, Any]
    attribution: Any
    frequencies: Any


def _attributed(rater: Any, audio: Any, sample_rate: int, settings: ExplainSettings) -> _Found:
    """The attributions and what result.json says of them; nothing for a rater without gradients."""
    import numpy as np

    from hitchain.rater.explain import summary
    from hitchain.rater.explain.attribution import attribute
    from hitchain.rater.frontend import mel_centres
    from hitchain.rater.rater import window_edges

    if not len(rater.networks):
        rating = rater.rate(audio[None], sample_rate, settings.window_seconds)[0]
        result = {**_rated(rater, rating), "attribution": None, "bands": None, "moments": None}
        return _Found(result, None, None)
    windows = len(window_edges(audio.shape[-1], sample_rate, settings.window_seconds)) - 1
    with Progress(windows, "attributing", unit="window") as progress:
        found = attribute(
            rater, audio.to(rater.device), sample_rate, settings.baseline, settings.window_seconds, progress.update
        )
    frequencies = mel_centres(rater.front_end.settings).numpy()
    with replacing(settings.out / "attribution.npy") as temporary:
        np.save(temporary, found.values.mean(axis=0), allow_pickle=False)
    result = {
        **_rated(rater, found.rating),
        "attribution": {
            "baseline": settings.baseline,
            "baseline_rating": float(found.reference.mean()),
            "difference": found.difference,
            "attributed": found.attributed,
            "completeness_error": found.completeness_error,
            "points": found.points,
        },
        "bands": summary.bands(found, frequencies),
        "moments": summary.moments(found, settings.moment_seconds, settings.top),
    }
    return _Found(result, found, frequencies)


def _rated(rater: Any, ratings: Any) -> dict[str, Any]:
    members = {name: float(rating) for name, rating in zip(rater.names, ratings, strict=True)}
    return {"rating": sum(members.values()) / len(members), "members": members}


def _tried(rater: Any, audio: Any, sample_rate: int, settings: ExplainSettings) -> Any:
    from hitchain.rater.explain.counterfactual import counterfactuals
    from hitchain.rater.explain.edits import edits, neutral

    total = len(edits(audio, sample_rate)) + len(neutral())
    with Progress(total, "trying changes", unit="change") as progress:
        return counterfactuals(
            lambda changed: rater.rate(changed[None].to(rater.device), sample_rate, settings.window_seconds)[0].cpu(),
            audio,
            sample_rate,
            lambda done, name: progress.update(done),
        )


def _tell(result: Mapping[str, Any], settings: ExplainSettings, say: Say) -> None:
    say(f"rating   {result['rating']:.3f}  {settings.input}")
    about = result["attribution"]
    if about is None:
        say("moments  none: this rater has no gradient; only the changes below were tried")
    else:
        words = {"mean": "its own mean spectrum", "silence": "silence"}[settings.baseline]
        error = 100.0 * about["completeness_error"]
        say(f"against  {words}: {about['difference']:+.3f}, attributed to within {error:.2f} %")
        for name, rows in result["moments"].items():
            told = "  ".join(f"{row['start']:.1f}-{row['end']:.1f} s {row['change']:+.3f}" for row in rows[:3])
            say(f"{name:8} {told or 'nothing'}")
    if result["counterfactuals"] is not None:
        clear = [row for row in result["counterfactuals"] if row["clear"] and row["kind"] != "control"]
        tried = f"{len(result['counterfactuals'])} changes, {len(clear)} clearly move it"
        say(f"tried    {tried} (noise floor {result['noise_floor']:.3f})")
        for row in clear[:6]:
            say(f"         {row['change']:+.3f}  {row['name']}")
    say(f"report   {settings.out / 'report.html'}")
