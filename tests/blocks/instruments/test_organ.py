"""The drawbar organ: its wheels, drawbars, percussion, scanner and click."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from synthesiser import cents_off, settings_of

from hitchain.blocks.instruments.organ import DRAWBARS, STEPS, Organ
from hitchain.blocks.notes.notes import Notes

RATE = 44100
BARE = {f"drawbar_{name}": 0.0 for name in DRAWBARS} | {
    "percussion": 0.0,
    "key_click": -60.0,
    "vibrato_depth": 0.0,
    "chorus": 0.0,
}


def _play(pitch: float, seconds: float = 1.6, length: float | None = None, **values: float) -> np.ndarray:
    organ = Organ(RATE)
    notes = Notes.of([0.0], [seconds], [pitch], [1.0], length=length or seconds)
    return organ(notes, settings_of(organ, **BARE | values))[0, 0].double().numpy()


def test_wheels_turn_as_the_gears_say(accuracy: Callable[..., None]) -> None:
    """The published deviations of a B-3 [cents] from C to B, and every drawbar from middle C."""
    published = (-0.58, -0.68, 0.20, -0.09, -0.14, -0.68, 0.03, 0.02, -0.71, 0.00, -0.29, -0.59)
    worst = 0.0
    for key, cents in enumerate(published):
        frequency = 440.0 * 2.0 ** ((60 + key - 69 + cents / 100.0) / 12.0)
        worst = max(worst, abs(cents_off(_play(60.0 + key, drawbar_8=8.0), frequency, RATE)))
    for name, step in zip(DRAWBARS, STEPS, strict=True):
        frequency = 440.0 * 2.0 ** ((60 + step - 69 + published[step % 12] / 100.0) / 12.0)
        worst = max(worst, abs(cents_off(_play(60.0, **{f"drawbar_{name}": 8.0}), frequency, RATE)))
    accuracy("instruments/organ", "published pitches of a B-3's wheels", worst, bound=0.05, unit="cent")


def test_a_drawbar_falls_by_3_db_a_figure() -> None:
    levels = [20.0 * np.log10(np.sqrt(np.square(_play(60.0, 0.5, drawbar_8=figure)[4410:]).mean()))
              for figure in (8.0, 7.0, 6.0, 5.0)]  # fmt: skip
    assert np.diff(levels) == pytest.approx([-3.0] * 3, abs=0.3)
    assert not np.abs(_play(60.0, 0.5)).max() > 0.001


@pytest.mark.parametrize(("harmonic", "step"), [("second", 12), ("third", 19)])
def test_percussion_is_a_decaying_harmonic(harmonic: str, step: int) -> None:
    organ = Organ(RATE)
    settings = settings_of(organ, **BARE | {"percussion": 1.0, "percussion_decay": 300.0})
    settings["percussion_harmonic"] = organ.parameters[11].weights(harmonic)[None]  # type: ignore[union-attr]
    audio = organ(Notes.of([0.0], [1.0], [60.0], length=0.5), settings)[0, 0].double().numpy()
    power = np.abs(np.fft.rfft(audio[:8820], n=1 << 16))
    assert power.argmax() * RATE / (1 << 16) == pytest.approx(440.0 * 2.0 ** ((60 + step - 69) / 12.0), rel=0.005)
    level = [20.0 * np.log10(np.sqrt(np.square(audio[at : at + 2205]).mean())) for at in (2205, 8820)]
    assert 60.0 * 6615 / RATE / (level[0] - level[1]) == pytest.approx(0.3, rel=0.03)


def test_the_scanner_delays_by_its_depth() -> None:
    """Against the sine of a sine, and as many cents up and down as its slope says."""
    audio = _play(93.0, 1.2, drawbar_8=8.0, vibrato_depth=0.4)
    phase = np.unwrap(np.angle(scipy.signal.hilbert(audio)))[6000:-6000]
    cents = 1200.0 * np.log2((phase[200:] - phase[:-200]) * RATE / (400.0 * np.pi) / 1760.0)
    assert cents.max() == pytest.approx(1200.0 * np.log2(1.0 + 2.0 * np.pi * 6.9 * 0.0004), rel=0.03)
    power = np.abs(np.fft.rfft((cents - cents.mean()) * np.hanning(len(cents)), n=1 << 19))
    assert power.argmax() * RATE / (1 << 19) == pytest.approx(6.9, abs=0.1)


def test_keys_click_and_nothing_folds_back(accuracy: Callable[..., None]) -> None:
    quiet, clicking = _play(60.0, 0.3, drawbar_8=8.0), _play(60.0, 0.3, drawbar_8=8.0, key_click=-6.0)
    click = clicking - quiet
    assert np.abs(click[:220]).max() > 0.02
    assert np.abs(click[4410:]).max() < 1e-4
    audio = _play(103.0, 1.3, **{f"drawbar_{name}": 8.0 for name in DRAWBARS})[RATE // 4 :]
    power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 18))) ** 2
    hertz = np.arange(len(power)) * RATE / len(audio)
    off = np.ones(len(power), dtype=bool)
    for step in STEPS:
        off &= np.abs(hertz - 440.0 * 2.0 ** ((103 + step - 69) / 12.0)) > 30.0
    level = 10.0 * np.log10(power[off].sum() / power.sum())
    accuracy("instruments/organ", "aliasing, all drawbars at G7", level, bound=-70.0)


def test_velocity_matters_only_when_asked() -> None:
    organ = Organ(RATE)
    notes = [Notes.of([0.0], [0.2], [60.0], [velocity], length=0.2) for velocity in (0.3, 1.0)]
    soft, loud = (organ(n, settings_of(organ)) for n in notes)
    assert torch.equal(soft, loud)
    soft, loud = (organ(n, settings_of(organ, velocity_to_level=1.0)) for n in notes)
    torch.testing.assert_close(soft, 0.3 * loud, atol=1e-6, rtol=0)
