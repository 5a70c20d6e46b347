"""First-order recursions: against naive loops, torchcomp and finite differences; the parallel form against the loop."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from hitchain.blocks.dsp.recursion import ballistics, linear_recurrence

BOTH = pytest.mark.parametrize("parallel", [False, True])


def drawn(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64) * (high - low) + low


def naive_linear(a: Tensor, b: Tensor, initial: float) -> list[float]:
    state, output = initial, []
    for factor, drive in zip(a.tolist(), b.tolist(), strict=True):
        state = factor * state + drive
        output.append(state)
    return output


def naive_ballistics(x: Tensor, attack: float, release: float, initial: float) -> list[float]:
    state, output = initial, []
    for level in x.tolist():
        state = state + (attack if level > state else release) * (level - state)
        output.append(state)
    return output


@BOTH
@given(samples=st.integers(1, 70), seed=st.integers(0, 1000))
def test_linear_recurrence_is_the_naive_loop(parallel: bool, samples: int, seed: int) -> None:
    a, b, initial = drawn(3, samples, seed=seed), drawn(3, samples, seed=seed + 1), drawn(3, seed=seed + 2)
    output = linear_recurrence(a, b, initial, parallel=parallel)
    for row in range(3):
        expected = torch.tensor(naive_linear(a[row], b[row], float(initial[row])), dtype=torch.float64)
        torch.testing.assert_close(output[row], expected, rtol=1e-12, atol=1e-12)


@BOTH
@given(samples=st.integers(1, 200), seed=st.integers(0, 1000))
def test_ballistics_is_the_naive_loop(parallel: bool, samples: int, seed: int) -> None:
    x, initial = drawn(2, samples, seed=seed), drawn(2, seed=seed + 1)
    attack, release = drawn(2, seed=seed + 2, low=0.001), drawn(2, seed=seed + 3, low=0.001)
    output = ballistics(x, attack, release, initial, parallel=parallel)
    for row in range(2):
        expected = naive_ballistics(x[row], float(attack[row]), float(release[row]), float(initial[row]))
        torch.testing.assert_close(output[row], torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=1e-12)


@BOTH
@pytest.mark.parametrize("columns", [None, 1, 9])
def test_linear_recurrence_gradients(parallel: bool, columns: int | None) -> None:
    shape = (2, 3) if columns is None else (2, 3, columns)
    inputs = [tensor.requires_grad_() for tensor in (drawn(*shape), drawn(2, 3, 9, seed=1), drawn(2, 3, seed=2))]
    assert gradcheck(lambda a, b, i: linear_recurrence(a, b, i, parallel=parallel), inputs)


@BOTH
@pytest.mark.parametrize("attack_columns", [None, 1, 9])
@pytest.mark.parametrize("release_columns", [None, 9])
def test_ballistics_gradients(parallel: bool, attack_columns: int | None, release_columns: int | None) -> None:
    def coefficient(columns: int | None, seed: int) -> Tensor:
        shape = (2,) if columns is None else (2, columns)
        return drawn(*shape, seed=seed, low=0.05, high=0.95).requires_grad_()

    level, initial = drawn(2, 9, seed=3).requires_grad_(), drawn(2, seed=4).requires_grad_()
    attack, release = coefficient(attack_columns, 5), coefficient(release_columns, 6)
    inputs = (level, attack, release, initial)
    assert gradcheck(lambda x, a, r, i: ballistics(x, a, r, i, parallel=parallel), inputs)


def test_ballistics_is_torchcomp_with_its_gradients() -> None:
    """torchcomp's attack is downwards (it follows a gain), so the two coefficients change places."""
    torchcomp = pytest.importorskip(
        "torchcomp", reason="compared with torchcomp, of the extra [peers], where it is installed"
    )
    gain = drawn(3, 2000, low=0.1)
    attack, release = drawn(3, seed=1, low=0.05, high=0.5), drawn(3, seed=2, low=0.001, high=0.05)
    results = []
    for ours in (True, False):
        x, down, up = (tensor.clone().requires_grad_() for tensor in (gain, attack, release))
        start = torch.ones(3, dtype=torch.float64)
        y = ballistics(x, up, down, start) if ours else torchcomp.core.compressor_core(x, start, down, up)
        weights = drawn(3, 2000, seed=7)
        results.append((y.detach(), *torch.autograd.grad((y * weights).sum(), (x, down, up))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def audio_like(samples: int) -> Tensor:
    """Decibels of a beating tone: thousands of switches, long stretches of release."""
    time = torch.arange(samples, dtype=torch.float64) / 44100
    tone = torch.sin(2 * torch.pi * 220 * time) * torch.cos(2 * torch.pi * 1.5 * time)
    return 20 * torch.log10(torch.stack([tone, tone.roll(1000)]).abs().clamp_min(1e-6))


def test_parallel_form_is_the_loop_on_a_long_signal_with_gradients() -> None:
    results = []
    for parallel in (False, True):
        level = audio_like(30000).requires_grad_()
        attack = torch.tensor([0.02, 0.5], dtype=torch.float64, requires_grad=True)
        release = torch.tensor([0.0003, 0.001], dtype=torch.float64, requires_grad=True)
        output = ballistics(level, attack, release, parallel=parallel)
        results.append((output.detach(), *torch.autograd.grad(output.square().sum(), (level, attack, release))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_single_precision_reaches_its_target_at_slow_speeds() -> None:
    """Held in float32 a state stops where coefficient * gap is below half a unit in the last place: here 0.1 off."""
    level = torch.full((1, 400_000), 10.0)
    output = ballistics(level, 2e-5, 2e-5)
    expected = 10.0 * (1.0 - (1.0 - 2e-5) ** 400_000)
    assert float(output[0, -1]) == pytest.approx(expected, rel=1e-6)


@BOTH
def test_shapes_and_empty_input(parallel: bool) -> None:
    assert ballistics(torch.zeros(2, 3, 5), 0.5, 0.1, parallel=parallel).shape == (2, 3, 5)
    assert ballistics(torch.ones(5), torch.tensor(0.5), 0.1, parallel=parallel).shape == (5,)
    assert linear_recurrence(0.5, torch.zeros(2, 0), parallel=parallel).shape == (2, 0)
    assert linear_recurrence(0.5, torch.ones(1, 1), 3.0, parallel=parallel).item() == 2.5


def test_two_threads_may_run_it_at_once() -> None:
    level = drawn(4, 20000)
    expected = ballistics(level, 0.1, 0.01)
    outputs: list[Tensor] = []
    threads = [threading.Thread(target=lambda: outputs.append(ballistics(level, 0.1, 0.01))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == 4
    assert all(torch.equal(output, expected) for output in outputs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_run_it() -> None:
    """A data loader's worker is forked from a process whose threads it does not inherit."""
    level = drawn(4, 1000)
    ballistics(level, 0.1, 0.01)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.isfinite(ballistics(level, 0.1, 0.01)).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_a_gpu() -> None:
    level = audio_like(20000)
    torch.testing.assert_close(ballistics(level.cuda(), 0.02, 0.001).cpu(), ballistics(level, 0.02, 0.001))
