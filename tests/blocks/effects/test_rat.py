"""The RAT against its circuit at a rate free of aliasing: diodes by a table, filters by impedances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.signal
import torch
from distortions import RATE, aliasing, apart, phrase, process

from hitchain.blocks.dsp.diodes import diode_clip_mean
from hitchain.blocks.effects.rat import amplifier

Accuracy = Callable[..., None]
FACTOR = 64


def gain_of(hertz: np.ndarray, pot: float) -> np.ndarray:
    """By impedances in parallel; a non-inverting amplifier with one pole."""
    s = 2j * math.pi * np.maximum(hertz, 1e-6)
    ground = 1.0 / (1.0 / (560.0 + 1.0 / (s * 4.7e-6)) + 1.0 / (47.0 + 1.0 / (s * 2.2e-6)))
    feedback = 1.0 / (1.0 / pot + s * 100e-12)
    wanted = 1.0 + feedback / ground
    own = 2 * math.pi * 1e6 / s
    return own / (1.0 + own / wanted)


def test_the_amplifier_is_that_of_its_impedances() -> None:
    hertz = np.array([20.0, 300.0, 1000.0, 15_000.0])
    ours = amplifier(torch.from_numpy(hertz), torch.tensor([90e3], dtype=torch.float64))[0, 0].numpy()
    assert np.allclose(ours, gain_of(hertz, 90e3), rtol=1e-9)


def test_is_the_circuit_at_a_high_rate(accuracy: Accuracy) -> None:
    samples, position, dark = 16384, 0.6, 0.3
    audio = phrase(0.2, samples)
    pots = [(28.0**value - 1.0) / 27.0 for value in (position, dark)]
    hertz = np.fft.rfftfreq(4 * samples, 1 / RATE)
    block = hertz / (hertz - 1j / (2 * math.pi * 1e6 * 22e-9))
    driven = np.fft.irfft(np.fft.rfft(audio[0, 0].numpy(), 4 * samples) * block * gain_of(hertz, 150e3 * pots[0]))
    high = np.clip(scipy.signal.resample(driven, 4 * samples * FACTOR), -4.0, 4.0)
    volts = np.linspace(-0.9, 0.9, 200_001)
    high = np.interp(high, volts + 1e3 * 2 * 2.52e-9 * np.sinh(volts / 45.3e-3), volts)
    corner = 1.0 / (2 * math.pi * 3.3e-9 * (1.5e3 + 100e3 * pots[1]))
    spectrum = np.fft.rfft(scipy.signal.resample(high, 4 * samples)) * block / (1.0 + 1j * hertz / corner)
    expected = np.fft.irfft(spectrum)[:samples]
    output = process("effects/rat", audio, distortion=position, filter=dark, level=0.0)[0, 0].numpy()
    # what first-order antialiasing leaves at four times the rate
    accuracy("effects/rat", "its circuit at 64 times the rate", apart(output, expected), bound=-55.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("effects/rat", distortion=1.0, filter=0.0)
    accuracy("effects/rat", "aliasing, 5 kHz sine at full drive", level, bound=-45.0)


def test_filter_darkens() -> None:
    bright, dark = (process("effects/rat", phrase(), filter=f)[0, 0].numpy() for f in (0.0, 1.0))
    energies = [np.abs(np.fft.rfft(signal)) ** 2 for signal in (bright, dark)]
    highs = [energy[len(energy) // 8 :].sum() / energy.sum() for energy in energies]
    assert highs[1] < 0.05 * highs[0]


def test_gradients_of_the_antialiased_diodes() -> None:
    level = torch.randn(2, 1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: diode_clip_mean(u, 1e3, 1.5), (level,), atol=1e-6)
