"""The objective that a config describes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch

from hitchain import rater
from hitchain.chain.objective.constraint import Constraint
from hitchain.chain.objective.front import Front
from hitchain.chain.objective.judge import Judge
from hitchain.chain.objective.objective import Objective, Weighted
from hitchain.chain.objective.rating import Rating
from hitchain.chain.objective.robustness import Robustness
from hitchain.chain.objective.term import Term, find
from hitchain.chain.optimizers.settings import read_settings
from hitchain.errors import UserError, nearest

FEWEST = 3
"""Points of a front."""
BOUNDS = ("weight", "at_least", "at_most")
"""What every term takes beside the options of its own."""


def objective_of(config: Mapping[str, Any]) -> Objective:
    """The objective of a composed config, its raters on the config's device.

    `objective.rater`, one or a list, is climbed; `objective.heldout` never is. Each entry of `objective.terms` is
    weighted by its `weight`, or kept between `at_least` and `at_most`, or both. `objective.pareto` gives every
    candidate a bound of its own.

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
    front = _front(section.get("pareto"), config["optimizer"]["batch"])
    return Objective(rating, heldout, neutral, bounds_weight, weighted, constraints, front)


def make_term(name: str, entry: Any, where: str) -> tuple[Term, dict[str, float]]:
    """A term from its config entry, and the weight and bounds that stand there."""
    if not isinstance(entry, Mapping):
        raise UserError(f"{where}={entry!r} should be keys: a weight or bounds, like {{weight: 0.1}}.")
    kind = find(str(entry.get("term", name)))
    own = _options(kind)
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
    return _made(kind, options, where), given


def _options(kind: type[Term]) -> dict[str, inspect.Parameter]:
    """The keywords of a term's constructor."""
    parameters = inspect.signature(kind.__init__).parameters
    return {key: value for key, value in parameters.items() if key not in ("self", "args", "kwargs")}


def _made(kind: type[Term], options: Mapping[str, Any], where: str) -> Term:
    """A term with its options. Raises `UserError` for one that is missing, or of another type than its default."""
    for key, parameter in _options(kind).items():
        if key not in options and parameter.default is parameter.empty:
            raise UserError(f"{where}.{key} is missing; {kind.name} needs it.")
        value, default = options.get(key), parameter.default
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if key in options and number and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise UserError(f"{where}.{key}={value!r} should be a number, like {default!r}.")
    return kind(**options)


def _front(section: Any, batch: int) -> Front | None:
    """The front of `objective.pareto`: {term, from, to, options}; None where it names no term."""
    where = "objective.pareto"
    if not isinstance(section, Mapping) or section.get("term") is None:
        if section and not isinstance(section, Mapping):
            raise UserError(f"{where}={section!r} should be keys: {{term: loudness, from: -20, to: -9}}.")
        if section and (section.get("from") is not None or section.get("to") is not None):
            raise UserError(f"{where}.term is missing: name the term against which the rating is to be shown.")
        return None
    for key in section:
        if key not in ("term", "from", "to", "options"):
            raise UserError(f"unknown key '{where}.{key}'; {nearest(str(key), ['term', 'from', 'to', 'options'])}")
    kind = find(str(section["term"]))
    first, last = (_number(section.get(key), f"{where}.{key}", -math.inf) for key in ("from", "to"))
    if first == last:
        raise UserError(f"{where}: from and to are both {first:g}; a front lies between two levels.")
    if batch < FEWEST:
        raise UserError(
            f"{where} needs a candidate for each level: optimizer.batch={batch} should be {FEWEST} or more."
        )
    options = section.get("options") or {}
    for key in options:
        if key not in _options(kind):
            raise UserError(f"unknown key '{where}.options.{key}'; {nearest(str(key), _options(kind))}")
    return Front(_made(kind, options, f"{where}.options"), torch.linspace(first, last, batch))


def _robustness(section: Any) -> Robustness | None:
    if section is None or not section.get("copies"):
        return None
    return read_settings(Robustness, section, "objective.robustness")


def _number(value: Any, where: str, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < math.inf:
        raise UserError(f"{where}={value!r} should be a number{' of 0 or more' if low == 0.0 else ''}.")
    return float(value)
