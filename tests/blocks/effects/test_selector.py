"""Selectors: against arithmetic on what their blocks do alone, what a decided choice costs, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.block import Block
from hitchain.blocks.nesting import make
from hitchain.blocks.notes.notes import Notes
from hitchain.errors import UserError

Accuracy = Callable[..., None]
RATE = 44100
AUDIO = np.random.default_rng(0).uniform(-1, 1, (2, 6000))
DELAY = {"block": "effects/delay", "time": 1000.0 * 300 / RATE, "feedback": 0.0, "tone": 500.0, "mix": 1.0}
BLOCKS = {"echo": DELAY, "quieter": {"block": "effects/gain", "level": -4.0}}


def selector(blocks: Any = BLOCKS, name: str = "effects/selector") -> Block:
    return make({"block": name, "blocks": blocks}, "lead.amp", RATE)[0]


def settings(block: Block, weights: list[float], **values: float) -> dict[str, torch.Tensor]:
    turned = {key: torch.tensor([value], dtype=torch.float64) for key, value in values.items()}
    weight = torch.tensor([weights], dtype=torch.float64)
    return {**block.defaults(1, torch.float64), **turned, "selected": weight}


@pytest.mark.parametrize("weights", [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
def test_it_blends_what_its_blocks_give(weights: list[float], accuracy: Accuracy) -> None:
    block = selector()
    found = block(torch.from_numpy(AUDIO)[None], settings(block, weights, echo_level=-3.0))[0].numpy()
    late = np.pad(AUDIO, ((0, 0), (300, 0)))[:, : AUDIO.shape[1]]
    echo = scipy.signal.lfilter(*scipy.signal.butter(1, 500.0, fs=RATE), late)
    expected = weights[0] * AUDIO + weights[1] * 10 ** (-3 / 20) * echo + weights[2] * 10 ** (-4 / 20) * AUDIO
    error = float(20 * np.log10(np.abs(found - expected).max() / np.abs(expected).max() + 1e-20))
    accuracy("effects/selector", "numpy and scipy: a bypass, an echo and a gain, blended", error, bound=-120.0)


def test_instruments_are_blended_too(accuracy: Accuracy) -> None:
    inner = {"tone": {"block": "instruments/additive"}, "bars": {"block": "instruments/modal"}}
    block = selector(inner, "instruments/selector")
    notes = Notes.of([0.0, 0.05], [0.1, 0.2], [57.0, 64.0], dtype=torch.float64, length=0.4)
    found = block(notes, settings(block, [0.1, 0.6, 0.3], bars_level=6.0))
    alone = [make(entry, "lead.instrument", RATE)[0] for entry in inner.values()]
    tone, bars = (each(notes, each.defaults(1, torch.float64)) for each in alone)
    expected = 0.6 * tone + 0.3 * 10 ** (6 / 20) * bars
    error = 20 * float(torch.log10((found - expected).abs().max() / expected.abs().max() + 1e-20))
    accuracy("instruments/selector", "the sum of its instruments played alone", error, bound=-120.0)
    assert float(block(notes, settings(block, [1.0, 0.0, 0.0])).abs().max()) == 0.0


def test_a_decided_choice_costs_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    block = selector()
    ran: list[str] = []
    run = block.run_option
    monkeypatch.setattr(block, "run_option", lambda inner, *rest: (ran.append(inner.name), run(inner, *rest))[1])
    audio = torch.from_numpy(AUDIO)[None]
    block(audio, settings(block, [0.0, 0.0, 1.0]))
    assert ran == ["effects/gain"]
    both = {**settings(block, [0.0, 0.0, 1.0]), "selected": torch.eye(3, dtype=torch.float64)[1:]}
    block(audio.expand(2, -1, -1), {key: value.expand(2, *value.shape[1:]) for key, value in both.items()})
    assert ran == ["effects/gain", "effects/delay", "effects/gain"]


def test_an_option_of_weight_nothing_still_has_a_gradient() -> None:
    block = selector()
    chosen = settings(block, [0.0, 0.0, 1.0])
    chosen["selected"].requires_grad_(True)
    (gradient,) = torch.autograd.grad(block(torch.from_numpy(AUDIO)[None], chosen).square().sum(), chosen["selected"])
    assert bool((gradient != 0).all())


@pytest.mark.parametrize(
    ("blocks", "name", "message"),
    [
        ({"none": DELAY}, "effects/selector", "a bypass"),
        ({}, "effects/selector", "at least one block"),
        ({"a": {"block": "instruments/additive"}}, "effects/selector", "a rack holds audio blocks"),
        ({"a": {"block": "effects/gain"}}, "instruments/selector", "is no instrument"),
    ],
)
def test_mistakes_are_told(blocks: Any, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        selector(blocks, name)
