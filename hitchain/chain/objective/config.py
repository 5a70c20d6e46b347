"""The objective that a config describes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from hitchain import rater
from hitchain.chain.objective.constraint import Constraint
from hitchain.chain.objective.judge import Judge
from hitchain.chain.objective.objective import Objective, Weighted
from hitchain.chain.objective.rating import Rating
from hitchain.chain.objective.robustness import Robustness
from hitchain.chain.objective.term import Term, find
from hitchain.chain.optimizers.settings import read_settings
from hitchain.errors import UserError, nearest

BOUNDS = ("weight", "at_least", "at_most")
"""What every term takes beside the options of its own."""


def objective_of(config: Mapping[str, Any]) -> Objective:
    """The objective of a composed config, its raters on the config's device.

    `objective.rater`, one or a list, is climbed; `objective.heldout` never is. Each entry of `objective.terms` is
    weighted by its `weight`, or kept between `at_least` and `at_most`, or both.

    Raises:
        UserError: a rater or term is unknown, or a value is out of range. The message names the key.
    """
    section = config["objective"]
    names = section["rater"] if isinstance(section["rater"], list) else [section["rater"]]
    if not names:
        raise UserError("objective.rater is empty; name a rater to climb, for example appeal.")
    device = str(config["device"])
    members: list[Judge] = [rater.load(str(name)).to(device) for name in names]
    heldout = None if section["heldout"] is None else rater.load(str(section["heldout"])).to(device)
    rating = Rating(members, str(section["ensemble"]), section["confidence"], _robustness(section["robustness"]))
    weighted: dict[str, Weighted] = {}
    constraints: dict[str, Constraint] = {}
    for name, entry in (section["terms"] or {}).items():
        where = f"objective.terms.{name}"
        term, given = make_term(str(name), entry, where)
        if "weight" in given:
            weighted[str(name)] = Weighted(term, given["weight"])
        bounds = {key: given[key] for key in ("at_least", "at_most") if key in given}
        if bounds:
            constraints[f"{name} bound" if name in weighted else str(name)] = Constraint(term, **bounds)
    neutral, bounds_weight = (_number(section[key], f"objective.{key}", 0.0) for key in ("neutral", "bounds"))
    return Objective(rating, heldout, neutral, bounds_weight, weighted, constraints)


def make_term(name: str, entry: Any, where: str) -> tuple[Term, dict[str, float]]:
    """A term from its config entry, and the weight and bounds that stand there."""
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}={entry!r} should be keys: a weight or bounds, like {{weight: 0.1}}.")
    kind = find(str(entry.get("term", name)))
    own = [key for key in inspect.signature(kind.__init__).parameters if key not in ("self", "args", "kwargs")]
    given: dict[str, float] = {}
    options: dict[str, Any] = {}
    for key, value in entry.items():
        if key in BOUNDS:
            if value is not None:
                given[str(key)] = _number(value, f"{where}.{key}", -math.inf)
        elif key in own:
            options[str(key)] = value
        elif key != "term":
            raise UserError(f"unknown key '{where}.{key}'; {nearest(str(key), [*BOUNDS, *own])}")
    if not given:
        raise UserError(f"{where} needs a weight, or at_least or at_most; it is measured in {kind.unit or 'units'}.")
    if given.get("at_least", -math.inf) > given.get("at_most", math.inf):
        raise UserError(f"{where}: at_least={given['at_least']:g} is over at_most={given['at_most']:g}.")
    return kind(**options), given


def _robustness(section: Any) -> Robustness | None:
    if section is None or not section.get("copies"):
        return None
    return read_settings(Robustness, section, "objective.robustness")


def _number(value: Any, where: str, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < math.inf:
        raise UserError(f"{where}={value!r} should be a number{' of 0 or more' if low == 0.0 else ''}.")
    return float(value)
