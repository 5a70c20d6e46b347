"""What a climb's decision on its choices came to, against the blend that it decided."""

from __future__ import annotations

from typing import Any

import torch

from hitchain.blocks.parameter import Choice
from hitchain.chain.ascent import Ascent, Climbed
from hitchain.chain.outcome import Outcome

LEAST = 1e-3
"""A blend that gained less than this over the start gained nothing, of which a share could be kept."""


@torch.no_grad()
def choices_of(ascent: Ascent, climbed: Climbed, before: Outcome, after: Outcome) -> dict[str, Any]:
    """`choices` of result.json; empty where nothing was to be chosen.

    relaxed_rating   of the best blend when choices were decided, on the whole song; null where options were never
                     blended (optimizer=cma, random, hybrid)
    decided_rating   of what came of it, each choice at one option
    kept             (decided - before) / (relaxed - before); null where the blend had gained nothing
    options          {knob: the option, and how many notes have it where there is one per note}
    """
    if not climbed.knobs.chooses or climbed.front is not None:
        return {}
    relaxed = None
    if climbed.relaxed is not None:
        audio = ascent.song(climbed.relaxed)
        relaxed = float(ascent.objective.rate(audio, ascent.song.sample_rate)[0])
    gained = None if relaxed is None else relaxed - before.rating
    kept = None if gained is None or gained < LEAST else (after.rating - before.rating) / gained
    options = {
        knob.name: knob.parameter.show(after.patch.settings[knob.path][knob.parameter.name][0].tolist())
        for knob in climbed.knobs.knobs
        if isinstance(knob.parameter, Choice)
    }
    found = {"relaxed_rating": relaxed, "decided_rating": after.rating, "kept": kept, "options": options}
    return {"choices": found}


def told_of_choices(result: dict[str, Any]) -> list[str]:
    """Lines for the terminal."""
    choices = result.get("choices")
    if not choices:
        return []
    options = ", ".join(f"{name.rpartition('.')[0]}: {option}" for name, option in choices["options"].items())
    lines = [f"choices  {options}"]
    if choices["relaxed_rating"] is not None:
        share = "" if choices["kept"] is None else f"; {100 * choices['kept']:.0f} % of the blend's gain is kept"
        lines.append(f"decision {choices['relaxed_rating']:.3f} blended -> {choices['decided_rating']:.3f}{share}")
    return lines
