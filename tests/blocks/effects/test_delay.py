"""The echo against a sample loop; note values; gradients through time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks
from hitchain.blocks.effects.delay import Delay, note_length
from hitchain.errors import UserError

RATE = 44100


def loop(audio: np.ndarray, samples: int, feedback: float, tone: float, mix: float) -> np.ndarray:
    """A ring buffer and a first-order bilinear low-pass, one sample after the other."""
    k = math.tan(math.pi * tone / RATE)
    b, pole = k / (1 + k), (1 - k) / (1 + k)
    line, output = [0.0] * samples, []
    echo_input = echo = 0.0
    for t, x in enumerate(audio):
        delayed = line[t % samples]
        echo, echo_input = pole * echo + b * (delayed + echo_input), delayed
        line[t % samples] = x + feedback * echo
        output.append(math.cos(math.pi / 2 * mix) * x + math.sin(math.pi / 2 * mix) * echo)
    return np.array(output)


@pytest.mark.parametrize(("samples", "feedback", "tone", "mix"), [(441, 0.8, 18000.0, 1.0), (1000, 0.5, 500.0, 0.4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_delay_is_the_sample_loop(
    samples: int, feedback: float, tone: float, mix: float, dtype: torch.dtype, accuracy: Callable[..., None]
) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, 9000)
    knobs = {"time": 1000.0 * samples / RATE, "feedback": feedback, "tone": tone, "mix": mix}
    settings = {name: torch.tensor([value], dtype=dtype) for name, value in knobs.items()}
    output = Delay()(torch.tensor(audio[None, None], dtype=dtype), settings)[0, 0].numpy()
    expected = loop(audio, samples, feedback, tone, mix)
    error = 20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max())
    accuracy("effects/delay", "a loop over samples", error, bound=-80.0)  # the tail wraps at -90 dB


def test_time_is_continuous_in_fractions_of_a_sample() -> None:
    """Half a sample later is the mean of the phases: a sine's echo moves by exactly that."""
    time = torch.arange(44100, dtype=torch.float64)
    sine = torch.sin(2 * math.pi * 441.0 / RATE * time)[None, None]
    settings = Delay().defaults(1, torch.float64)
    settings["feedback"].fill_(0.0)
    settings["mix"].fill_(1.0)
    steady = slice(20000, 40000)
    outputs = []
    for samples in (100.0, 100.5):
        settings["time"].fill_(1000.0 * samples / RATE)
        outputs.append(Delay()(sine, settings)[0, 0, steady])
    angles = [torch.angle((y * torch.exp(-2j * math.pi * 441.0 / RATE * time[steady])).sum()) for y in outputs]
    assert float(angles[0] - angles[1]) == pytest.approx(2 * math.pi * 441.0 / RATE * 0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("note", "tempo", "milliseconds"),
    [
        ("1/4", 120, 500),
        ("1/8", 120, 250),
        ("1/8.", 120, 375),
        ("1/4t", 120, 1000 / 3),
        ("1/16", 60, 250),
        ("1", 240, 1000),
    ],
)
def test_note_lengths(note: str, tempo: float, milliseconds: float) -> None:
    assert note_length(note, tempo) == pytest.approx(milliseconds)


def test_sync_sets_the_time_and_leaves_it_a_tenth() -> None:
    block = blocks.create("effects/delay", sync="1/8.", tempo=100.0)
    time = block.parameters[0]
    assert time.name == "time"
    assert (time.low, time.default, time.high) == pytest.approx((405.0, 450.0, 495.0))
    assert Delay().parameters[0].high == 1000.0  # the class keeps its own
    block.check(block.defaults())


@pytest.mark.parametrize("options", [{"sync": "1/3x"}, {"sync": "0/4"}, {"sync": ""}, {"sync": "1/4", "tempo": 0.0}])
def test_bad_note_values_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"sync=|tempo="):
        blocks.create("effects/delay", **options)


def test_a_note_beyond_reach_is_refused() -> None:
    with pytest.raises(UserError, match="2000 ms"):
        Delay(sync="1/1", tempo=120.0)
