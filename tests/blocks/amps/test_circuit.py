"""The circuit amplifiers: their networks against SPICE-like analysis by complex matrices, and what they do to sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from test_tube import off_harmonics, sine
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.amps import american_clean, bass, british_class_a, british_high_gain, circuit, modern_high_gain
from hitchain.blocks.amps.circuit import CircuitAmplifier
from hitchain.blocks.dsp import circuits

RATE = 44_100
NAMES = ("american_clean", "british_class_a", "british_high_gain", "modern_high_gain", "bass")
HERTZ = np.geomspace(20.0, 18_000.0, 60)
Branch = tuple[int, int, complex]


def made(name: str, **knobs: float) -> tuple[CircuitAmplifier, dict[str, Tensor]]:
    block = blocks.create(f"amps/{name}", sample_rate=RATE)
    assert isinstance(block, CircuitAmplifier)
    settings = block.defaults(1, torch.float64)
    return block, {**settings, **{key: torch.tensor([value], dtype=torch.float64) for key, value in knobs.items()}}


def solved(nodes: int, out: int, branches: Sequence[tuple[int, int, Any]]) -> np.ndarray:
    """Nodal analysis at each frequency with complex admittances given as functions of s; node 0 is a source of 1 V."""
    result = []
    for hertz in HERTZ:
        s = 2j * math.pi * hertz
        matrix, drive = np.zeros((nodes, nodes), complex), np.zeros(nodes, complex)
        for one, other, admittance in branches:
            y = admittance(s)
            for near, far in ((one, other), (other, one)):
                if near > 0:
                    matrix[near - 1, near - 1] += y
                    if far > 0:
                        matrix[near - 1, far - 1] -= y
                    elif far == 0:
                        drive[near - 1] += y
        result.append(np.linalg.solve(matrix, drive)[out - 1])
    return np.array(result)


def resistor(ohms: float) -> Any:
    return lambda s: 1.0 / max(ohms, 1e-3)


def capacitor(farads: float) -> Any:
    return lambda s: s * farads


def fender_like(stack: circuits.ToneStack, low: float, mid: float, high: float, rheostat: bool) -> np.ndarray:
    """Nodes: 1 treble top, 2 wiper (out), 3 treble bottom and bass top, 4 slope, 5 middle top, 6 its wiper."""
    bass_ohms = stack.bass * math.exp(3.4 * (low - 1.0))
    branches = [
        (0, 1, capacitor(stack.treble_capacitor)), (1, 2, resistor(stack.treble * (1 - high))),
        (2, 3, resistor(stack.treble * high)), (0, 4, resistor(stack.series)), (4, 3, capacitor(stack.bass_capacitor)),
        (3, 5, resistor(bass_ohms)),
    ]  # fmt: skip
    if rheostat:
        branches += [(4, 5, capacitor(stack.middle_capacitor)), (5, -1, resistor(stack.middle * mid))]
        return solved(5, 2, branches)
    branches += [
        (4, 6, capacitor(stack.middle_capacitor)), (5, 6, resistor(stack.middle * (1 - mid))),
        (6, -1, resistor(stack.middle * mid)),
    ]  # fmt: skip
    return solved(6, 2, branches)


def top_boost(low: float, high: float) -> np.ndarray:
    return solved(6, 2, [
        (0, 1, capacitor(50e-12)), (1, 2, resistor(1e6 * (1 - high) + 500)), (2, 3, resistor(1e6 * high + 500)),
        (0, 6, resistor(100e3)), (6, 4, capacitor(22e-9)), (6, 5, capacitor(22e-9)),
        (4, 3, resistor(1e6 * low + 500)), (3, 5, resistor(1e6 * (1 - low) + 500)), (5, -1, resistor(10e3)),
    ])  # fmt: skip


def james(low: float, high: float) -> np.ndarray:
    low, high = ((100.0**position - 1.0) / 99.0 for position in (low, high))
    return solved(6, 6, [
        (0, 1, resistor(100e3)), (1, 2, resistor(1e6 * (1 - low) + 500)), (2, 3, resistor(1e6 * low + 500)),
        (3, -1, resistor(10e3)), (1, 2, capacitor(2.2e-9)), (2, 3, capacitor(22e-9)), (2, 6, resistor(100e3)),
        (0, 4, capacitor(220e-12)), (4, 6, resistor(1e6 * (1 - high) + 500)), (6, 5, resistor(1e6 * high + 500)),
        (5, -1, capacitor(2.2e-9)),
    ])  # fmt: skip


def expected_stack(name: str, low: float, mid: float, high: float) -> np.ndarray:
    if name == "american_clean":
        return fender_like(american_clean.STACK, low, mid, high, rheostat=True)
    if name == "british_high_gain":
        return fender_like(british_high_gain.STACK, low, mid, high, rheostat=False)
    if name == "modern_high_gain":
        return fender_like(modern_high_gain.STACK, low, mid, high, rheostat=False)
    return top_boost(low, high) if name == "british_class_a" else james(low, high)


def stack_of(name: str, low: float, mid: float, high: float) -> np.ndarray:
    pots = [torch.tensor([value], dtype=torch.float64) for value in (low, mid, high)]
    if name == "british_class_a":
        network = british_class_a.top_boost(pots[0], pots[2])
    elif name == "bass":
        network = bass.james(pots[0], pots[2])
    else:
        block, settings = made(name, bass=low, middle=mid, treble=high)
        network = block._tone(settings)
    return circuits.rational(*network, torch.from_numpy(HERTZ))[0].numpy()


@pytest.mark.parametrize("name", NAMES)
def test_tone_stacks_are_their_circuits(name: str, accuracy: Any) -> None:
    """The polynomials against complex nodal analysis of the schematic, at nine positions of the knobs."""
    worst = 0.0
    for low, high in ((0.02, 0.02), (0.5, 0.5), (0.98, 0.98), (0.1, 0.9), (0.9, 0.1)):
        for mid in (0.1, 0.6, 0.95):
            expected, found = expected_stack(name, low, mid, high), stack_of(name, low, mid, high)
            worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    accuracy(f"amps/{name}", "nodal analysis of the tone stack", 20 * math.log10(worst), bound=-100.0)


def test_networks_around_the_valves_are_analogue_filters() -> None:
    like = torch.ones(1, dtype=torch.float64)
    scale = 2 * math.pi * HERTZ

    def level(network: circuit.Rational) -> np.ndarray:
        return circuits.rational(*network, torch.from_numpy(HERTZ))[0].numpy()

    _, expected = scipy.signal.freqs([1, 0], [1, 2 * math.pi * 80.0], scale)
    assert np.allclose(level(circuit.high_pass(80.0, like)), expected)
    _, expected = scipy.signal.freqs([2.7e3 * 0.68e-6, 1], [2.7e3 * 0.68e-6, 1 + 2.7 / 1.6], scale)
    assert np.allclose(level(circuit.cathode(2.7e3, 0.68e-6, like)), expected)
    w, quality, gain = 2 * math.pi * 800.0, 0.8, 4.0
    _, expected = scipy.signal.freqs([1, 2 * w / quality, w * w], [1, w / quality / 2, w * w], scale)
    assert np.allclose(level(circuit.resonant(800.0, quality, gain * like)), expected)
    assert float(np.abs(expected).max()) == pytest.approx(gain, rel=0.01)
    position = 0.1 * like
    divider = solved(1, 1, [(0, 1, resistor(9e5)), (0, 1, capacitor(1e-9)), (1, -1, resistor(1e5))])
    assert np.allclose(level(circuit.bright(position, 1e6, 1e-9)) * 0.1, divider)


@pytest.mark.parametrize("name", NAMES)
def test_aliasing_at_full_drive(name: str, accuracy: Any) -> None:
    block, _ = made(name)
    top = {parameter.name: parameter.high for parameter in block.parameters if hasattr(parameter, "high")}
    chosen = {key: top[key] for key in ("gain", "master", "treble", "presence") if key in top}
    _, settings = made(name, **chosen)
    for frequency in (4997.0, 1237.3):
        output = block(sine(frequency, 1.0), settings)[0, 0, RATE // 2 : -4410]
        what = f"aliasing, {frequency:g} Hz sine at full scale and drive"
        accuracy(f"amps/{name}", what, off_harmonics(output, frequency), bound=-45.0)


@pytest.mark.parametrize("name", NAMES)
def test_quiet_signals_meet_the_networks_exactly(name: str) -> None:
    """Far below clipping the amplifier is linear: input network, couplings, tone stack, voicing and transformer."""
    samples, start = 1 << 15, 3000
    quiet = {"sag": 0.0, "bias": 0.0, "master": 0.0}
    block, settings = made(name, **quiet)
    low = next(parameter.low for parameter in block.parameters if parameter.name == "gain")  # type: ignore[union-attr]
    settings["gain"] = torch.tensor([low], dtype=torch.float64)
    impulse = torch.zeros(1, 1, samples, dtype=torch.float64)
    impulse[..., start] = 1e-7
    measured = np.fft.rfft(np.roll(block(impulse, settings)[0, 0].numpy(), -start))
    hertz = np.arange(samples // 2 + 1) * RATE / samples
    band = (hertz > 40.0) & (hertz < 8000.0)
    f = hertz[band]
    networks = (block._input(settings), block._tone(settings), block._voicing(settings))
    expected = np.prod([circuits.rational(*n, torch.from_numpy(f))[0].numpy() for n in networks], axis=0)
    for stage in (*block.circuit.before, *block.circuit.after):
        expected = expected / (1 + stage.low / (1j * f)) / (1 + 1j * f / stage.high)
    expected = expected / (1 + block.circuit.transformer[0] / (1j * f)) / (1 + 1j * f / block.circuit.transformer[1])
    ratio = measured[band] / expected
    level = 20 * np.log10(np.abs(ratio))
    assert level.max() - level.min() < 0.2  # the couplings' digital poles at 176 kHz
    assert np.abs(np.angle(ratio[f < 1000.0])).max() < 0.1  # nothing is late, nothing is inverted


@pytest.mark.parametrize("name", NAMES)
def test_loudness_gain_and_sag(name: str) -> None:
    block, settings = made(name)
    generator = torch.Generator().manual_seed(0)
    noise = 0.125 * torch.randn(1, 1, RATE, generator=generator, dtype=torch.float64)
    gain = next(parameter for parameter in block.parameters if parameter.name == "gain")
    levels, distortions = [], []
    for share in (0.0, 0.5, 1.0):
        at = gain.from_unit(torch.tensor([share], dtype=torch.float64))  # type: ignore[union-attr]
        levels.append(float(block(noise, {**settings, "gain": at})[..., RATE // 2 :].std()) / 0.125)
        tone = block(sine(220.0, 1.0, 0.1), {**settings, "gain": at})[0, 0, RATE // 2 :].numpy()
        power = np.abs(np.fft.rfft(tone * np.kaiser(len(tone), 20.0))) ** 2
        first = round(220.0 * len(tone) / RATE)
        distortions.append(1.0 - power[first - 12 : first + 13].sum() / power.sum())
    assert all(abs(20 * math.log10(level)) < 8.0 for level in levels)
    assert distortions[0] < distortions[1] < distortions[2]
    loud = torch.cat([sine(220.0, 0.5, 0.5), sine(220.0, 0.5, 0.01)], dim=-1)
    pushed = {**settings, "master": settings["master"] * 0.0 + 18.0}
    stiff, soft = (block(loud, {**pushed, "sag": settings["sag"] * 0.0 + sag})[0, 0] for sag in (0.0, 1.0))
    assert float(soft[RATE // 4 : RATE // 2].std()) < 0.93 * float(stiff[RATE // 4 : RATE // 2].std())


def test_the_bass_switch_moves_the_middle() -> None:
    peaks = {}
    for name in bass.MIDS:
        block, flat = made("bass", middle=0.0)
        lifted = {**flat, "middle": torch.full((1,), 10.0, dtype=torch.float64)}
        lifted["frequency"] = torch.tensor([[float(name == other) for other in bass.MIDS]], dtype=torch.float64)
        levels = [circuits.rational(*block._tone(s), torch.from_numpy(HERTZ))[0].abs() for s in (lifted, flat)]
        peaks[name] = float(HERTZ[int((levels[0] / levels[1]).argmax())])
    assert peaks == pytest.approx(bass.MIDS, rel=0.06)
