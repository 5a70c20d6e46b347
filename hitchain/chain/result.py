"""What a finished climb says of itself: the knobs that moved, the levels of the master, and what to beware of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from hitchain.blocks.parameter import Choice
from hitchain.chain.ascent import Climbed
from hitchain.chain.knobs import Knobs
from hitchain.chain.outcome import Outcome
from hitchain.chain.patch import Patch


def warnings(before: Outcome, after: Outcome, climbed: Climbed) -> list[str]:
    """What the reader of a result should know before believing it."""
    said = []
    gain = after.rating - before.rating
    if after is before:
        said.append("the climb found nothing better than the starting patch")
    elif gain > 0 and _lags(before.heldout, after.heldout, 0.25 * gain):
        said.append("the gain does not transfer: the held-out rating rose by less than a quarter of it")
    if len(climbed.knobs) > 150:
        said.append(f"{len(climbed.knobs)} knobs were freed; past 150 the judge is more easily gamed")
    return said


def _lags(before: float | None, after: float | None, wanted: float) -> bool:
    return before is not None and after is not None and after - before < wanted


def unmet(constraints: Mapping[str, Mapping[str, Any]], front: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """Bounds that are not kept, and those that no freed knob could have met."""
    said = []
    for name, row in constraints.items():
        if row["met"]:
            continue
        stuck = abs(row["after"] - row["before"]) < 0.01 * row["violation"]
        why = "; no freed knob seems to move it: free more with learn=" if stuck else ""
        said.append(f"the bound on {name} is not kept, by {row['violation']:.3g} {row['unit']}".rstrip() + why)
    missed = sum(not row["met"] for row in front)
    if missed:
        said.append(f"{missed} of the {len(front)} levels of the front were not reached")
    return said


def told(result: Mapping[str, Any]) -> list[str]:
    """Lines for the terminal on what was bounded, and on a front."""
    lines = []
    for name, row in result["constraints"].items():
        bounds = " to ".join("" if row[key] is None else f"{row[key]:g}" for key in ("at_least", "at_most")).strip()
        kept = "met" if row["met"] else f"NOT met, by {row['violation']:.3g}"
        lines.append(f"bound    {name} {row['before']:.3g} -> {row['after']:.3g} {row['unit']} ({bounds}: {kept})")
    for row in result.get("front", ()):
        mark = "" if row["met"] else ", level not reached"
        mark += ", dominated" if row["dominated"] else ""
        lines.append(
            f"front    {row['level']:.4g} {row['unit']}: rating {row['rating']:.3f} at {row['measured']:.4g}{mark}"
        )
    return lines


def moved(knobs: Knobs, before: Patch, after: Patch) -> list[dict[str, Any]]:
    """The freed knobs with old and new value, those first that moved most (as a share of their range)."""
    rows = []
    for knob in knobs.knobs:
        old, new = (patch.settings[knob.path][knob.parameter.name][0].double() for patch in (before, after))
        row: dict[str, Any] = {"path": knob.name}
        if isinstance(knob.parameter, Choice):
            distance = float((new - old).abs().sum(dim=-1).mean() / 2)
            row |= {"unit": "", "before": None, "after": None}
            row |= {"before_text": knob.parameter.show(old.tolist()), "after_text": knob.parameter.show(new.tolist())}
        else:
            shift = knob.parameter.to_unit(new) - knob.parameter.to_unit(old)
            distance = float(shift.abs().mean())
            row |= {"unit": knob.parameter.unit, "before": float(old.mean()), "after": float(new.mean())}
            note = " (mean over notes)" if knob.parameter.per_note else ""
            row |= {"before_text": knob.parameter.show(float(old.mean())) + note}
            row |= {"after_text": knob.parameter.show(float(new.mean())) + note}
        rows.append(row | {"moved": distance})
    return sorted(rows, key=lambda row: -row["moved"])


def levels(recordings: Mapping[str, Tensor], sample_rate: int) -> dict[str, Any]:
    """The meters of recordings (channels, samples) by name, and the master's loudness [LUFS] and true peak [dBTP]."""
    from hitchain.blocks.dsp.meter import measure

    meters = {name: measure(audio, sample_rate).as_dict() for name, audio in recordings.items()}
    master = meters["master"]
    return {"loudness": master["integrated"], "true_peak": master["true_peak"], "meters": meters}
