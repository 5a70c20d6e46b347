"""Stereo, ping-pong and multitap echoes against loops over samples; what rings for long on a short transform."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.errors import UserError

RATE = 44100
Accuracy = Callable[..., None]


def rendered(name: str, audio: np.ndarray, dtype: torch.dtype = torch.float64, **knobs: float) -> np.ndarray:
    block = blocks.create(name)
    settings = {**block.defaults(1, dtype), **{key: torch.tensor([v], dtype=dtype) for key, v in knobs.items()}}
    return block(torch.tensor(audio[None], dtype=dtype), settings)[0].double().numpy()


def error(output: np.ndarray, expected: np.ndarray) -> float:
    return 20.0 * math.log10(np.abs(output - expected).max() / np.abs(expected).max())


class LowPass:
    """First-order, bilinear, one sample after the other."""

    def __init__(self, tone: float) -> None:
        k = math.tan(math.pi * tone / RATE)
        self.b, self.pole, self.x, self.y = k / (1 + k), (1 - k) / (1 + k), 0.0, 0.0

    def __call__(self, x: float) -> float:
        self.y, self.x = self.pole * self.y + self.b * (x + self.x), x
        return self.y


def crossing(
    audio: np.ndarray, samples: tuple[int, int], feedback: np.ndarray, enter: np.ndarray, tone: float, mix: float
) -> np.ndarray:
    """Two ring buffers: each is fed by the input through `enter` and by both outputs through `feedback`."""
    lines = [np.zeros(m) for m in samples]
    filters = [LowPass(tone), LowPass(tone)]
    output = np.zeros_like(audio)
    for t in range(audio.shape[1]):
        echo = np.array([filters[c](lines[c][t % samples[c]]) for c in range(2)])
        fed = enter @ audio[:, t] + feedback @ echo
        for c in range(2):
            lines[c][t % samples[c]] = fed[c]
        output[:, t] = math.cos(math.pi / 2 * mix) * audio[:, t] + math.sin(math.pi / 2 * mix) * echo
    return output


# Below 0.44 of the sample rate: above, echoes roll off, and loops do not.
LOW = scipy.signal.firwin(255, 0.86, window=("kaiser", 12.0))
AUDIO = scipy.signal.lfilter(LOW, 1.0, np.random.default_rng(0).uniform(-1.0, 1.0, (2, 8000)))
# What wraps around is damped by 95 dB or more; rounding errors grow by half as much.
BOUNDS = {torch.float64: -85.0, torch.float32: -80.0}


@pytest.mark.parametrize("dtype", list(BOUNDS))
def test_stereo_delay_is_the_sample_loop(dtype: torch.dtype, accuracy: Accuracy) -> None:
    times = {"time_left": 1000.0 * 441 / RATE, "time_right": 1000.0 * 700 / RATE}
    output = rendered("effects/stereo_delay", AUDIO, dtype, **times, feedback=0.8, tone=6000.0, mix=0.6)
    expected = crossing(AUDIO, (441, 700), 0.8 * np.eye(2), np.eye(2), 6000.0, 0.6)
    against = f"a loop over samples, {str(dtype).removeprefix('torch.')}"
    accuracy("effects/stereo_delay", against, error(output, expected), bound=BOUNDS[dtype])


@pytest.mark.parametrize("dtype", list(BOUNDS))
@pytest.mark.parametrize(("cross", "spread"), [(1.0, 1.0), (0.3, 0.4)])
def test_ping_pong_is_the_sample_loop(cross: float, spread: float, dtype: torch.dtype, accuracy: Accuracy) -> None:
    knobs = {"time": 1000.0 * 500 / RATE, "feedback": 0.7, "cross": cross, "spread": spread, "tone": 5000.0, "mix": 1.0}
    output = rendered("effects/ping_pong", AUDIO, dtype, **knobs)
    to_middle_side = 0.5 * np.array([[1.0, 1.0], [1.0, -1.0]])
    turned = np.array([[1.0, 0.0], [spread, 1.0 - spread]]) @ to_middle_side / math.sqrt(1 + spread**2)
    enter = np.array([[1.0, 1.0], [1.0, -1.0]]) @ turned
    feedback = 0.7 * np.array([[1 - cross, cross], [cross, 1 - cross]])
    expected = crossing(AUDIO, (500, 500), feedback, enter, 5000.0, 1.0)
    against = f"a loop over samples, cross {cross:g}, {str(dtype).removeprefix('torch.')}"
    accuracy("effects/ping_pong", against, error(output, expected), bound=BOUNDS[dtype])


def test_ping_pong_goes_left_right_left() -> None:
    impulse = np.zeros((1, 8000))
    impulse[0, 0] = 1.0
    output = rendered("effects/ping_pong", impulse, time=1000.0 * 1000 / RATE, feedback=0.5, tone=18000.0, mix=1.0)
    near = np.abs(output).reshape(2, 8, 1000)[:, 1:5].max(axis=2)  # each echo, a sample early to a few late
    assert (near[0] > 1e3 * near[1]).tolist() == [True, False, True, False]
    assert (near[1] > 1e3 * near[0]).tolist() == [False, True, False, True]


def test_multitap_is_the_sample_loop(accuracy: Accuracy) -> None:
    """Taps at whole samples: with a skew of 1, quarters of the pattern."""
    length, feedback, tone, spread, slope, mix = 1600, 0.6, 5000.0, 0.7, -2.0, 0.5
    knobs = {"feedback": feedback, "tone": tone, "spread": spread, "slope": slope, "mix": mix, "skew": 1.0}
    output = rendered("effects/multitap_delay", AUDIO, time=1000.0 * length / RATE, **knobs)
    expected = np.zeros_like(AUDIO)
    for side, sign in ((0, 1.0), (1, -1.0)):
        line, low_pass, again = np.zeros(length), LowPass(tone), LowPass(tone)
        taps = np.arange(1, 5)
        gains = 10 ** (slope * (taps - 1) / 20) * (1 + sign * spread * (-1.0) ** (taps - 1))
        gains /= math.sqrt(4 * (1 + spread**2))
        for t in range(AUDIO.shape[1]):
            tapped = sum(g * line[(t - length // 4 * k) % length] for g, k in zip(gains, taps, strict=True))
            line[t % length] = AUDIO[side, t] + feedback * again(line[t % length])
            expected[side, t] = math.cos(math.pi / 2 * mix) * AUDIO[side, t]
            expected[side, t] += math.sin(math.pi / 2 * mix) * low_pass(tapped)
    accuracy("effects/multitap_delay", "a loop over samples", error(output, expected), bound=-85.0)


def test_long_audio_takes_another_way_to_the_same() -> None:
    audio = 0.3 * torch.randn(1, 2, 600_000, generator=torch.Generator().manual_seed(0))
    block = blocks.create("effects/ping_pong")
    settings = {**block.defaults(), "feedback": torch.tensor([0.8]), "mix": torch.tensor([1.0])}
    whole, part = block(audio, settings)[..., :300_000], block(audio[..., :300_000], settings)
    assert 20 * torch.log10((whole - part).norm() / part.norm()) < -80.0


@pytest.mark.parametrize(
    ("name", "options"),
    [("stereo_delay", {"sync_left": "1/1"}), ("multitap_delay", {"taps": 9}), ("ping_pong", {"sync": "x"})],
)
def test_wrong_options_are_named(name: str, options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"time_left|taps=9|sync="):
        blocks.create(f"effects/{name}", **options)


def test_sync_sets_the_times() -> None:
    block = blocks.create("effects/stereo_delay", sync_left="1/8.", tempo=100.0)
    left, right = block.parameters[:2]
    assert (left.low, left.default, left.high) == pytest.approx((405.0, 450.0, 495.0))
    assert right.default == 500.0
