"""The keys of conf/dream.yaml, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hitchain.budget import read_budget
from hitchain.errors import UserError
from hitchain.rater.dream.settings import REGULARISERS, DreamSettings

LONGEST = 60.0
"""[s] of a dream: the gradient of all of it is held at once."""
NOISE_RATE = 44_100


@dataclass(frozen=True)
class Plan:
    """What a dream is to be.

    Attributes:
        input: a sound file; None for white noise.
        start, seconds: which stretch of it.
        heldout: shown as it goes; None for none. judges: asked at both ends, `heldout` among them.
        budget: [s] of wall-clock; None for none.
        sample_rate: [Hz]; None for the input's own.
    """

    input: Path | None
    start: float
    seconds: float
    rater: str
    heldout: str | None
    judges: tuple[str, ...]
    settings: DreamSettings
    budget: float | None
    evaluate_every: int
    checkpoint_every: float
    sample_rate: int | None
    device: str

    @staticmethod
    def of(config: Mapping[str, Any]) -> Plan:
        """Raises `UserError` for a value that is out of range or of a wrong type, naming its key."""
        for key, low, high in (("start", 0.0, 86_400.0), ("seconds", 1.0, LONGEST), ("checkpoint_every", 0.0, 1e6)):
            if not low <= config[key] <= high:
                raise UserError(f"{key}={config[key]} should be from {low:g} to {high:g} s.")
        if config["evaluate_every"] < 1:
            raise UserError(f"evaluate_every={config['evaluate_every']} should be 1 or more.")
        budget = read_budget(config["budget"], "budget")
        steps = config["steps"] if budget.steps is None else budget.steps
        heldout = None if config["heldout"] is None else str(config["heldout"])
        return Plan(
            input=None if config["input"] is None else Path(str(config["input"])),
            start=float(config["start"]),
            seconds=float(config["seconds"]),
            rater=str(config["rater"]),
            heldout=heldout,
            judges=_judges(config, heldout),
            settings=DreamSettings(
                steps=steps, learning_rate=config["learning_rate"], seed=config["seed"], **_regularisers(config)
            ),
            budget=budget.seconds,
            evaluate_every=config["evaluate_every"],
            checkpoint_every=float(config["checkpoint_every"]),
            sample_rate=_sample_rate(config["sample_rate"]),
            device=str(config["device"]),
        )


def _regularisers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The regularisers that are switched on, each with its value."""
    if not isinstance(config["regularised"], bool):
        raise UserError(f"regularised={config['regularised']!r} should be true or false.")
    defaults = {field.name: field.default for field in dataclasses.fields(DreamSettings)}
    values = {}
    for name, usual in REGULARISERS.items():
        given = config["regularised"] if config[name] is None else config[name]
        values[name] = usual if given is True else defaults[name] if given is False else given
    return values


def _judges(config: Mapping[str, Any], heldout: str | None) -> tuple[str, ...]:
    """`heldout` first, then the others. Raises `UserError` where one of them is what is climbed."""
    from hitchain.rater.rater import judges

    given = judges() if config["judges"] is None else config["judges"]
    if not isinstance(given, list):
        raise UserError(f"judges={given!r} should be a list of raters, like [appeal/heldout,appeal/trees].")
    names = tuple(dict.fromkeys([*([heldout] if heldout else []), *(str(name) for name in given)]))
    if config["judges"] is None:
        names = tuple(name for name in names if name == heldout or name != str(config["rater"]))
    if str(config["rater"]) in names:
        raise UserError(f"rater={config['rater']} is among the judges too; a judge must never be climbed.")
    return names


def _sample_rate(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 8_000 <= value <= 192_000):
        raise UserError(f"sample_rate={value!r} should be a whole number from 8000 to 192000 Hz.")
    return value
