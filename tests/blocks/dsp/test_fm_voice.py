"""FM voices: the compiled pass against tensor operations, and feedback against its Bessel series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import torch
from torch import Tensor

from hitchain.blocks.dsp import fm_voice
from hitchain.blocks.dsp.voices import Voices

RATE = 16000


def _given(span: int) -> tuple[Voices, dict[str, Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(2, count, generator=generator, dtype=torch.float64)

    zero = torch.zeros(2, dtype=torch.int64)
    voices = Voices(zero, zero, zero, torch.tensor([span, span]), span, RATE)
    ranges = {"since": (0.0, 0.01), "duration": (0.02, 0.03), "attack": (0.003, 0.01), "release": (0.01, 0.03)}
    knobs = {name: drawn(1, *limits)[:, 0] for name, limits in ranges.items()} | {
        "feedback": torch.tensor([0.9, 0.3], dtype=torch.float64)
    }
    tables = [drawn(4, 100.0, 900.0), drawn(4, 0.2, 1.0), drawn(4, 0.01, 0.1), drawn(4, 0.1, 0.9)]
    return voices, knobs, [*tables, drawn(6, 0.0, 3.0), drawn(4, 0.0, 1.0)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_compiled_is_the_reference(dtype: torch.dtype, tolerance: float) -> None:
    voices, knobs, tables = _given(900)
    tables[-1] = tables[-1].to(dtype)
    ours, theirs = (way(knobs, *tables, voices) for way in (fm_voice.play, fm_voice.play_reference))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_gradients_of_both_ways_agree_and_are_right() -> None:
    voices, knobs, tables = _given(500)
    inputs = [value.clone().requires_grad_() for value in (*knobs.values(), *tables)]

    def played(*values: Tensor) -> Tensor:
        return fm_voice.play(dict(zip(knobs, values[:5], strict=True)), *values[5:], voices)

    assert torch.autograd.gradcheck(played, inputs, eps=1e-8, atol=1e-3, rtol=1e-4)
    weights = torch.randn(2, 500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = torch.autograd.grad((weights * played(*inputs)).sum(), inputs)
    reference = fm_voice.play_reference(dict(zip(knobs, inputs[:5], strict=True)), *inputs[5:], voices)
    theirs = torch.autograd.grad((weights * reference).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("feedback", [0.2, 0.6, 0.9])
def test_feedback_has_the_partials_of_keplers_equation(feedback: float, accuracy: Callable[..., None]) -> None:
    """sin u = sum over k of 2 J_k(k b) / (k b) sin kx (Bessel, 1824; for FM: Tomisawa, US patent 4249447)."""
    phase = torch.linspace(-np.pi, np.pi, 1025, dtype=torch.float64)[:-1]
    wave = torch.sin(fm_voice.kepler(phase, torch.full_like(phase, feedback))).numpy()
    k = np.arange(1, 2000)
    series = (2.0 * scipy.special.jv(k, k * feedback) / (k * feedback)) @ np.sin(k[:, None] * phase.numpy())
    error = 20.0 * np.log10(np.linalg.norm(wave - series) / np.linalg.norm(series))
    accuracy("instruments/fm", f"feedback {feedback:g} by its Bessel series", error, bound=-120.0)
