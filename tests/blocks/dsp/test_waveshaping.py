"""The antialiased curve against numerical integration of the curve, and against itself in other forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hitchain.blocks.dsp import resampling
from hitchain.blocks.dsp.waveshaping import clip, clip_mean, clip_mean_parallel, mean_inverse

UPPER, LOWER = 0.8, 1.2


def curve(level: float) -> float:
    """f(u), written here again."""
    return level / math.hypot(1.0, level / (UPPER if level >= 0 else LOWER))


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


@given(
    audio=st.lists(st.floats(-3, 3).filter(lambda v: v == 0 or abs(v) > 1e-3), min_size=1, max_size=8),
    gain=st.floats(-50, 50).filter(lambda v: abs(v) > 0.01),
    bias=st.floats(-1, 1),
)
def test_each_sample_is_the_mean_of_the_curve_over_the_step(audio: list[float], gain: float, bias: float) -> None:
    result = clip_mean(torch.tensor([[audio]], dtype=torch.float64), one(gain), one(bias), UPPER, LOWER)[0, 0]
    before = bias
    for sample, value in zip(audio, result.tolist(), strict=True):
        level = gain * sample + bias
        mean = curve(level)
        if abs(level - before) > 1e-6:
            kink = [0.0] if before * level < 0 else None
            area, _ = scipy.integrate.quad(curve, before, level, points=kink, limit=200)
            mean = area / (level - before)
        assert value == pytest.approx(mean - curve(bias), abs=1e-7)  # what the quadrature reaches
        before = level


def test_curve_is_the_documented_one_with_its_ceilings() -> None:
    levels = torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected = torch.tensor([curve(level) for level in levels.tolist()], dtype=torch.float64)
    assert torch.allclose(clip(levels, UPPER, LOWER), expected, atol=1e-14)
    assert float(clip(one(1e6), UPPER, LOWER)) == pytest.approx(UPPER)
    assert float(clip(one(-1e6), UPPER, LOWER)) == pytest.approx(-LOWER)


def inputs(samples: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    audio = torch.randn(2, 2, samples, dtype=torch.float64, requires_grad=True)
    gain = torch.tensor([2.0, -30.0], dtype=torch.float64, requires_grad=True)
    bias = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    return audio, gain, bias


@pytest.mark.parametrize("function", [clip_mean, clip_mean_parallel])
def test_gradients_agree_with_finite_differences(function) -> None:  # type: ignore[no-untyped-def]
    assert torch.autograd.gradcheck(lambda *given: function(*given, UPPER, LOWER), inputs())
    assert torch.autograd.gradcheck(lambda *given: function(*given, UPPER, LOWER), inputs(samples=1))


def test_compiled_and_parallel_forms_agree() -> None:
    given = inputs(500)
    weights = torch.randn(2, 2, 500, dtype=torch.float64)
    compiled, parallel = (form(*given, UPPER, LOWER) for form in (clip_mean, clip_mean_parallel))
    assert torch.allclose(compiled, parallel, atol=1e-13)
    for mine, theirs in zip(
        torch.autograd.grad((compiled * weights).sum(), given),
        torch.autograd.grad((parallel * weights).sum(), given),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_single_precision_is_close_however_hard_it_is_driven() -> None:
    torch.manual_seed(0)
    audio = torch.sin(torch.arange(4000, dtype=torch.float64) * 0.01)[None, None]  # neighbours that hardly differ
    for gain in (0.01, 1.0, 1000.0):
        double = clip_mean(audio, one(gain), one(0.3))
        single = clip_mean(audio.float(), one(gain).float(), one(0.3).float())
        assert float((double - single).abs().max()) < 2e-7 + 1e-7 * gain  # rounding of the input, amplified


def test_silence_gives_exact_silence_at_any_bias() -> None:
    bias = torch.linspace(-1, 1, 11)
    silence = clip_mean(torch.zeros(11, 1, 5), torch.full((11,), 30.0), bias, UPPER, LOWER)
    assert not silence.any()


def test_a_sample_early_in_time_never_hears_a_later_one() -> None:
    audio, gain, bias = inputs(10)
    (grad,) = torch.autograd.grad(clip_mean(audio, gain, bias)[0, 0, 4], audio)
    assert (grad[0, 0, 3:5] != 0).all()
    assert not grad[0, 0, 5:].any()
    assert not grad[0, 0, :3].any()
    assert not grad[0, 1].any()
    assert not grad[1].any()


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("stages", [1, 2])
def test_inverse_undoes_delay_and_droop_of_small_signals(factor: int, stages: int) -> None:
    n_fft = 4000
    time = torch.arange(n_fft, dtype=torch.float64)
    audio = 1e-4 * (torch.sin(0.3 * math.pi * time) * torch.hann_window(n_fft, dtype=torch.float64))[None, None]
    level = resampling.interpolate(torch.fft.rfft(audio), n_fft, factor)
    for _ in range(stages):
        level = clip_mean(level, one(1.0), one(0.0))
    spectrum = resampling.decimate(level, n_fft, factor) * mean_inverse(n_fft, factor, stages, like=audio)
    result = torch.fft.irfft(spectrum, n=n_fft)
    assert float((result - audio).abs().max()) < 1e-4 * 1e-5  # the sigmoid bends by 1e-8 / 2 at this level


def test_antialiasing_removes_what_folds_back() -> None:
    """A clipped sine on a bin: what is off the harmonics is aliasing. Only the lowest quarter is heard."""
    samples, cycles = 4096, 61
    audio = torch.sin(2 * math.pi * cycles / samples * torch.arange(samples, dtype=torch.float64))[None, None]
    # twice through, the second time in the steady state
    antialiased = clip_mean(torch.cat([audio, audio], dim=-1), one(10.0), one(0.0))[0, 0, samples:]
    plain = clip(10.0 * audio)[0, 0]

    def folded(signal: Tensor) -> float:
        power = np.abs(np.fft.rfft(signal.numpy()))[: samples // 8] ** 2
        harmonics = [cycles * order for order in range(1, len(power) // cycles + 1)]
        return float(10 * np.log10((power.sum() - power[harmonics].sum()) / power[harmonics].sum()))

    assert folded(antialiased) < folded(plain) - 15.0
