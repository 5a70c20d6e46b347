"""Oscillators: the compiled loops against tensor operations and quadrature, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import torch

from hitchain.blocks.dsp import oscillators

RATE = 44100


def _double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _vibrato() -> list[torch.Tensor]:
    """since, frequency, depth, rate, onset rate"""
    return [_double(0.0031, 1.2), _double(441.3, 97.0), _double(0.03, 0.01), _double(6.0, 0.2), _double(5.0, 80.0)]


def test_vibrato_phase_is_the_integral_of_the_frequency() -> None:
    since, frequency, depth, rate, onset_rate = (float(value[0]) for value in _vibrato())

    def instantaneous(t: float) -> float:
        return frequency * (1 + depth * (1 - np.exp(-onset_rate * t)) * np.sin(2 * np.pi * rate * t))

    turns = oscillators.vibrato_phase(*_vibrato(), RATE, 20000)[0]
    for n in (0, 63, 64, 19999):
        expected, _ = scipy.integrate.quad(instantaneous, 0.0, since + n / RATE, limit=500, epsabs=1e-11)
        assert float(turns[n]) == pytest.approx(expected, abs=1e-8)


def _bank() -> list[torch.Tensor]:
    """phase, ratio, amplitude, decay, offset"""
    generator = torch.Generator().manual_seed(0)
    phase = torch.rand(2, 45, dtype=torch.float64, generator=generator).cumsum(1) * 0.02
    draws = [torch.rand(2, 5, dtype=torch.float64, generator=generator) for _ in range(3)]
    return [phase, 1.0 + 8.0 * draws[0], draws[1] - 0.5, 0.3 * draws[2], _double(0.3, 7.9)]


def _tables() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tables = torch.randn(2, 16, dtype=torch.float64, generator=generator)
    return [tables, torch.rand(2, 40, dtype=torch.float64, generator=generator) * 3.0, _double(0.5, 1.01)]


CASES = {
    "vibrato_phase": (
        lambda *v: oscillators.vibrato_phase(*v, RATE, 150),
        lambda *v: oscillators.vibrato_phase_reference(*v, RATE, 150),
        _vibrato,
    ),
    "harmonic_bank": (
        lambda *v: oscillators.harmonic_bank(*v, 8),
        lambda *v: oscillators.harmonic_bank_reference(*v, 8),
        _bank,
    ),
    "lookup": (oscillators.lookup, oscillators.lookup_reference, _tables),
}


@pytest.mark.parametrize("case", CASES)
def test_compiled_loops_and_their_gradients_equal_tensor_operations(case: str) -> None:
    compiled, reference, inputs = CASES[case]
    ours = [value.requires_grad_() for value in inputs()]
    theirs = [value.requires_grad_() for value in inputs()]
    audio, expected = compiled(*ours), reference(*theirs)
    torch.testing.assert_close(audio, expected, atol=1e-11, rtol=1e-11)
    weights = torch.randn(audio.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for a, b in zip(
        torch.autograd.grad((weights * audio).sum(), ours),
        torch.autograd.grad((weights * expected).sum(), theirs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)


def test_bank_in_single_precision_stays_in_tune_in_a_long_note() -> None:
    """10 minutes into a note at 4 kHz, single precision must still be good to -90 dB."""
    phase = (600.0 + torch.arange(4000, dtype=torch.float64) / RATE)[None] * 500.123
    ratio, amplitude = torch.arange(1.0, 9.0, dtype=torch.float64)[None], torch.full((1, 8), 0.125)
    audio = oscillators.harmonic_bank(phase, ratio, amplitude, torch.zeros(1, 8), torch.zeros(1), 64)[0]
    turns = phase[0, :, None] * ratio
    expected = (0.125 * torch.sin(2 * torch.pi * (turns - turns.round()))).sum(dim=1)
    assert (audio - expected).abs().max() < 10 ** (-90 / 20)


def test_table_holds_the_series() -> None:
    sine, cosine = torch.randn(2, 2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.arange(oscillators.TABLE_SIZE, dtype=torch.float64) * (2 * torch.pi / oscillators.TABLE_SIZE)
    angle = torch.arange(9, dtype=torch.float64)[:, None] * x
    expected = sine @ torch.sin(angle) + cosine @ torch.cos(angle)
    torch.testing.assert_close(oscillators.waveform_tables(sine, cosine), expected, atol=1e-10, rtol=0)
