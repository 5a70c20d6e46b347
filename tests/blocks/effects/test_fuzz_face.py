"""The Fuzz Face against its circuit, integrated by scipy, and its operating point, found by scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.interpolate
import scipy.optimize
import torch
from distortions import RATE, aliasing, apart, phrase, process, sine

from hitchain import blocks
from hitchain.blocks.dsp import transistors_kernels as kernels
from hitchain.blocks.dsp.transistors import two_transistors
from hitchain.blocks.effects.fuzz_face import CIRCUIT, circuit_values, guitar

Accuracy = Callable[..., None]
THERMAL = 25.85e-3
GERMANIUM, SILICON = (1.976e-5, 70.0, 120.0, 10.0), (2e-14, 330.0, 330.0, 5.0)


def junctions(
    base: float, collector: float, emitter: float, kind: tuple[float, ...], which: int
) -> tuple[float, float]:
    """The currents into base and collector, by Ebers and Moll's two diodes and two current sources."""
    saturation, reverse = kind[0], kind[3]
    alpha_f, alpha_r = kind[which] / (1.0 + kind[which]), reverse / (1.0 + reverse)
    diode_f = saturation / alpha_f * math.expm1((base - emitter) / THERMAL)
    diode_r = saturation / alpha_r * math.expm1((base - collector) / THERMAL)
    into_collector = alpha_f * diode_f - diode_r
    return diode_f - alpha_r * diode_r - into_collector, into_collector


def imbalance(
    v: np.ndarray, entering: float, wiper: float, bias: float, fuzz: float, kind: tuple[float, ...]
) -> list[float]:
    """Kirchhoff's current law without the capacitors from base to collector; the wiper is held."""
    b, c, d, e = v
    base_1, collector_1 = junctions(b, c, 0.0, kind, 1)
    base_2, collector_2 = junctions(c, d, e, kind, 2)
    up = (e - wiper) / (1e3 * (1.0 - fuzz) + 1.0)
    return [
        (e - b) / 100e3 + entering - base_1,
        (9.0 - c) / 33e3 - collector_1 - base_2,
        (9.0 - d) / (bias * 1e3 + 470.0) - collector_2,
        base_2 + collector_2 - (e - b) / 100e3 - up,
    ]


def settings_for(fuzz: float, bias: float, transistors: str) -> dict[str, torch.Tensor]:
    block = blocks.create("effects/fuzz_face", sample_rate=RATE)
    settings = block.defaults(1, torch.float64)
    choice = next(parameter for parameter in block.parameters if parameter.name == "transistors")
    weights = choice.weights(transistors).double()[None]  # type: ignore[union-attr]
    numbers = {"fuzz": fuzz, "bias": bias}
    return {
        **settings,
        **{k: torch.tensor([v], dtype=torch.float64) for k, v in numbers.items()},
        "transistors": weights,
    }


@pytest.mark.parametrize(
    ("kind", "name", "bias"), [(GERMANIUM, "germanium", 20.0), (GERMANIUM, "germanium", 8.2), (SILICON, "silicon", 8.2)]
)
def test_the_operating_point_is_that_of_scipy(
    accuracy: Accuracy, kind: tuple[float, ...], name: str, bias: float
) -> None:
    fuzz = 0.7
    values = circuit_values(settings_for(fuzz, bias, name), torch.tensor([8e3], dtype=torch.float64))
    rest = np.zeros(6)
    kernels.at_rest(values[0].numpy(), CIRCUIT.values().numpy(), rest)

    def balance(v: np.ndarray) -> np.ndarray:
        lower, upper = 1e3 * fuzz + 1.0, 1e3 * (1.0 - fuzz) + 1.0
        return 1e6 * np.array(imbalance(v, 0.0, v[3] * lower / (lower + upper), bias, fuzz, kind))

    start = [0.07, 0.3, 5.0, 0.2] if name == "germanium" else [0.61, 1.3, 3.0, 0.68]
    solved = scipy.optimize.root(balance, start, method="hybr", tol=1e-13)
    error = float(np.abs(rest[:4] - solved.x).max())
    # what the transistors' steepness leaves of scipy's tolerance
    accuracy(
        "effects/fuzz_face", f"scipy.optimize.root: operating point, {name}, {bias} kohm", error, unit="V", bound=1e-6
    )


def test_is_the_circuit_integrated_by_scipy(accuracy: Accuracy) -> None:
    """States: input capacitor, wiper, and the voltages over both 100 pF; b and e follow by Newton's method."""
    samples, fuzz, bias = 3000, 0.8, 20.0
    audio = phrase(0.15, samples)
    time = np.arange(samples) / RATE
    share, series = (float(value) for value in guitar(torch.tensor(1.0, dtype=torch.float64)))
    u = scipy.interpolate.CubicSpline(time, -share * audio[0, 0].numpy())
    upper, lower, miller = 1e3 * (1.0 - fuzz) + 1.0, 1e3 * fuzz + 1.0, 100e-12

    def nodes(t: float, state: np.ndarray) -> tuple[np.ndarray, list[float], float]:
        v, wiper, over_1, over_2 = state

        def sums(both: np.ndarray) -> tuple[list[float], list[float], float]:
            b, e = both
            entering = (float(u(t)) - v - b) / series
            volts = np.array([b, b - over_1, b - over_1 - over_2, e])
            left = imbalance(volts, entering, wiper, bias, fuzz, GERMANIUM)
            return [1e6 * (left[0] + left[1] + left[2]), 1e6 * left[3]], left, entering

        both = guess[0]
        for _ in range(60):
            value = np.array(sums(both)[0])
            slopes = [(np.array(sums(both + step)[0]) - value) / 1e-8 for step in 1e-8 * np.eye(2)]
            change = np.linalg.solve(np.array(slopes).T, -value)
            both = both + change * min(1.0, 0.05 / np.abs(change).max())
            if np.abs(change).max() < 1e-10:
                break
        guess[0] = both
        _, left, entering = sums(both)
        return both, left, entering

    guess = [np.array([0.067, 0.216])]

    def change(t: float, state: np.ndarray) -> list[float]:
        both, left, entering = nodes(t, state)
        wiper = ((both[1] - state[1]) / upper - state[1] / lower) / 20e-6
        # into b flows left[0], all of which goes over the first capacitor; out of d, -left[2] over the second
        return [entering / 2.2e-6, wiper, left[0] / miller, -left[2] / miller]

    values = circuit_values(settings_for(fuzz, bias, "germanium"), torch.tensor([8e3], dtype=torch.float64))
    rest = np.zeros(6)
    kernels.at_rest(values[0].numpy(), CIRCUIT.values().numpy(), rest)
    start = [rest[5], rest[4], rest[0] - rest[1], rest[1] - rest[2]]
    solved = scipy.integrate.solve_ivp(
        change, (0.0, time[-1]), start, "BDF", t_eval=time, rtol=1e-6, atol=1e-9, max_step=1e-4
    )
    collector = np.array([nodes(t, s)[0][0] - s[2] - s[3] for t, s in zip(time, solved.y.T, strict=True)]) - rest[2]
    n_fft = 8 * samples
    hertz = np.fft.rfftfreq(n_fft, 1 / RATE)
    corner = 1.0 / (2.0 * math.pi * 500_470.0 * 10e-9)
    spectrum = np.fft.rfft(-collector * 470.0 / (bias * 1e3 + 470.0), n_fft) * hertz / (hertz - 1j * corner)
    expected = np.fft.irfft(spectrum, n_fft)[:samples]
    output = process("effects/fuzz_face", audio, fuzz=fuzz, bias=bias, level=0.0)[0, 0].numpy()
    # the formula's second order at 353 kHz, and what the expected folds back at 44.1 kHz
    error = apart(output, expected, 5_000.0)
    accuracy("effects/fuzz_face", "scipy.integrate of the published circuit, below 5 kHz", error, bound=-54.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("effects/fuzz_face", fuzz=1.0)
    # an open loop of two stages and no filter behind it: a square wave solved at eight times the rate
    accuracy("effects/fuzz_face", "aliasing, 5 kHz sine at full fuzz", level, bound=-36.0)


def test_guitar_volume_cleans_up() -> None:
    """Turned down to 0.3, a quiet note has far fewer harmonics."""
    shares = []
    for position in (1.0, 0.3):
        output = process("effects/fuzz_face", sine(220.0, level=0.1), guitar_volume=position)[0, 0, -22050:].numpy()
        energy = np.abs(np.fft.rfft(output)) ** 2
        shares.append(1.0 - energy[108:113].sum() / energy[1:].sum())
    assert shares[1] < 0.3 * shares[0]


@pytest.mark.parametrize("name", ["germanium", "silicon"])
def test_swings_no_further_than_the_supply(name: str) -> None:
    output = process("effects/fuzz_face", sine(110.0), fuzz=1.0, bias=8.2, transistors=name, level=0.0)
    assert 0.1 < float(output.max() - output.min()) < 2.2 * 9.0 * 470.0 / 8670.0


def test_gradients_of_the_circuit() -> None:
    generator = torch.Generator().manual_seed(0)
    source = (0.2 * torch.randn(1, 2, 8, dtype=torch.float64, generator=generator)).requires_grad_()
    values = circuit_values(settings_for(0.8, 20.0, "germanium"), torch.tensor([8e3], dtype=torch.float64))
    ratio = torch.ones_like(values).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda u, r: two_transistors(u, values * r, CIRCUIT, 352_800.0), (source, ratio), atol=1e-5, rtol=1e-4
    )
