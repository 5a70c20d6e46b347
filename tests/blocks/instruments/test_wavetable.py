"""The wavetable synthesiser: its waveforms, free of aliasing, in tune, its envelope."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import scipy.special
import torch
from synthesiser import cents_off, settings_of

from hitchain.blocks.instruments.wavetable import FRAMES, SIZE, TABLES, Wavetable, bank
from hitchain.blocks.notes.notes import Notes

RATE = 44100
STILL = {"position_sustain": 1.0, "unison": 0.0, "sustain": 1.0, "position_attack": 1.0}


def _hertz(pitch: float) -> float:
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def _play(pitch: float, table: str, place: float, seconds: float = 1.5, **values: float) -> np.ndarray:
    synthesiser = Wavetable(RATE)
    still = STILL | {"position": place, "envelope_position": place} | values
    settings = settings_of(synthesiser, **still)
    settings["table"] = synthesiser.parameters[1].weights(table)[None]  # type: ignore[union-attr]
    notes = Notes.of([0.0], [seconds + 1.0], [pitch], [1.0], length=seconds)
    return synthesiser(notes, settings)[0, 0].double().numpy()


def test_analog_waves_are_scipys(accuracy: Callable[..., None]) -> None:
    """Their first 100 harmonics: saw, square and triangle."""
    turns = np.arange(SIZE) / SIZE * 2.0 * np.pi
    ideal = {1: scipy.signal.sawtooth(turns + np.pi / 2, width=0.5), 3: scipy.signal.sawtooth(turns), 5: None}
    ideal[5] = scipy.signal.square(turns)
    found = bank("analog", torch.float64)[0].numpy()
    worst = 0.0
    for frame, wave in ideal.items():
        ours, theirs = (np.abs(np.fft.rfft(x / np.sqrt(np.mean(x**2))))[1:101] for x in (found[frame], wave))
        ours *= np.linalg.norm(theirs) / np.linalg.norm(ours)
        worst = max(worst, float(np.abs(ours - theirs).max() / theirs.max()))
    accuracy("instruments/wavetable", "scipy.signal waveforms, 100 harmonics", 20.0 * np.log10(worst), bound=-50.0)


def test_digital_waves_have_bessels_partials(accuracy: Callable[..., None]) -> None:
    """sin(x + i sin 3x): J_n(i) at 1 + 3 n, where a negative one turns its sign."""
    found, worst = bank("digital", torch.float64)[0].numpy(), 0.0
    for frame in range(FRAMES):
        expected = np.zeros(80)
        for n in range(-26, 27):
            if abs(1 + 3 * n) < 80:
                expected[abs(1 + 3 * n)] += np.sign(1 + 3 * n) * scipy.special.jv(n, 0.7 * frame)
        ours = -2.0 / SIZE * np.fft.rfft(found[frame]).imag[:80]
        ours *= np.linalg.norm(expected) / np.linalg.norm(ours)
        worst = max(worst, float(np.abs(ours - expected).max()))
    accuracy("instruments/wavetable", "Bessel series of FM", 20.0 * np.log10(worst), bound=-120.0)


def test_little_folds_back(accuracy: Callable[..., None]) -> None:
    worst = -200.0
    for table in TABLES:
        for pitch in (28.3, 60.2, 90.3, 111.3):
            audio = _play(pitch, table, 0.62)[RATE // 2 :]
            power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 18))) ** 2
            hertz = np.arange(len(power)) * RATE / len(audio)
            off = np.abs(hertz - np.maximum(np.round(hertz / _hertz(pitch)), 1) * _hertz(pitch))
            on = off < min(15.0, _hertz(pitch) / 4)
            worst = max(worst, 10.0 * np.log10(power[~on].sum() / power[on].sum()))
    accuracy("instruments/wavetable", "aliasing, all tables, E1 to E8", worst, bound=-70.0)


@pytest.mark.parametrize("pitch", [28.0, 60.0, 95.0])
def test_in_tune(pitch: float, accuracy: Callable[..., None]) -> None:
    error = abs(cents_off(_play(pitch, "vocal", 0.5, 1.6), _hertz(pitch), RATE))
    accuracy("instruments/wavetable", f"equal temperament at MIDI {pitch:g}", error, bound=0.01, unit="cent")


@pytest.mark.parametrize("table", TABLES)
def test_level_does_not_depend_on_the_place(table: str) -> None:
    levels = [np.sqrt(np.mean(_play(45.0, table, place, 0.5)[4410:] ** 2)) for place in np.arange(8) / 7.0]
    assert 20.0 * np.log10(np.array(levels)) == pytest.approx([-18.0] * 8, abs=0.3)


def test_envelope_moves_the_place_and_detune_is_in_cents() -> None:
    def brightness(audio: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(audio)) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum())

    moving = {"position": 0.0, "envelope_position": 1.0, "position_attack": 1000.0, "position_sustain": 1.0}
    audio = _play(45.0, "analog", 0.0, 1.2, **moving)
    assert brightness(audio[: RATE // 5]) < brightness(audio[RATE : RATE + RATE // 5])
    audio = _play(81.0, "analog", 0.0, 1.9, unison=1.0, detune=30.0)
    power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 8), n=1 << 20))
    cents = 1200.0 * np.log2(np.maximum(np.arange(len(power)) * RATE / (1 << 20), 1.0) / 880.0)
    for expected in (-30.0, 0.0, 30.0):
        near = np.abs(cents - expected) < 10.0
        assert cents[near][power[near].argmax()] == pytest.approx(expected, abs=1.5)
