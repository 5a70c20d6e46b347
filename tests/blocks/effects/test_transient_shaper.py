"""The transient shaper against a loop over samples, and what it does to notes and to steady tones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import torch

from hitchain.blocks.effects.transient_shaper import TransientShaper

Accuracy = Callable[..., None]
RATE = 44100


def follower(level: np.ndarray, up: float, down: float) -> np.ndarray:
    rise, fall = (1 - math.exp(-1000 / (time * RATE)) for time in (up, down))
    state, output = -70.0, np.empty_like(level)
    for t, value in enumerate(level):
        state += (rise if value > state else fall) * (value - state)
        output[t] = state
    return output


def loop(audio: np.ndarray, knobs: dict[str, float]) -> np.ndarray:
    """(channels, samples); the held level by scipy.ndimage.maximum_filter1d, blended for 551.25 samples."""
    level = 20 * np.log10(np.maximum(np.abs(audio).max(axis=0), 10 ** (-70 / 20)))
    shorter, longer = (
        scipy.ndimage.maximum_filter1d(
            level, size, origin=(size - 1) // 2 if size % 2 else size // 2 - 1, mode="nearest"
        )
        for size in (551, 552)
    )
    level = shorter + 0.25 * (longer - shorter)
    now = follower(level, 0.3, 30.0)
    onset = now - follower(level, knobs["attack_time"], 30.0)
    decay = follower(level, 0.3, knobs["sustain_time"]) - now
    gain = knobs["attack"] * onset / (onset + 6) + knobs["sustain"] * decay / (decay + 6) + knobs["level"]
    return audio * 10 ** (gain / 20)


def settings_of(**knobs: float) -> dict[str, torch.Tensor]:
    settings = TransientShaper().defaults(1, torch.float64)
    for key, value in knobs.items():
        settings[key].fill_(value)
    return settings


def hits(level: float = 0.0) -> np.ndarray:
    """Decaying noise, four a second: (2, samples)."""
    time = np.arange(RATE) / RATE
    noise = np.random.default_rng(0).uniform(-1, 1, (2, RATE))
    return 10 ** (level / 20) * noise * np.exp(-12 * (time % 0.25))


def test_it_is_the_sample_loop(accuracy: Accuracy) -> None:
    """-150 dB in float64: the same equations."""
    knobs = {"attack": 9.0, "sustain": -12.0, "attack_time": 20.0, "sustain_time": 300.0, "level": -2.0}
    output = TransientShaper()(torch.tensor(hits()[None]), settings_of(**knobs))[0].numpy()
    expected = loop(hits(), knobs)
    error = 20 * np.log10(np.abs(output - expected).max() / np.abs(expected).max())
    accuracy("effects/transient_shaper", "a loop over samples", error, bound=-150.0)


@pytest.mark.parametrize("frequency", [41.2, 110.0, 1000.0])
def test_a_steady_tone_keeps_its_level(frequency: float, accuracy: Accuracy) -> None:
    """Once it has begun, whatever the knobs say: from the bass's low E up."""
    time = np.arange(2 * RATE) / RATE
    tone = torch.tensor(np.sin(2 * math.pi * frequency * time))[None, None]
    output = TransientShaper()(tone, settings_of(attack=18.0, sustain=24.0))
    change = 20 * torch.log10(output[..., RATE:].square().mean().sqrt() / tone[..., RATE:].square().mean().sqrt())
    accuracy(
        "effects/transient_shaper",
        f"a steady {frequency:g} Hz left as it is",
        abs(float(change)),
        bound=0.01,
        unit="dB",
    )


def level(audio: torch.Tensor, begin: float, end: float) -> float:
    """RMS [dB] of that part of every hit but the first [s]."""
    parts = audio[0, :, : RATE // 4 * 4].reshape(2, 4, -1)[:, 1:, round(begin * RATE) : round(end * RATE)]
    return 10 * math.log10(float(parts.square().mean()))


def test_attack_and_sustain_are_turned_apart() -> None:
    audio, shaper = torch.tensor(hits()[None]), TransientShaper()
    for knob, begun, dying in (("attack", (4.0, 9.0), (-0.5, 0.5)), ("sustain", (-0.5, 1.0), (2.0, 9.0))):
        output = shaper(audio, settings_of(**{knob: 9.0}))
        assert begun[0] < level(output, 0.001, 0.01) - level(audio, 0.001, 0.01) < begun[1]
        assert dying[0] < level(output, 0.15, 0.24) - level(audio, 0.15, 0.24) < dying[1]


def test_soft_and_loud_are_shaped_alike() -> None:
    knobs = settings_of(attack=9.0, sustain=-9.0)
    soft, loud = (TransientShaper()(torch.tensor(hits(gain)[None]), knobs) for gain in (-20.0, 0.0))
    begun, dying = (level(loud, *part) - level(soft, *part) for part in ((0.001, 0.01), (0.05, 0.1)))
    assert begun == pytest.approx(20.0, abs=1.0)
    assert dying == pytest.approx(20.0, abs=1.0)
