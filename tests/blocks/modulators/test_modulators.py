"""Every modulator's control signal against its formula, computed here by plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.modulation import Cue, Modulator
from hitchain.blocks.nesting import make
from hitchain.blocks.notes.midi import Part, read_midi, write_midi
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import ONSETS, SEED, START
from hitchain.errors import UserError

RATE = 44100
TIMES = torch.arange(0.0, 3.0, 64.0 / RATE, dtype=torch.float64)


def _control(name: str, knobs: dict[str, float], cue: Cue | None = None, **options: Any) -> np.ndarray:
    modulator = blocks.create(f"modulators/{name}", sample_rate=RATE, **options)
    assert isinstance(modulator, Modulator)
    settings = {**modulator.defaults(1, torch.float64), SEED: torch.tensor(5)}
    settings |= {key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}
    return np.asarray(modulator.control(cue or Cue(TIMES, None, None), settings)[0])


def _decibels(error: float) -> float:
    return 20.0 * math.log10(error + 1e-16)


LFO_SHAPES = {  # amplitude of the k-th sine, from tables of Fourier series
    "sine": lambda k: float(k == 1),
    "triangle": lambda k: 8.0 / (math.pi * k) ** 2 * math.sin(math.pi * k / 2.0),
    "rising": lambda k: 2.0 / (math.pi * k) * (1.0 if k % 2 else -1.0) * _lanczos(k),
    "falling": lambda k: -2.0 / (math.pi * k) * (1.0 if k % 2 else -1.0) * _lanczos(k),
    "square": lambda k: (4.0 / (math.pi * k) if k % 2 else 0.0) * _lanczos(k),
}


def _lanczos(k: int) -> float:
    return math.sin(math.pi * k / 10.0) / (math.pi * k / 10.0)


@pytest.mark.parametrize("shape", LFO_SHAPES)
def test_an_lfo_is_the_sum_of_nine_sines(shape: str, accuracy: Callable[..., None]) -> None:
    modulator = blocks.create("modulators/lfo", sample_rate=RATE)
    assert isinstance(modulator, Modulator)
    settings = {**modulator.defaults(1, torch.float64), "rate": torch.tensor([3.7], dtype=torch.float64)}
    settings["phase"] = torch.tensor([-40.0], dtype=torch.float64)
    settings["shape"] = torch.tensor([[float(name == shape) for name in LFO_SHAPES]], dtype=torch.float64)
    found = np.asarray(modulator.control(Cue(TIMES + 100.0, None, None), settings)[0])
    angle = 2.0 * math.pi * (3.7 * (TIMES.numpy() + 100.0) - 40.0 / 360.0)
    expected = sum(LFO_SHAPES[shape](k) * np.sin(k * angle) for k in range(1, 10))
    accuracy("modulators/lfo", "its Fourier series in numpy", _decibels(np.abs(found - expected).max()), bound=-200.0)


def test_an_lfos_triangle_is_scipys(accuracy: Callable[..., None]) -> None:
    """But for the partials above the ninth, whose amplitudes sum to 4.1 % at the tips."""
    modulator = blocks.create("modulators/lfo", sample_rate=RATE)
    assert isinstance(modulator, Modulator)
    settings = modulator.defaults(1, torch.float64)
    settings["shape"] = torch.tensor([[float(name == "triangle") for name in LFO_SHAPES]], dtype=torch.float64)
    found = np.asarray(modulator.control(Cue(TIMES, None, None), settings)[0])
    ideal = scipy.signal.sawtooth(2.0 * math.pi * 2.0 * TIMES.numpy() + math.pi / 2.0, width=0.5)
    error = 100.0 * np.abs(found - ideal).max()
    accuracy("modulators/lfo", "scipy.signal's triangle", error, bound=4.2, unit="%")


def test_envelopes_begin_with_the_notes_and_the_highest_counts(accuracy: Callable[..., None]) -> None:
    onsets = [1.2, -0.4, 0.3, 0.45, math.inf]
    knobs = {"attack": 80.0, "decay": 150.0, "sustain": 0.3, "hold": 400.0, "release": 200.0}
    cue = Cue(TIMES, None, torch.tensor([onsets]))
    expected = []
    for t in TIMES.tolist():
        levels = [0.0]
        for onset in onsets:
            if (u := t - float(np.float32(onset))) < 0.0:
                continue
            held = min(u, 0.4)
            level = held / 0.08 if held < 0.08 else 0.3 + 0.7 * math.exp(-(held - 0.08) / 0.15)
            levels.append(level * math.exp(-max(u - 0.4, 0.0) / 0.2))
        expected.append(max(levels))
    error = np.abs(_control("envelope", knobs, cue) - expected).max()
    accuracy("modulators/envelope", "its formula, note by note", _decibels(error), bound=-200.0)


def test_without_notes_there_is_one_envelope_at_the_start_of_the_song() -> None:
    found = _control("envelope", {"attack": 100.0})
    assert found[0] == 0.0
    assert TIMES[found.argmax()] == pytest.approx(0.1, abs=2e-3)


def test_a_follower_follows_what_enters_the_block(accuracy: Callable[..., None]) -> None:
    audio = torch.tensor(np.random.default_rng(0).uniform(-1, 1, (1, 2, 6000)) * np.linspace(1, 0, 6000))
    places = np.arange(0, 5999, 64)
    cue = Cue(torch.tensor(7.0 + places / RATE, dtype=torch.float64), audio, None)
    state, expected = 0.0, []
    for x in np.abs(audio[0].numpy()).max(axis=0):
        state += (1.0 - math.exp(-1000.0 / ((2.0 if x > state else 50.0) * RATE))) * (x - state)
        expected.append(state * 10.0 ** (12.0 / 20) / (1.0 + state * 10.0 ** (12.0 / 20)))
    found = _control("follower", {"sensitivity": 12.0, "attack": 2.0, "release": 50.0}, cue)
    error = np.abs(found - np.array(expected)[places]).max()
    accuracy("modulators/follower", "a loop over samples", _decibels(error), bound=-140.0)
    with pytest.raises(UserError, match="modulators/envelope"):
        _control("follower", {})


def _glided(values: Callable[[int], float], rate: float, glide: float) -> np.ndarray:
    found = []
    for t in TIMES.tolist():
        step = math.floor(rate * t)
        x = min((rate * t - step) / glide, 1.0)
        found.append(values(step - 1) + (values(step) - values(step - 1)) * x * x * (3.0 - 2.0 * x))
    return np.array(found)


def test_steps_go_round_and_glide(accuracy: Callable[..., None]) -> None:
    row = [0.9, -0.2, 0.4, -1.0, 1.0, 0.0, 0.3, -0.6]
    knobs = {"rate": 5.3, "glide": 0.4, **{f"step{n + 1}": value for n, value in enumerate(row)}}
    error = np.abs(_control("steps", knobs) - _glided(lambda k: row[k % 8], 5.3, 0.4)).max()
    accuracy("modulators/steps", "its formula, step by step", _decibels(error), bound=-200.0)


def test_chance_is_the_same_for_the_same_seed_and_moment(accuracy: Callable[..., None]) -> None:
    from hitchain.blocks.dsp.noise import table

    values = (table(5).double() / math.sqrt(3.0)).tolist()
    found = _control("random", {"rate": 7.0, "smooth": 0.5})
    error = np.abs(found - _glided(lambda k: values[k % len(values)], 7.0, 0.5)).max()
    accuracy("modulators/random", "its formula, step by step", _decibels(error), bound=-120.0)
    later = _control("random", {"rate": 7.0, "smooth": 0.5}, Cue(TIMES[500:], None, None))
    np.testing.assert_array_equal(later, found[500:])
    assert np.abs(found).max() <= 1.01


def test_a_step_may_be_a_note_value() -> None:
    for name in ("steps", "random"):
        modulator = blocks.create(f"modulators/{name}", sync="1/16", tempo=120.0)
        rate = next(item for item in modulator.parameters if item.name == "rate")
        assert rate.default == pytest.approx(8.0)


def test_points_are_joined_by_lines(accuracy: Callable[..., None]) -> None:
    points = [[0.5, -1.0], [1.0, 0.25], [1.1, 1.0], [2.5, 0.0]]
    found = _control("automation", {"delay": 0.125}, points=points)
    expected = np.interp(TIMES.numpy() - 0.125, *np.array(points).T)
    accuracy("modulators/automation", "numpy.interp", _decibels(np.abs(found - expected).max()), bound=-200.0)
    assert set(_control("automation", {}, points=[[1.0, 0.5]])) == {0.5}


def test_a_controller_holds_its_value_until_the_next() -> None:
    lane = torch.tensor([[0.2, 0.1], [1.0, 0.6], [1.002, 0.9], [2.0, 0.3]])
    found = _control("automation", {}, controller=74, controllers={74: lane})
    for moment, value in ((0.0, 0.1), (0.99, 0.1), (1.5, 0.9), (1.99, 0.9), (2.1, 0.3)):
        assert np.interp(moment, TIMES.numpy(), found) == pytest.approx(value, abs=1e-6)
    assert np.abs(np.diff(found)).max() <= 0.501  # the step of 0.5 takes half of the 2 ms to the next


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either points"),
        ({"points": [[0, 0]], "controller": 1}, "either points"),
        ({"points": []}, "pairs"),
        ({"points": "up"}, "pairs"),
        ({"points": [[0, 0], [0, 1]]}, "above the one before"),
        ({"points": [[0, 2]]}, "from -1 to 1"),
        ({"points": [[0, "x"]]}, "should be a pair"),
        ({"points": [3]}, "should be a pair"),
        ({"controller": 74}, "no controller 74"),
        ({"controller": 74, "controllers": {1: torch.zeros(1, 2)}}, "they have: 1"),
        ({"controller": 200}, "0 to 119"),
    ],
)
def test_mistakes_in_a_lane_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        blocks.create("modulators/automation", **options)


def test_a_lane_of_a_midi_file_turns_a_knob(tmp_path: Path) -> None:
    """From file to loudness: controller 7 at 0, then at 127 from 1 s on, over the whole travel of a level."""
    lane = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    write_midi(tmp_path / "x.mid", [Part("a", Notes.of([0.0], [2.0], [60.0]), controllers={7: lane})])
    controllers = read_midi(tmp_path / "x.mid").parts[0].controllers
    entry = {"block": "modulators/automation", "target": "level", "controller": 7, "amount": 0.5}
    rack = {"block": "effects/gain", "level": -60.0, "modulators": {"lane": entry}}
    block, knobs = make(rack, "here", RATE, {"controllers": controllers})
    settings = {**block.defaults(), "level": torch.tensor([float(knobs["level"])])}
    heard = block(torch.ones(1, 1, 2 * RATE), settings)[0, 0]
    assert 20 * math.log10(float(heard[RATE // 2])) == pytest.approx(-60.0, abs=0.1)
    assert 20 * math.log10(float(heard[-100])) == pytest.approx(-60.0 + 0.5 * 84.0, abs=0.1)


@pytest.mark.parametrize("name", ["envelope", "steps", "random", "automation"])
def test_a_window_is_in_step_with_the_song(name: str) -> None:
    options = {"points": [[0.2, 0.0], [1.5, 1.0]]} if name == "automation" else {}
    entry = {"block": f"modulators/{name}", "target": "level", "amount": 0.2, **options}
    block = make({"block": "effects/gain", "modulators": {"m": entry}}, "here", RATE)[0]
    audio = torch.ones(1, 1, 2 * RATE, dtype=torch.float64)
    onsets = torch.tensor([[0.1, 0.7, 1.3]], dtype=torch.float64)
    settings = {**block.defaults(1, torch.float64), SEED: torch.tensor(1)}
    whole = block(audio, {**settings, ONSETS: onsets})
    told = {START: torch.tensor(0.5, dtype=torch.float64), ONSETS: onsets - 0.5}
    part = block(audio[..., : RATE // 2], {**settings, **told})
    torch.testing.assert_close(
        part, whole[..., RATE // 2 : 2 * (RATE // 2)], rtol=0.1, atol=0
    )  # the grid of values differs
