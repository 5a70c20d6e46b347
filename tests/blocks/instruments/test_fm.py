"""The FM synthesiser: Bessel's sidebands, in tune, little aliasing, its algorithms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import scipy.special
import torch
from synthesiser import cents_off, settings_of

from hitchain.blocks.instruments.fm import ALGORITHMS, DEEPEST, REFERENCE, Fm, halved
from hitchain.blocks.notes.notes import Notes

RATE = 44100
STEADY = {f"sustain{number}": 1.0 for number in range(1, 5)} | {f"ratio{number}": 1.0 for number in range(1, 5)}
ALONE = STEADY | {"level2": 0.0, "level3": 0.0, "level4": 0.0, "feedback": 0.0}


def _hertz(pitch: float) -> float:
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def _play(pitch: float, algorithm: str, seconds: float = 1.0, rate: int = RATE, **values: float) -> np.ndarray:
    fm = Fm(rate)
    settings = settings_of(fm, dtype=torch.float64, **ALONE | values)
    settings["algorithm"] = fm.parameters[1].weights(algorithm)[None].double()  # type: ignore[union-attr]
    notes = Notes.of([0.0], [seconds + 1.0], [pitch], [1.0], length=seconds, dtype=torch.float64)
    return fm(notes, settings)[0, 0].numpy()


def test_sidebands_are_bessel_functions(accuracy: Callable[..., None]) -> None:
    """Chowning (1973): carrier f and modulator 3.5 f at the index I give partials J_n(I) at f + 3.5 n f."""
    depth, carrier = 0.3, 440.0
    audio = _play(69.0, "5", ratio2=3.5, level2=depth, level3=0.0)[RATE // 2 :]
    time = np.arange(len(audio)) / RATE
    worst, index = 0.0, depth * DEEPEST
    for n in range(-5, 6):
        frequency = carrier * (1.0 + 3.5 * n)
        found = 2.0 * abs(np.mean(audio * np.exp(-2j * np.pi * frequency * time)))
        expected = REFERENCE / np.sqrt(2.0) * abs(scipy.special.jv(n, index))
        worst = max(worst, abs(found - expected))
    accuracy("instruments/fm", "sidebands J_n(I), Chowning 1973", 20.0 * np.log10(worst / REFERENCE), bound=-80.0)


@pytest.mark.parametrize("pitch", [28.0, 60.0, 88.0])
def test_in_tune(pitch: float, accuracy: Callable[..., None]) -> None:
    audio = _play(pitch, "1", 1.6, level2=0.2, level3=0.2, level4=0.2, feedback=0.5)
    error = abs(cents_off(audio, _hertz(pitch), RATE))
    accuracy("instruments/fm", f"equal temperament at MIDI {pitch:g}", error, bound=0.01, unit="cent")


@pytest.mark.parametrize(
    ("what", "values", "bound"),
    [
        ("usual depth", {"level2": 0.3, "level3": 0.2, "level4": 0.2, "feedback": 0.5}, -70.0),
        ("everything at its top", {"level2": 1.0, "level3": 1.0, "level4": 1.0, "feedback": 0.9}, -42.0),
    ],
)
def test_little_folds_back(what: str, values: dict[str, float], bound: float, accuracy: Callable[..., None]) -> None:
    """Energy off the harmonics of stacked operators of equal frequency, of several notes up to C8."""
    worst = -200.0
    for pitch in (47.3, 72.3, 84.3, 96.3, 107.3):
        audio = _play(pitch, "1", 1.3, **values)[RATE // 4 :]
        power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 18))) ** 2
        hertz = np.arange(len(power)) * RATE / len(audio)
        near = np.abs(hertz - np.round(hertz / _hertz(pitch)) * _hertz(pitch)) < min(20.0, _hertz(pitch) / 4)
        worst = max(worst, 10.0 * np.log10(power[~near].sum() / power.sum()))
    accuracy("instruments/fm", f"aliasing, a stack of four, {what}", worst, bound=bound)


def test_half_band_filter_leaves_the_band_and_takes_the_rest() -> None:
    time = torch.arange(8000, dtype=torch.float64) / (2 * RATE)
    levels = []
    for frequency in (1000.0, 20000.0, 24200.0, 40000.0):
        audio = halved(torch.sin(2 * np.pi * frequency * time)[None, None], 3900)[0, 0, 200:3700]
        levels.append(20.0 * float(torch.log10(audio.square().mean().sqrt() * np.sqrt(2.0))))
    assert max(abs(levels[0]), abs(levels[1])) < 0.1
    assert max(levels[2], levels[3]) < -70.0


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_algorithms_sound_whom_they_should(algorithm: str) -> None:
    """Operators at ratios of their own: a carrier's level changes its partial, another's only how it is modulated."""
    ratios = {1: 1.0, 2: 2.0, 3: 3.0, 4: 5.0}
    pairs, heard = ALGORITHMS[algorithm]
    for number in range(1, 5):
        levels = {f"level{n}": 1.0 if n == number else 0.0 for n in range(1, 5)}
        audio = _play(69.0, algorithm, 0.3, **levels, **{f"ratio{n}": ratio for n, ratio in ratios.items()})
        assert (np.abs(audio).max() > 0.01) == (number in heard)
    assert {modulator for modulator, _ in pairs} | set(heard) == {1, 2, 3, 4}


def test_softer_notes_are_mellower() -> None:
    fm = Fm(RATE)
    centres = []
    for velocity in (0.2, 0.6, 1.0):
        audio = fm(Notes.of([0.0], [0.3], [60.0], [velocity], length=0.3), settings_of(fm, level2=0.6))[0, 0]
        power = torch.fft.rfft(audio).abs().square()
        centres.append(float((power * torch.arange(len(power))).sum() / power.sum()))
    assert centres == sorted(centres)
