"""The dynamic equaliser and the de-esser against a loop over samples, and their standing gain against scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks
from hitchain.blocks.dsp.moving_peaks import moved_parts
from hitchain.blocks.effects.dynamic_eq import BANDS
from hitchain.blocks.parameter import SIDECHAIN

Accuracy = Callable[..., None]
RATE = 44100


def band_pass(frequency: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """By scipy.signal.bilinear of (s w/Q) / (s^2 + s w/Q + w^2), the centre prewarped."""
    w = 2 * RATE * math.tan(math.pi * frequency / RATE)
    analogue_q = q * math.sin(2 * math.pi * frequency / RATE) / (2 * math.tan(math.pi * frequency / RATE))
    analogue_q /= math.cos(math.pi * frequency / RATE) ** 2  # the cookbook's Q is that of the prototype
    return scipy.signal.bilinear([w / analogue_q, 0.0], [1.0, w / analogue_q, w * w], fs=RATE)


def loop(audio: np.ndarray, bands: list[dict[str, float]], key: np.ndarray | None = None) -> np.ndarray:
    """(channels, samples), one sample after the other."""
    output = audio.copy()
    for knobs in bands:
        b, a = band_pass(knobs["frequency"], knobs["q"])
        part = scipy.signal.lfilter(b, a, audio)
        heard = part if key is None else scipy.signal.lfilter(b, a, key)
        rise, fall = (1 - math.exp(-1000 / (knobs[time] * RATE)) for time in ("attack", "release"))
        state = 0.0
        for t in range(audio.shape[1]):
            level = 20 * math.log10(max(np.abs(heard[:, t]).max(), 1e-6))
            over = 3.0 * math.log1p(math.exp((level - knobs["threshold"]) / 3.0))
            state += (rise if over > state else fall) * (over - state)
            output[:, t] += (10 ** (knobs["range"] * state / (state + 6.0) / 20) - 1) * part[:, t]
    return output


def swell(samples: int = 6000) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.repeat(10 ** (random.uniform(-30, 0, 6) / 20), samples // 6) * random.uniform(-1, 1, (2, samples))


def with_knobs(name: str, **knobs: float) -> dict[str, torch.Tensor]:
    settings = blocks.create(name).defaults(1, torch.float64)
    for key, value in knobs.items():
        settings[key].fill_(value)
    return settings


def error(output: torch.Tensor, expected: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(output[0].numpy() - expected).max() / np.abs(expected).max() + 1e-20))


@pytest.mark.parametrize("listens", [False, True])
def test_dynamic_eq_is_the_sample_loop(listens: bool, accuracy: Accuracy) -> None:
    """-120 dB in float64: the same equations, the filter in another form."""
    spans = dict(zip(BANDS, (9.0, -12.0, -6.0), strict=True))
    settings = with_knobs(
        "effects/dynamic_eq", **{f"{name}_range": span for name, span in spans.items()}, attack=3.0, release=30.0
    )
    shared = {"q": 1.0, "threshold": -30.0, "attack": 3.0, "release": 30.0}
    bands = [{"frequency": centre, "range": spans[name], **shared} for name, centre in BANDS.items()]
    audio, other = swell(), swell()[:, ::-1].copy() if listens else None
    if other is not None:
        settings[SIDECHAIN] = torch.tensor(other[None])
    output = blocks.create("effects/dynamic_eq")(torch.tensor(audio[None]), settings)
    how = "a loop over samples, sidechain" if listens else "a loop over samples"
    accuracy("effects/dynamic_eq", how, error(output, loop(audio, bands, other)), bound=-120.0)


def test_de_esser_is_the_sample_loop(accuracy: Accuracy) -> None:
    """-120 dB in float64: the same equations, the filter in another form."""
    knobs = {"frequency": 5000.0, "threshold": -30.0, "range": 14.0, "attack": 1.0, "release": 40.0}
    settings = with_knobs("effects/de_esser", **knobs, width=2.0)
    band = {**knobs, "range": -14.0, "q": 2.0 / 3.0}  # two octaves: sqrt(4) / (4 - 1)
    output = blocks.create("effects/de_esser")(torch.tensor(swell()[None]), settings)
    accuracy("effects/de_esser", "a loop over samples", error(output, loop(swell(), [band])), bound=-120.0)


def test_a_loud_band_settles_at_its_range(accuracy: Accuracy) -> None:
    """A sine 30 dB above the threshold at the centre: 30 / 36 of the range, measured by its level once settled.

    The level of a sine falls at every zero crossing, and a follower with 63 % in 0.5 ms and in 300 ms keeps to its
    peaks within 0.1 dB.
    """
    time = np.arange(2 * RATE) / RATE
    sine = torch.tensor(np.sin(2 * math.pi * 400.0 * time))[None, None]
    settings = with_knobs("effects/dynamic_eq", mid_threshold=-30.0, mid_range=-12.0, attack=0.5, release=300.0)
    output = blocks.create("effects/dynamic_eq")(sine, settings)[0, 0, RATE:].numpy()
    level = 10 * math.log10(2 * np.mean(output**2))
    accuracy("effects/dynamic_eq", "its range on a steady sine", abs(level + 12.0 * 30 / 36), bound=0.2, unit="dB")


def test_a_range_of_0_is_a_wire() -> None:
    audio = torch.tensor(swell()[None])
    block = blocks.create("effects/dynamic_eq")
    assert torch.equal(block(audio, block.defaults(1, torch.float64)), audio)


def test_sibilants_are_turned_down_and_the_voice_is_not() -> None:
    """A tone at 200 Hz with bursts around 6.5 kHz: the bursts fall by 6 to 9 dB, the tone stays within 0.1 dB."""
    time = np.arange(RATE) / RATE
    bursts = (time % 0.25 < 0.12) * 0.4 * np.sin(2 * math.pi * 6500.0 * time)
    voice = 0.3 * np.sin(2 * math.pi * 200.0 * time)
    settings = with_knobs("effects/de_esser")
    output = blocks.create("effects/de_esser")(torch.tensor(voice + bursts)[None, None], settings)[0, 0].numpy()

    def tone(signal: np.ndarray, frequency: float) -> float:
        return 20 * math.log10(abs(np.mean(signal * np.exp(-2j * math.pi * frequency * time))))

    assert abs(tone(output, 200.0) - tone(voice, 200.0)) < 0.1
    assert -9.0 < tone(output, 6500.0) - tone(bursts, 6500.0) < -6.0


@pytest.mark.parametrize("channels", [1, 2])
def test_compiled_and_composed_are_the_same(channels: int) -> None:
    """Over several blocks of samples, with silence and channels that are equal here and there: to rounding."""
    generator = torch.Generator().manual_seed(0)
    parts = 0.3 * torch.randn(3, channels, 2500, generator=generator, dtype=torch.float64)
    parts[..., 500:600] = parts[:, :1, 500:600]
    parts[..., 600:700] = 0.0
    knobs = [[-20.0, -30.0, 0.0], [12.0, -18.0, 18.0], [0.1, 0.01, 0.001], [0.001, 0.02, 0.0001]]
    leaves = [parts.requires_grad_(), *(torch.tensor(knob).double().requires_grad_() for knob in knobs)]
    weight = torch.randn(parts.shape, generator=generator, dtype=torch.float64)
    results = []
    for parallel in (False, True):
        output = moved_parts(*leaves, parallel=parallel)
        results.append((output, *torch.autograd.grad((weight * output).sum(), leaves)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12 * float(other.detach().abs().max()))
