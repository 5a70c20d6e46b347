"""The compressor against a sample loop written from its equations, and its smoother against torchcomp."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hitchain.blocks.dsp import dynamics
from hitchain.blocks.effects.compressor import Compressor
from hitchain.blocks.parameter import SIDECHAIN

Accuracy = Callable[..., None]
RATE = 44100


def loop(audio: np.ndarray, knobs: dict[str, float], rate: int) -> np.ndarray:
    """(channels, samples), one sample after the other in double precision."""
    state, output = 0.0, np.empty_like(audio)
    up, down = (1.0 - math.exp(-1.0 / (0.001 * knobs[name] * rate)) for name in ("attack", "release"))
    for t in range(audio.shape[1]):
        level = 20 * math.log10(max(np.abs(audio[:, t]).max(), 1e-6))
        over, knee = level - knobs["threshold"], knobs["knee"]
        if 2 * over < -knee:
            above = 0.0
        elif 2 * over <= knee:
            above = (over + knee / 2) ** 2 / (2 * knee)
        else:
            above = over
        reduction = above * (1 - 1 / knobs["ratio"])
        state += (up if reduction > state else down) * (reduction - state)
        gain = 10 ** ((knobs["makeup"] - state) / 20)
        output[:, t] = audio[:, t] * (1 - knobs["mix"] + knobs["mix"] * gain)
    return output


@given(seed=st.integers(0, 10000), channels=st.sampled_from([1, 2]), rate=st.sampled_from([8000, 44100, 192000]))
def test_compressor_is_the_sample_loop_within_90_db(seed: int, channels: int, rate: int) -> None:
    random = np.random.default_rng(seed)
    swell = np.repeat(10 ** (random.uniform(-50, 0, 8) / 20), 500)
    audio = swell * random.uniform(-1, 1, (channels, 4000))
    for dtype in (torch.float32, torch.float64):
        settings, knobs = {}, {}
        for knob in Compressor.parameters:
            position = torch.tensor([random.uniform()], dtype=torch.float64)
            settings[knob.name] = knob.from_unit(position).to(dtype)
            knobs[knob.name] = float(settings[knob.name])
        output = Compressor(rate)(torch.tensor(audio[None], dtype=dtype), settings)[0].numpy()
        expected = loop(audio, knobs, rate)
        assert np.abs(output - expected).max() < 10 ** (-90 / 20) * np.abs(expected).max()


def test_a_loud_bar_is_the_sample_loop(accuracy: Accuracy) -> None:
    """-90 dB in float32: the rounding of the samples is -144 dB, that of the level and the exponential 40 dB more."""
    random = np.random.default_rng(0)
    audio = (np.repeat(10 ** (random.uniform(-50, 0, 8) / 20), 500) * random.uniform(-1, 1, (2, 4000))).astype("f4")
    knobs = {knob.name: knob.default for knob in Compressor.parameters} | {"threshold": -30.0, "mix": 0.8}
    output = Compressor()(torch.tensor(audio[None]), {key: torch.tensor([value]) for key, value in knobs.items()})
    expected = loop(audio.astype("f8"), knobs, RATE)
    error = 20 * np.log10(np.abs(output[0].numpy() - expected).max() / np.abs(expected).max())
    accuracy("effects/compressor", "a loop over samples", error, bound=-90.0)


def tone(level: float, seconds: float = 1.0) -> torch.Tensor:
    """A square wave: its peak level is the same at every sample."""
    time = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    return (10 ** (level / 20) * torch.sign(torch.sin(2 * math.pi * 100 * time + 0.1)))[None, None]


def settings_of(**knobs: float) -> dict[str, torch.Tensor]:
    settings = Compressor().defaults(1, torch.float64)
    for name, value in knobs.items():
        settings[name].fill_(value)
    return settings


@pytest.mark.parametrize(("level", "expected"), [(-40.0, -40.0), (-12.0, -18.0), (0.0, -15.0)])
def test_static_curve_in_decibels(level: float, expected: float) -> None:
    """Threshold -20, ratio 4, hard knee: 8 dB over comes out 2 dB over, 20 dB over 5 dB over."""
    output = Compressor()(tone(level), settings_of(threshold=-20.0, ratio=4.0, knee=0.1, attack=1.0))
    assert 20 * math.log10(float(output[0, 0, -1].abs())) == pytest.approx(expected, abs=0.01)


def test_attack_and_release_are_what_the_knobs_say() -> None:
    """63 % of the way, in decibels, after the knob's time."""
    audio = torch.cat([tone(-60.0, 0.1), tone(0.0, 1.0), tone(-60.0, 1.0)], dim=-1)
    knobs = settings_of(threshold=-20.0, ratio=2.0, knee=0.1, attack=30.0, release=200.0)
    reduction = Compressor().reduction(audio, knobs)[0]
    start, end = int(0.1 * RATE), int(1.1 * RATE)
    whole = 10.0  # 20 dB over at 2:1
    assert float(reduction[start + round(0.030 * RATE) - 1]) == pytest.approx(whole * (1 - math.exp(-1)), rel=1e-3)
    assert float(reduction[end + round(0.200 * RATE) - 1]) == pytest.approx(whole * math.exp(-1), rel=1e-3)


def test_channels_are_linked_by_the_loudest() -> None:
    audio = torch.cat([tone(0.0), tone(-40.0)], dim=1)
    output = Compressor()(audio, settings_of(threshold=-20.0, ratio=4.0))
    gains = output[0] / audio[0]
    torch.testing.assert_close(gains[0], gains[1], rtol=1e-9, atol=0)
    assert float(gains[1, -1]) < 0.5


def test_smoother_is_torchcomps_on_the_same_gain() -> None:
    """torchcomp smooths the linear gain, downwards by its attack; ours is the same follower, here given that gain."""
    torchcomp = pytest.importorskip(
        "torchcomp", reason="compared with torchcomp, of the extra [peers], where it is installed"
    )
    audio = torch.rand(2, 3000, dtype=torch.float64).clamp_min(1e-3)
    attack, release = torch.tensor([0.05, 0.3]).double(), torch.tensor([0.001, 0.01]).double()
    ratio, threshold = torch.tensor([4.0, 2.0]).double(), torch.tensor([-12.0, -20.0]).double()
    expected = torchcomp.compexp_gain(audio, threshold, ratio, -200.0, 0.5, attack, release)
    level = 20 * torch.log10(audio)
    static = dynamics.slope(ratio)[:, None] * dynamics.overshoot(level, threshold, torch.zeros(2).double())
    ours = dynamics.ballistics(10 ** (-static / 20), release, attack, 1.0)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["attack", "release"])
def test_time_constants_have_live_gradients(name: str) -> None:
    settings = settings_of(threshold=-30.0)
    settings[name].requires_grad_()
    audio = torch.cat([tone(0.0, 0.05), tone(-30.0, 0.2)], dim=-1)
    (gradient,) = torch.autograd.grad(Compressor()(audio, settings).square().sum(), settings[name])
    assert float(gradient.abs()) > 1e-3


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("attack", [0.5, 300.0])
def test_compiled_and_composed_are_the_same(channels: int, attack: float) -> None:
    """The compiled passes and the tensor operations of other devices, over several blocks of samples, with channels
    that are equal here and there (and share the gradient), silence, and an attack faster and slower than the release:
    equal to rounding in float64, values and gradients."""
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, channels, 2500, generator=generator, dtype=torch.float64)
    audio[..., 500:600] = audio[:, :1, 500:600]
    audio[..., 600:700] = 0.0
    settings = {name: value.repeat(2) for name, value in settings_of(attack=attack, release=50.0, mix=0.7).items()}
    leaves = [audio.requires_grad_(), *(value.requires_grad_() for value in settings.values())]
    weight = torch.randn(audio.shape, generator=generator, dtype=torch.float64)

    def both(parallel: bool) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        output = dynamics.compress(audio, **settings, sample_rate=RATE, parallel=parallel)
        return output, torch.autograd.grad((weight * output).sum(), leaves)

    (compiled, compiled_gradients), (composed, composed_gradients) = both(False), both(True)
    torch.testing.assert_close(compiled, composed, rtol=1e-12, atol=1e-12)
    for one, other in zip(compiled_gradients, composed_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12 * float(other.abs().max()))


def test_a_sidechain_is_the_level_that_counts() -> None:
    """Of a track that is shorter, mono and one for all candidates; against the compressor's own reduction of it."""
    block = Compressor()
    settings = {name: value.repeat(2) for name, value in settings_of(threshold=-30.0, makeup=3.0).items()}
    audio = 0.1 * torch.randn(2, 2, 3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = tone(-3.0, 2000 / RATE)
    output = block(audio, {**settings, SIDECHAIN: other})
    padded = torch.nn.functional.pad(other, (0, 1000)).expand(2, -1, -1)
    reduction = block.reduction(padded, settings)
    torch.testing.assert_close(output, audio * 10 ** ((3.0 - reduction) / 20).unsqueeze(1))
    assert float(reduction[0, 1999]) > 10.0
    assert float(reduction[0, 2999]) < float(reduction[0, 1999])
