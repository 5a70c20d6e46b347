"""The Tube Screamer against its circuit, integrated by scipy, and its tone network, solved by nodes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.integrate
import scipy.interpolate
import torch
from distortions import RATE, aliasing, apart, phrase, process

from hitchain.blocks.dsp.diodes import diode_clip
from hitchain.blocks.effects.tube_screamer import tone_response

Accuracy = Callable[..., None]


def tone_by_nodes(hertz: np.ndarray, t: float) -> np.ndarray:
    """Kirchhoff's current law at the amplifier's two inputs (at one voltage), the wiper and the output."""
    responses = []
    for f in hertz:
        s = 2j * math.pi * f
        left, right = 1.0 / (20e3 * t), 1.0 / (20e3 * (1.0 - t))
        shunt = 1.0 / (220.0 + 1.0 / (s * 220e-9))
        matrix = np.array(
            [  # unknowns: the inputs, the wiper, the output
                [1e-3 + s * 220e-9 + 1e-4 + left, -left, 0.0],
                [-(left + right), left + right + shunt, 0.0],
                [1e-3 + right, -right, -1e-3],
            ]
        )
        responses.append(np.linalg.solve(matrix, np.array([1e-3, 0.0, 0.0]))[2])
    return np.array(responses)


def test_is_the_circuit_integrated_by_scipy(accuracy: Accuracy) -> None:
    samples, drive, tone = 6000, 0.7, 0.4
    audio = phrase(0.3, samples)
    time = np.arange(samples) / RATE
    n_fft = 8 * samples
    hertz = np.fft.rfftfreq(n_fft, 1 / RATE)
    corner = 1.0 / (2.0 * math.pi * 510e3 * 20e-9)
    volts = np.fft.irfft(np.fft.rfft(audio[0, 0].numpy(), n_fft) * hertz / (hertz - 1j * corner), n_fft)[:samples]
    u = scipy.interpolate.CubicSpline(time, volts)
    resistance = 51e3 + 500e3 * (28.0**drive - 1.0) / 27.0

    def change(t: float, state: np.ndarray) -> list[float]:
        held, v = state  # of the 47 nF and of the diodes
        i = (u(t) - held) / 4.7e3
        return [i / 47e-9, (i - v / resistance - 2 * 2.52e-9 * math.sinh(v / 45.3e-3)) / 51e-12]

    solved = scipy.integrate.solve_ivp(
        change, (0.0, time[-1]), [0.0, 0.0], "LSODA", t_eval=time, rtol=1e-7, atol=1e-10, max_step=1e-4
    )
    out = np.fft.rfft(volts + solved.y[1], n_fft)
    expected = np.fft.irfft(out * np.concatenate([[1 / 1.1], tone_by_nodes(hertz[1:], tone)]), n_fft)[:samples]
    output = process("effects/tube_screamer", audio, drive=drive, tone=tone, level=0.0)[0, 0].numpy()
    # the integration's own steps, and the formula's second order at 176 kHz
    error = apart(output, expected, 15_000.0)
    accuracy("effects/tube_screamer", "scipy.integrate of Yeh's circuit", error, bound=-50.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("effects/tube_screamer", drive=1.0, tone=1.0)
    accuracy("effects/tube_screamer", "aliasing, 5 kHz sine at full drive", level, bound=-50.0)


def test_the_tone_network_at_its_ends() -> None:
    hertz = torch.tensor([20.0, 700.0, 5000.0], dtype=torch.float64)
    for t in (1e-9, 0.3, 1.0 - 1e-9):
        ours = tone_response(hertz, torch.tensor([t], dtype=torch.float64))[0, 0].numpy()
        assert np.allclose(ours, tone_by_nodes(hertz.numpy(), t), rtol=1e-6)


def test_gradients_of_the_diodes() -> None:
    generator = torch.Generator().manual_seed(0)
    current = (1e-4 * torch.randn(2, 1, 12, dtype=torch.float64, generator=generator)).requires_grad_()
    conductance = torch.tensor([1e-5, 1e-4], dtype=torch.float64, requires_grad=True)

    def scaled(i: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        return diode_clip(1e-4 * i, 1e-4 * g, 51e-12, 176400.0)

    given = [(current / 1e-4).detach().requires_grad_(), (conductance / 1e-4).detach().requires_grad_()]
    assert torch.autograd.gradcheck(scaled, given, eps=1e-5, atol=1e-7)


def test_drive_clips_at_the_diodes() -> None:
    peaks = [
        float(process("effects/tube_screamer", 0.5 * phrase(), drive=d, level=0.0).abs().max()) for d in (0.0, 1.0)
    ]
    assert peaks[0] < peaks[1] < 1.6
