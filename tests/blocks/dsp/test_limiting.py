"""The limiter's stages against a naive sample loop of their definition, and their guarantee on any signal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks.dsp import limiting
from hitchain.blocks.dsp.true_peak import peak_level

RATE = 8000


def signal(seed: int, samples: int, batch: int = 2) -> torch.Tensor:
    """Noise with bursts up to 20 dB above full scale, stereo, float64."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, 2, samples, generator=generator, dtype=torch.float64)
    bursts = torch.rand(batch, 1, samples // 50 + 1, generator=generator, dtype=torch.float64).pow(3)
    return noise * bursts.repeat_interleave(50, dim=-1)[..., :samples] * 4.0


def naive_stage(needed: list[float], coefficient: float, lookahead: int) -> list[float]:
    """One stage, one sample at a time: hold what comes (and came one sample ago), release, ramp."""
    taps = [math.sin(math.pi * (k + 1) / (lookahead + 1)) ** 2 for k in range(lookahead)]
    followed, state = [], 0.0
    for t in range(1 - lookahead, len(needed)):
        held = max([needed[i] for i in range(t - 1, t + lookahead) if 0 <= i < len(needed)], default=0.0)
        state = held if held > state else state + coefficient * (held - state)
        followed.append(state)
    return [
        sum(tap * followed[t + lookahead - 1 - j] for j, tap in enumerate(taps)) / sum(taps) for t in range(len(needed))
    ]


def naive_reduction(level: list[float], slow: tuple[float, int], fast: tuple[float, int]) -> list[float]:
    needed = [max(0.0, value) for value in level]
    shared = [n if n < 6 else 6 + 6 * (1 - math.exp(-(n - 6) / 6)) for n in needed]
    first = naive_stage(shared, *slow)
    rest = [max(0.0, value - reduction) for value, reduction in zip(level, first, strict=True)]
    return [a + b for a, b in zip(first, naive_stage(rest, *fast), strict=True)]


@pytest.mark.parametrize("samples", [1, 7, 1200])
def test_agrees_with_a_sample_loop(samples: int) -> None:
    """The same definition in float64: equal to rounding, far below -90 dB."""
    level = peak_level(signal(0, samples))
    coefficient = limiting.release_coefficient(torch.tensor([30.0, 5.0], dtype=torch.float64), RATE)
    slow, fast = limiting.Stage(coefficient, 40), limiting.Stage(coefficient.new_tensor([0.1, 0.2]), 4)
    reduction = limiting.gain_reduction(level, limiting.hold(level, 40), slow, fast)
    assert samples < 100 or reduction.max() > 12.0
    for item in range(2):
        expected = naive_reduction(level[item].tolist(), (coefficient[item].item(), 40), (fast.release[item].item(), 4))
        assert np.abs(reduction[item].numpy() - np.array(expected)).max() < 1e-9


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    samples=st.sampled_from([1, 3, 50, 1000]),
    lookahead=st.sampled_from([1, 2, 13, 64]),
    release=st.floats(1.0, 1000.0),
)
def test_no_peak_passes(seed: int, samples: int, lookahead: int, release: float) -> None:
    level = peak_level(signal(seed, samples))
    coefficient = limiting.release_coefficient(torch.full((2,), release, dtype=torch.float64), RATE)
    slow, fast = limiting.Stage(coefficient, lookahead), limiting.Stage(torch.full_like(coefficient, 0.3), 3)
    reduction = limiting.gain_reduction(level, limiting.hold(level, lookahead), slow, fast)
    assert reduction.shape == level.shape
    assert (reduction > -1e-9).all()
    assert (level - reduction).max() < 1e-9


def test_below_the_ceiling_nothing_happens() -> None:
    level = torch.full((1, 500), -0.01)
    stage = limiting.Stage(torch.tensor([0.01]), 20)
    assert torch.equal(limiting.gain_reduction(level, limiting.hold(level, 20), stage, stage), torch.zeros(1, 500))


def test_release_time() -> None:
    """After a lone peak the reduction falls to 1/e in the release time."""
    level = torch.full((1, 4000), -100.0, dtype=torch.float64)
    level[0, 1000] = 5.0
    stage = limiting.Stage(limiting.release_coefficient(torch.tensor([100.0], dtype=torch.float64), RATE), 1)
    reduction = limiting.gain_reduction(level, limiting.hold(level, 1), stage, stage)[0]
    assert reduction[1001].item() == pytest.approx(5.0)
    assert reduction[1801].item() == pytest.approx(5.0 / math.e, rel=1e-6)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("window", [1, 2, 5, 16, 37, 200])
def test_sliding_maximum(window: int, parallel: bool) -> None:
    """Against numpy's windows; the gradient counts in how many windows a sample is the largest (of equals, the first).
    Whole numbers, so that equals there are."""
    values = torch.randn(3, 200, generator=torch.Generator().manual_seed(window)).mul(3.0).round().requires_grad_()
    maximum = limiting.sliding_maximum(values, window, parallel)
    windows = np.lib.stride_tricks.sliding_window_view(values.detach().numpy(), window, axis=-1)
    assert np.array_equal(maximum.detach().numpy(), windows.max(axis=-1))
    (gradient,) = torch.autograd.grad(maximum.sum(), values)
    expected = np.zeros((3, 200))
    for row, place in np.ndindex(3, 200 - window + 1):
        expected[row, place + windows[row, place].argmax()] += 1
    assert np.array_equal(gradient.numpy(), expected)


def test_gradients_agree_with_differences() -> None:
    level = (peak_level(signal(3, 300)) + 3.0).requires_grad_()
    release = torch.tensor([40.0, 200.0], dtype=torch.float64, requires_grad=True)

    def reduction(level: torch.Tensor, release: torch.Tensor) -> torch.Tensor:
        coefficient = limiting.release_coefficient(release, RATE)
        slow, fast = limiting.Stage(coefficient, 20), limiting.Stage(torch.full_like(coefficient, 0.3), 3)
        return limiting.gain_reduction(level, limiting.hold(level, 20), slow, fast)

    assert torch.autograd.gradcheck(reduction, (level, release), fast_mode=True)


@pytest.mark.parametrize(("samples", "lookahead"), [(1, 40), (300, 1), (4097, 5), (9000, 221)])
def test_compiled_and_composed_are_the_same(samples: int, lookahead: int) -> None:
    """The compiled loops and the tensor operations of other devices, over several of the loops' blocks, one item too
    quiet for the fast stage: equal to rounding in float64, values and gradients."""
    generator = torch.Generator().manual_seed(samples)
    level = torch.randn(3, samples, generator=generator, dtype=torch.float64) * 8.0 + torch.linspace(-10, 14, samples)
    level[1] -= level[1].max() - 3.0
    audio = torch.randn(3, 2, samples, generator=generator, dtype=torch.float64)
    release, gain = (torch.tensor(values, dtype=torch.float64) for values in ([30.0, 5.0, 1.0], [1.0, 0.0, -2.0]))
    weight = torch.randn(audio.shape, generator=generator, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (level, audio, release, gain)]

    def both(parallel: bool) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        coefficient = limiting.release_coefficient(release, RATE)
        slow, fast = limiting.Stage(coefficient, lookahead), limiting.Stage(torch.full_like(coefficient, 0.1), 4)
        held = limiting.hold(level, lookahead, parallel)
        reduction = limiting.gain_reduction(level, held, slow, fast, parallel)
        output = limiting.amplify(audio, gain, reduction, parallel)
        return output, torch.autograd.grad((weight * output).sum(), leaves)

    (compiled, compiled_gradients), (composed, composed_gradients) = both(False), both(True)
    torch.testing.assert_close(compiled, composed, rtol=1e-10, atol=1e-12)
    for one, other in zip(compiled_gradients, composed_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11 * float(other.abs().max() + 1.0))


def test_rounding_does_not_add_up() -> None:
    """The ramp's running sums, over 100 s of peaks in float32: where nothing is needed for long, nothing is taken."""
    level = torch.full((1, 800_000), -100.0)
    level[0, :700_000] = 12.0 * torch.rand(700_000, generator=torch.Generator().manual_seed(0))
    stage = limiting.Stage(limiting.release_coefficient(torch.tensor([10.0]), RATE), 40)
    reduction = limiting.follow(limiting.hold(level, 40), stage, shared=False)
    assert float(reduction[0, 720_000:].abs().max()) < 1e-12
    assert float((level - reduction).max()) < 1e-5


def test_items_are_apart_to_the_bit() -> None:
    """A loud item beside a quiet one does not send the quiet one through the fast stage."""
    level = peak_level(signal(5, 500).float()) + torch.tensor([[20.0], [0.0]])
    level[1] -= level[1].max() - 4.0
    stage = limiting.Stage(torch.tensor([0.01, 0.02]), 20)

    def reduction(level: torch.Tensor, stage: limiting.Stage) -> torch.Tensor:
        return limiting.gain_reduction(level, limiting.hold(level, 20), stage, stage)

    alone = limiting.Stage(stage.release[1:], 20)
    assert torch.equal(reduction(level, stage)[1:], reduction(level[1:], alone))
