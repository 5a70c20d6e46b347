"""The plate against a loop over samples of the published figure."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.signal
import torch

from hitchain import blocks

RATE = 29761  # at which the published delays are whole samples
Accuracy = Callable[..., None]


class Line:
    """A delay line that can be tapped: `line[n]` is what went in n samples before the last."""

    def __init__(self, length: int) -> None:
        self.data, self.at = [0.0] * (length + 2), 0

    def push(self, value: float) -> None:
        self.at = (self.at + 1) % len(self.data)
        self.data[self.at] = value

    def __getitem__(self, n: int) -> float:
        return self.data[(self.at - n) % len(self.data)]


class AllPass(Line):
    """Dattorro's lattice."""

    def __init__(self, length: int, coefficient: float) -> None:
        super().__init__(length)
        self.length, self.coefficient = length, coefficient

    def __call__(self, x: float) -> float:
        late = self[self.length - 1]
        v = x - self.coefficient * late
        self.push(v)
        return late + self.coefficient * v


class LowPass:
    def __init__(self, frequency: float) -> None:
        k = math.tan(math.pi * frequency / RATE)
        self.b, self.pole, self.x, self.y = k / (1 + k), (1 - k) / (1 + k), 0.0, 0.0

    def __call__(self, x: float) -> float:
        self.y, self.x = self.pole * self.y + self.b * (x + self.x), x
        return self.y


def figure(audio: np.ndarray, decay: float, damping: float, bandwidth: float) -> np.ndarray:
    """Figure 1 and table 2 of the paper; nodes by their numbers there."""
    enter, damp_left, damp_right = LowPass(bandwidth), LowPass(damping), LowPass(damping)
    diffusers = [AllPass(142, 0.75), AllPass(107, 0.75), AllPass(379, 0.625), AllPass(277, 0.625)]
    ap_left, ap_right = AllPass(672, -0.70), AllPass(908, -0.70)
    n24_30, n48_54 = Line(4453), Line(4217)
    n31_33, n55_59 = AllPass(1800, 0.50), AllPass(2656, 0.50)
    n33_39, n59_63 = Line(3720), Line(3163)
    output = np.zeros((2, len(audio)))
    for t, x in enumerate(audio):
        s = enter(float(x))
        for diffuser in diffusers:
            s = diffuser(s)
        end_left, end_right = n33_39[3719], n59_63[3162]
        mid_left, mid_right = damp_left(n24_30[4452]), damp_right(n48_54[4216])
        n24_30.push(ap_left(s + decay * end_right))
        n48_54.push(ap_right(s + decay * end_left))
        n33_39.push(n31_33(decay * mid_left))
        n59_63.push(n55_59(decay * mid_right))
        left = n48_54[266] + n48_54[2974] - n55_59[1913] + n59_63[1996] - n24_30[1990] - n31_33[187] - n33_39[1066]
        right = n24_30[353] + n24_30[3627] - n31_33[1228] + n33_39[2673] - n48_54[2111] - n55_59[335] - n59_63[121]
        output[:, t] = 0.6 * left, 0.6 * right
    return output


def test_plate_is_the_published_figure(accuracy: Accuracy) -> None:
    low = scipy.signal.firwin(255, 0.86, window=("kaiser", 12.0))  # above 0.45 of the rate the block rolls off
    audio = scipy.signal.lfilter(low, 1.0, np.random.default_rng(0).uniform(-1.0, 1.0, 2000))
    audio = np.concatenate([audio, np.zeros(20000)])
    expected = figure(audio, 0.85, 5000.0, 9000.0)
    block = blocks.create("effects/plate", sample_rate=RATE)
    knobs = {"decay": 0.85, "damping": 5000.0, "bandwidth": 9000.0, "pre_delay": 0.0, "mix": 1.0}
    for dtype, bound in ((torch.float64, -80.0), (torch.float32, -75.0)):  # the roll-off, and -95 dB wraps around
        settings = {name: torch.tensor([value], dtype=dtype) for name, value in knobs.items()}
        output = block(torch.tensor(audio[None, None], dtype=dtype), settings)[0].double().numpy()
        error = 20 * math.log10(np.abs(output - expected).max() / np.abs(expected).max())
        accuracy("effects/plate", f"a loop over samples, {str(dtype).removeprefix('torch.')}", error, bound)


def test_a_longer_decay_rings_longer_and_pre_delay_waits() -> None:
    impulse = torch.zeros(3, 1, 44100)
    impulse[..., 0] = 1.0
    block = blocks.create("effects/plate")
    settings = {**block.defaults(3), "mix": torch.ones(3), "decay": torch.tensor([0.3, 0.7, 0.7])}
    settings["pre_delay"] = torch.tensor([0.0, 0.0, 100.0])
    output = block(impulse, settings)
    late = output[..., 20000:].square().sum(dim=(1, 2))
    assert late[1] > 30 * late[0]
    assert output[2, :, :4300].abs().max() < 1e-4 < output[1, :, :4300].abs().max()
