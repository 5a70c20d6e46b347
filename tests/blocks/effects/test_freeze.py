"""The freeze: against a plain phase vocoder written as loops, and against what a held sine has to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.dsp.noise import noise, positions
from hitchain.blocks.parameter import SEED, START
from hitchain.errors import UserError

RATE = 44100
Accuracy = Callable[..., None]


def rendered(audio: Tensor, start: float = 0.0, options: dict[str, Any] | None = None, **knobs: float) -> Tensor:
    """Only what is held, unless told otherwise, with nothing taken off."""
    block = blocks.create("effects/freeze", **(options or {}))
    chosen = {"mix": 1.0, "smear": 0.0, "tone": 18000.0, "decay": 60.0, **knobs}
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in chosen.items()}
    settings = block.defaults(1, torch.float64) | settings
    told = {START: torch.tensor(start, dtype=torch.float64), SEED: torch.tensor(7)}
    output: Tensor = block(audio, settings | told)
    return output


def sine(hertz: float, seconds: float, amplitude: float = 0.5) -> Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return (amplitude * torch.sin(2 * math.pi * hertz * time))[None, None]


def decibels(ratio: float) -> float:
    return 20.0 * math.log10(ratio + 1e-15)


def faded(age: float, fade: float) -> float:
    place = min(max(age / fade, 0.0), 1.0)
    return 3.0 * place**2 - 2.0 * place**3


def reference(x: np.ndarray, period: float, hop: int, knobs: dict[str, float], seed: int) -> np.ndarray:
    """Capture by capture, grain by grain, with numpy's transforms."""
    size, fade = 4 * hop, knobs["fade"] * RATE / 1000.0
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    low_pass = 1.0 / np.sqrt(1.0 + (np.arange(size // 2 + 1) * RATE / size / knobs["tone"]) ** 2)
    s = knobs["smear"]
    coherent = np.sinc(s) ** 2
    level = 1.0 / np.sqrt(coherent + 0.25 * (1.0 - coherent))
    padded = np.concatenate([np.zeros(5 * hop), x, np.zeros(5 * hop)])
    wet = np.zeros(len(x))
    for k in range(-8, math.ceil(len(x) / RATE / period) + 1):
        place = round(k * period * RATE)
        begin, following = place + 5 * hop, round((k + 1) * period * RATE) + 5 * hop
        if not 0 < begin < len(x):
            continue
        one, two = (np.fft.rfft(padded[begin + d : begin + d + size] * window) for d in (0, hop))
        magnitude = np.abs(one) * np.abs(two) / np.sqrt((np.abs(one) ** 2 + np.abs(two) ** 2) / 2 + 1e-14)
        length = min(len(x), following + math.ceil(fade)) - begin
        hold = np.zeros(length + 2 * size)
        for m in range(2, 6 + length // hop):
            key = positions(torch.tensor(k), torch.tensor(m))
            random = noise(seed, len(one), key, torch.float64).numpy() / math.sqrt(3.0)
            phase = np.angle(one) + m * (np.angle(two) - np.angle(one)) + s * np.pi * random
            at = size + (m - 5) * hop
            grain = np.fft.irfft(magnitude * low_pass * np.exp(1j * phase), size) * window / 1.5
            hold[at : at + size] += grain[: max(0, len(hold) - at)]
        for age in range(length):
            gate = faded(age, fade) - faded(age - (following - begin), fade)
            wet[begin + age] += level * gate * 10.0 ** (-3.0 * age / RATE / knobs["decay"]) * hold[size + age]
    return wet


def test_against_loops_over_grains(accuracy: Accuracy) -> None:
    audio = torch.randn(1, 2, 12000, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.2
    knobs = {"fade": 90.0, "smear": 0.4, "tone": 3000.0, "decay": 0.5}
    options: dict[str, Any] = {"period": 0.0731, "grain": 0.02}
    output = rendered(audio, options=options, **knobs)
    hop = int(blocks.create("effects/freeze", **options).hop)  # type: ignore[arg-type]
    expected = np.stack([reference(channel.numpy(), 0.0731, hop, knobs, seed=7) for channel in audio[0]])
    error = decibels(float(np.linalg.norm(output[0].numpy() - expected) / np.linalg.norm(expected)))
    accuracy("effects/freeze", "a phase vocoder in numpy, grain by grain", error, bound=-140.0)  # FAINT^2 differs


def test_a_steady_sine_is_continued_as_it_is(accuracy: Accuracy) -> None:
    """Longer than the sine itself: it stops, and goes on being held, in phase, at its frequency and level."""
    hertz, amplitude = 440.7, 0.5
    alone = sine(hertz, 4.0, amplitude)
    stopped = alone * (torch.arange(alone.shape[-1]) < RATE // 2)
    held = rendered(stopped, options={"period": 10.0})[0, 0, RATE:]
    time = torch.arange(len(held), dtype=torch.float64) / RATE
    turning = held * torch.exp(-2j * math.pi * hertz * time)
    early, late = (turning[a : a + RATE // 2] for a in (0, 2 * RATE))
    drift = float((late.mean() / early.mean()).angle()) / (2 * math.pi * 2.0)  # Hz: the phase gained in 2 s
    cents = abs(1200.0 * math.log2(1.0 + drift / hertz))
    accuracy("effects/freeze", "a held sine's frequency", cents, bound=0.01, unit="cent")
    fallen = 10.0 ** (-3.0 * (time + 0.8) / 60.0)  # the slowest decay, from about 0.2 s on
    level = decibels(float((held / fallen).square().mean().sqrt()) / (amplitude * math.sqrt(0.5)))
    accuracy("effects/freeze", "a held sine's level", abs(level), bound=0.05)
    other = held - alone[0, 0, RATE:] * fallen
    accuracy(
        "effects/freeze", "a held sine against itself going on", decibels(float(other.norm() / held.norm())), -35.0
    )


def test_captures_of_a_steady_sine_join_without_a_step(accuracy: Accuracy) -> None:
    held = rendered(sine(330.3, 3.0), options={"period": 0.5}, fade=100.0)[0, 0, RATE // 2 :]
    blocks_of = held.unfold(-1, 2205, 441).square().mean(-1).sqrt()
    ripple = decibels(float(blocks_of.max() / blocks_of.min()))
    accuracy("effects/freeze", "level of a sine through captures", ripple, bound=0.8)  # 0.5 s of decay: 0.5 dB


def smeared_level(audio: Tensor) -> float:
    """The largest change of level by smear [dB]."""
    levels = [rendered(audio, options={"period": 0.5}, smear=s)[..., RATE:].norm() for s in (0.0, 0.3, 0.6, 1.0)]
    return max(abs(decibels(float(level / levels[0]))) for level in levels)


def test_smear_keeps_the_level_and_the_spectrum(accuracy: Accuracy) -> None:
    chord = torch.cat([sine(150.0 * 1.17**index, 4.0, 0.05) for index in range(24)]).sum(dim=0, keepdim=True)
    accuracy("effects/freeze", "level of a smeared chord", smeared_level(chord), bound=0.6)
    # what is noise is not coherent before it is smeared: the gain that a tone needs makes it louder, by 6 dB at most
    random = torch.randn(1, 1, 4 * RATE, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 0.1
    accuracy("effects/freeze", "level of smeared noise", smeared_level(random), bound=3.5)
    wash = rendered(sine(440.0, 4.0), options={"period": 10.0}, smear=1.0)[0, 0, RATE:]
    power = torch.fft.rfft(wash).abs().square()
    near = (torch.fft.rfftfreq(len(wash), 1.0 / RATE) - 440.0).abs() < 40.0
    assert float(power[near].sum() / power.sum()) > 0.99


def test_hold_falls_by_60_db_in_its_decay() -> None:
    held = rendered(sine(500.0, 3.0) * (torch.arange(3 * RATE) < RATE), options={"period": 10.0}, decay=2.0)[0, 0]
    early, late = (held[a : a + 4410].norm() for a in (RATE, 2 * RATE))
    assert abs(decibels(float(late / early)) + 30.0) < 0.2


def test_a_chord_lasts_until_the_next_capture() -> None:
    """At 120 beats a minute a half note is one second."""
    time = torch.arange(3 * RATE) / RATE
    audio = torch.where(time < 1.0, sine(300.0, 3.0), sine(500.0, 3.0)) * ((time % 1.0) < 0.4)
    held = rendered(audio, options={"sync": "1/2", "tempo": 120.0}, fade=20.0)[0, 0]
    hertz = torch.fft.rfftfreq(RATE // 2, 1.0 / RATE)
    for first, expected in ((0.5, 300.0), (1.4, 500.0)):
        part = held[round(first * RATE) : round(first * RATE) + RATE // 2]
        power = torch.fft.rfft(part * torch.hann_window(len(part), dtype=part.dtype)).abs().square()
        assert float(hertz[power.argmax()]) == expected
        assert float(power[(hertz - expected).abs() < 20.0].sum() / power.sum()) > 0.99


@pytest.mark.parametrize("start", [0.9, 1.237])
def test_a_window_of_the_song_is_that_stretch_of_the_whole(start: float, accuracy: Accuracy) -> None:
    """From where the first capture within the window is held, and has faded in, on."""
    audio = torch.randn(1, 2, 3 * RATE, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 0.2
    options: dict[str, Any] = {"period": 0.4, "grain": 0.05}
    whole = rendered(audio, options=options, smear=0.5, fade=50.0)
    first = round(start * RATE)
    window = rendered(audio[..., first:], first / RATE, options, smear=0.5, fade=50.0)
    settled = round((0.4 * math.ceil(start / 0.4) + 0.07 + 0.051) * RATE)
    error = (whole[..., settled:] - window[..., settled - first :]).norm() / whole[..., settled:].norm()
    accuracy("effects/freeze", "a window against the whole song", decibels(float(error)), bound=-200.0)


def test_nothing_sounds_before_it_was_heard() -> None:
    audio = torch.randn(1, 1, RATE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    cut = audio * (torch.arange(RATE) < RATE // 2)
    one, other = (rendered(x, options={"period": 0.1, "grain": 0.05}) for x in (audio, cut))
    assert torch.equal(one[..., : RATE // 2], other[..., : RATE // 2])


@pytest.mark.parametrize("options", [{"sync": "fast"}, {"sync": "1/64", "tempo": 400.0}, {"period": 0}, {"grain": 3.0}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        blocks.create("effects/freeze", **options)
