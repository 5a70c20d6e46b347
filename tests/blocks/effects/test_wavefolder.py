"""The wavefolder against the published cells of the Buchla 259."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from distortions import RATE, aliasing, apart, at_high_rate, harmonic, phrase, process, sine

Accuracy = Callable[..., None]
CELLS = (  # gain, offset [V], threshold [V], weight: Esqueda et al. 2017, equations 9 to 14
    (0.8333, 0.5000, 0.6000, -12.000),
    (0.3768, 1.1281, 2.9940, -27.777),
    (0.2829, 1.5446, 5.4600, -21.428),
    (0.5743, 1.0338, 1.8000, 17.647),
    (0.2673, 1.0907, 4.0800, 36.363),
)


def folder(volts: np.ndarray) -> np.ndarray:
    total = 5.0 * volts
    for gain, offset, threshold, weight in CELLS:
        total += weight * np.where(np.abs(volts) > threshold, gain * volts - offset * np.sign(volts), 0.0)
    return total


def test_folds_as_the_published_circuit(accuracy: Accuracy) -> None:
    audio, fold = phrase(), 20 * np.log10(8.0)
    expected = at_high_rate(audio, lambda high: folder(0.6 * 8.0 * high) / 3.0)
    output = process("effects/wavefolder", audio, fold=fold, softness=0.005)[0, 0].numpy()
    # folds rounded by 0.5 %; DC blocking turns the lowest note's phase by 0.1 radian
    frequencies = np.fft.rfftfreq(len(output), 1 / RATE)
    expected = np.fft.irfft(np.fft.rfft(expected) * frequencies / (frequencies - 10j), len(output))
    accuracy("effects/wavefolder", "Esqueda et al. 2017, Buchla 259", apart(output, expected), bound=-50.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = aliasing("effects/wavefolder", fold=24.0, softness=0.15)
    accuracy("effects/wavefolder", "aliasing, 5 kHz sine at full drive", level, bound=-45.0)


def test_symmetry_decides_on_even_harmonics() -> None:
    centred, offset = (process("effects/wavefolder", sine(441.0), symmetry=s)[0, 0, RATE // 4 :] for s in (0.0, 0.5))
    assert harmonic(centred, 441.0, 2) < -100.0
    assert harmonic(offset, 441.0, 2) > -30.0
