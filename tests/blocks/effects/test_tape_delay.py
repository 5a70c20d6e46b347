"""The tape echo against a loop over samples; its pitch wanders as the knob says; aliasing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.interpolate
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.effects.tape_delay import FLUTTER, WOW

RATE = 44100
Accuracy = Callable[..., None]


def rendered(audio: np.ndarray, **knobs: float) -> np.ndarray:
    block = blocks.create("effects/tape_delay")
    settings = block.defaults(1, torch.float64) | {k: torch.tensor([v], dtype=torch.float64) for k, v in knobs.items()}
    return block(torch.tensor(audio[None, None]), settings)[0, 0].numpy()


def loop(audio: np.ndarray, late: np.ndarray, feedback: float, drive: float, tone: float) -> np.ndarray:
    """One sample after the other; the shaper by the difference of its antiderivative."""
    k = math.tan(math.pi * tone / RATE)
    b, pole = k / (1 + k), (1 - k) / (1 + k)
    tape, output = np.zeros(len(audio) + 8), np.zeros(len(audio))
    heard_before = echo = before = 0.0
    for t, x in enumerate(audio):
        place = t - late[t]
        base = math.floor(place)
        points = [tape[i] if i >= 0 else 0.0 for i in range(base - 1, base + 3)]
        slopes = (points[2] - points[0]) / 2, (points[3] - points[1]) / 2
        heard = float(scipy.interpolate.CubicHermiteSpline([0, 1], points[1:3], slopes)(place - base))
        echo = pole * echo + b * (heard + heard_before)
        heard_before = heard
        v = x + feedback * echo
        a, c = drive * v, drive * before
        if abs(a - c) > 1e-3:
            tape[t] = (math.sqrt(1 + a * a) - math.sqrt(1 + c * c)) / (a - c) / drive
        else:
            tape[t] = (a + c) / 2 / math.sqrt(1 + ((a + c) / 2) ** 2) / drive
        before = v
        output[t] = echo
    return output


def test_tape_delay_is_the_sample_loop(accuracy: Accuracy) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, 9000)
    time = np.arange(len(audio)) / RATE
    late = np.full(len(audio), 0.045 * RATE)
    for depth, movements in ((0.01, WOW), (0.004, FLUTTER)):
        total = sum(share for _, share in movements)
        for hertz, share in movements:
            moved = np.sin(2 * math.pi * hertz * time) / (2 * math.pi * hertz)
            late += depth * RATE * share / total * moved
    knobs = {"time": 45.0, "feedback": 0.7, "drive": 6.0, "tone": 4000.0, "wow": 1.0, "flutter": 0.4}
    output = rendered(audio, **knobs, mix=1.0)
    expected = loop(audio, late, 0.7, 10 ** (6 / 20), 4000.0)
    error = 20 * math.log10(np.abs(output - expected).max() / np.abs(expected).max())
    accuracy("effects/tape_delay", "a loop over samples", error, bound=-120.0)


def test_wow_is_the_deviation_of_the_speed(accuracy: Accuracy) -> None:
    """The instantaneous frequency of a repeated 1 kHz sine moves by as many per cent as the movements add up to."""
    time = np.arange(2 * RATE) / RATE
    output = rendered(0.1 * np.sin(2 * math.pi * 1000 * time), time=50.0, feedback=0.0, wow=1.0, flutter=0.0, mix=1.0)
    angle = np.unwrap(np.angle(scipy.signal.hilbert(output)))[8000:-8000]
    found = (angle[2000:] - angle[:-2000]) / 2000 * RATE / (2 * math.pi * 1000) - 1
    middle = time[9000 : 9000 + len(found)]
    total = sum(share for _, share in WOW)
    expected = -0.01 * sum(share / total * np.cos(2 * math.pi * hertz * middle) for hertz, share in WOW)
    accuracy(
        "effects/tape_delay", "speed through time at 1 % wow", 100 * np.abs(found - expected).max(), 0.02, unit="%"
    )


def test_aliasing(accuracy: Accuracy) -> None:
    """A 5 kHz sine, driven hard: whatever is not one of its harmonics."""
    samples = 8 * 4410
    time = np.arange(2 * samples) / RATE
    knobs = {"time": 40.0, "feedback": 0.0, "wow": 0.0, "flutter": 0.0, "tone": 12000.0, "drive": 18.0, "mix": 1.0}
    output = rendered(np.sin(2 * math.pi * 5010.0 * time), **knobs)[-samples:]
    power = np.abs(np.fft.rfft(output * np.blackman(samples))) ** 2
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    harmonic = np.min([np.abs(hertz - 5010.0 * k) for k in range(1, 5)], axis=0) < 10.0
    level = 10 * math.log10(power[~harmonic].sum() / power.sum())
    accuracy("effects/tape_delay", "aliasing, 5 kHz sine at full drive", level, bound=-28.0)
