"""Struck things: their modes are where physics and measurements put them, die when they should and do not alias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import scipy.signal
import scipy.special
import torch
from synthesiser import settings_of

from hitchain.blocks.instruments.modal import SHAPES, Modal
from hitchain.blocks.notes.notes import Notes

RATE = 44100
EVEN = {"damping": 0.0, "decay": 20.0, "release": 10000.0, "brightness": 20000.0}


def _strike(pitch: float, shape: str, seconds: float = 1.2, **values: float) -> np.ndarray:
    modal = Modal(RATE)
    settings = settings_of(modal, **EVEN | values)
    settings["shape"] = modal.parameters[1].weights(shape)[None]  # type: ignore[union-attr]
    notes = Notes.of([0.0], [seconds], [pitch], [1.0], length=seconds)
    return modal(notes, settings)[0, 0].double().numpy()


def _peaks(audio: np.ndarray, count: int) -> np.ndarray:
    """The lowest frequencies at which the spectrum peaks, each refined by a parabola through its logarithm."""
    power = np.log(np.abs(np.fft.rfft(audio * np.hanning(len(audio)), n=1 << 19)) + 1e-12)
    found, _ = scipy.signal.find_peaks(power, height=power.max() - 9.0, distance=300)
    a, b, c = power[found - 1], power[found], power[found + 1]
    return ((found + 0.5 * (a - c) / (a - 2.0 * b + c)) * RATE / (1 << 19))[:count]


def test_bars_have_the_frequencies_of_a_free_beam(accuracy: Callable[..., None]) -> None:
    """The roots of cosh x cos x = 1 (Euler and Bernoulli), squared."""
    roots = [scipy.optimize.brentq(lambda x: np.cos(x) - 1.0 / np.cosh(x), (n + 0.3) * np.pi, (n + 0.7) * np.pi)
             for n in range(1, 5)]  # fmt: skip
    expected = 220.0 * np.square(np.array(roots) / roots[0])
    found = _peaks(_strike(57.0, "bar", strike=0.02), 4)
    error = np.abs(1200.0 * np.log2(found / expected)).max()
    accuracy("instruments/modal", "modes of a free beam (Euler-Bernoulli)", error, bound=3.0, unit="cent")


def test_membranes_have_the_frequencies_of_bessels_zeros(accuracy: Callable[..., None]) -> None:
    expected = sorted(float(scipy.special.jn_zeros(m, 3)[n]) for m in range(7) for n in range(3))[:13]
    found = np.array(SHAPES["membrane"].ratios)
    error = np.abs(1200.0 * np.log2(np.sort(found) * expected[0] / expected)).max()
    accuracy("instruments/modal", "scipy.special.jn_zeros", error, bound=0.01, unit="cent")


def test_membranes_are_excited_as_bessel_functions_say() -> None:
    place = torch.tensor([0.05, 0.4, 0.9], dtype=torch.float64)
    found = SHAPES["membrane"].strength(place).numpy()
    orders = np.array([0, 1, 2, 0, 3, 1, 4, 2, 0, 5, 3, 1, 6])
    zeros = np.array(SHAPES["membrane"].ratios) * 2.404826
    np.testing.assert_allclose(found, scipy.special.jv(orders, (1.0 - place.numpy())[:, None] * zeros), atol=1e-9)


def test_tubular_bells_strike_note_is_what_is_played() -> None:
    """Their modes 4, 5 and 6 are near 2:3:4, over a strike note that is not there."""
    ratios = np.array(SHAPES["tubular_bell"].ratios)
    assert ratios[3:6] == pytest.approx([2.0, 3.0, 4.2], abs=0.05)
    found = _peaks(_strike(60.0, "tubular_bell", strike=0.02), 6)
    assert 261.626 * ratios[:6] == pytest.approx(found, rel=1e-3)


@pytest.mark.parametrize("decay", [0.3, 2.0])
def test_a_mode_takes_its_decay_to_die(decay: float) -> None:
    audio = _strike(57.0, "bowl", decay=decay, brightness=200.0, damping=2.0)
    late, later = (np.sqrt(np.square(audio[at : at + 2005]).mean()) for at in (4410, 4410 + 8820))
    assert 0.2 * 60.0 / (20.0 * np.log10(late / later)) == pytest.approx(decay, rel=0.02)


def test_no_mode_beyond_the_band_comes_back() -> None:
    """Rendered at 44.1 kHz and at 176.4 kHz, the band they share is the same: nothing has folded."""
    notes = Notes.of([0.0], [0.5], [96.0], [1.0], length=0.4)
    spectra = []
    for rate in (44100, 4 * 44100):
        modal = Modal(rate)
        settings = settings_of(modal, **EVEN)
        settings["shape"] = modal.parameters[1].weights("bar")[None]  # type: ignore[union-attr]
        audio = modal(notes, settings)[0, 0].double().numpy()
        spectra.append(np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 20))))
    low = spectra[0][:6800]  # to 17 kHz
    strong = spectra[1][:6800] > 1e-4 * spectra[1].max()
    folded = np.where(strong, 0.0, low)
    assert 20.0 * np.log10(folded.max() / low.max()) < -70.0


def test_harder_strokes_are_louder_and_brighter() -> None:
    modal = Modal(RATE)
    centres, levels = [], []
    for velocity in (0.2, 0.6, 1.0):
        audio = modal(Notes.of([0.0], [0.3], [60.0], [velocity], length=0.3), settings_of(modal))[0, 0]
        power = torch.fft.rfft(audio).abs().square()
        centres.append(float((power * torch.arange(len(power))).sum() / power.sum()))
        levels.append(float(audio.square().mean()))
    assert centres == sorted(centres)
    assert levels == sorted(levels)
