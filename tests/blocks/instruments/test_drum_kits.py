"""The kits of the drums: what each is made after can be heard in the spectrum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import scipy.special
import torch

from hitchain.blocks.instruments.drums import KITS, Drums
from hitchain.blocks.notes.notes import Notes

RATE = 44100
SQUARES = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)


def _hit(drum: int, kit: str, velocity: float = 1.0, seconds: float = 1.0, **values: float) -> np.ndarray:
    drums = Drums(RATE)
    settings = drums.defaults(1, torch.float64) | {"seed": torch.tensor(0)}
    settings |= {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    settings["kit"] = drums.parameters[0].weights(kit)[None].double()  # type: ignore[union-attr]
    notes = Notes.of([0.0], [0.1], [float(drum)], [velocity], length=seconds, dtype=torch.float64)
    return drums(notes, settings)[0, 0].numpy()


def _spectrum(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), n=1 << 17)) ** 2
    return power, np.arange(len(power)) * RATE / (1 << 17)


def _around(audio: np.ndarray, frequency: float) -> float:
    power, hertz = _spectrum(audio)
    return float(power[np.abs(hertz - frequency) < 6.0].sum())


def test_acoustic_toms_have_a_membranes_modes(accuracy: Callable[..., None]) -> None:
    """Peaks from 0.2 s on, when the pitch has come to rest, at Bessel's zeros over the first."""
    audio = _hit(41, "acoustic", tom_decay=2000.0, tom_pitch=120.0)[RATE // 5 :]
    power, hertz = _spectrum(audio)
    zeros = np.array([scipy.special.jn_zeros(m, n)[-1] for m, n in ((0, 1), (1, 1), (2, 1), (0, 2), (3, 1))])
    worst = 0.0
    for expected in 120.0 * zeros / zeros[0]:
        near = np.abs(hertz - expected) < 8.0
        worst = max(worst, abs(1200.0 * np.log2(hertz[near][power[near].argmax()] / expected)))
    accuracy("instruments/drums", "acoustic tom: scipy.special.jn_zeros", worst, bound=10.0, unit="cent")


@pytest.mark.parametrize(("drum", "knob"), [(36, "kick_pitch"), (41, "tom_pitch"), (38, "snare_pitch")])
def test_hard_strokes_bring_out_the_overtones(drum: int, knob: str) -> None:
    """The ratio of a mode that only the acoustic kit has to the fundamental grows with velocity."""
    decay = {f"{knob.partition('_')[0]}_decay": 1000.0}
    shares = []
    for velocity in (0.3, 1.0):
        audio = _hit(drum, "acoustic", velocity, snare_tone=1.0, velocity_to_brightness=0.0, **{knob: 120.0}, **decay)
        late = audio[RATE // 5 :]
        shares.append(_around(late, 120.0 * 2.136) / _around(late, 120.0))
    assert shares[1] > 5.0 * shares[0]


def test_808_hats_are_squares_and_909_hats_are_noise() -> None:
    """How much of the spectrum lies on the odd harmonics of the six oscillators."""

    def share(kit: str) -> float:
        power, hertz = _spectrum(_hit(46, kit, hat_decay_open=4000.0))
        on = np.zeros(len(hertz), dtype=bool)
        for base in SQUARES:
            odd = 2.0 * np.round((hertz / base - 1.0) / 2.0) + 1.0
            on |= np.abs(hertz - odd * base) < 4.0
        band = (hertz > 5000.0) & (hertz < 15000.0)
        return float(power[on & band].sum() / power[band].sum())

    assert share("808") > 0.8
    assert share("909") < 0.5


def test_909_kicks_sweep_further_than_808_ones() -> None:
    def first_period(kit: str) -> float:
        audio = _hit(36, kit, kick_click=-48.0)
        low = scipy.signal.sosfilt(scipy.signal.butter(2, 2000.0, fs=RATE, output="sos"), audio)
        return float(np.flatnonzero((low[20:-1] > 0) & (low[21:] <= 0))[0])

    assert first_period("909") < first_period("classic") < first_period("808")


@pytest.mark.parametrize("kit", sorted(KITS))
def test_every_drum_of_every_kit_is_heard_without_clipping(kit: str) -> None:
    for drum in (35, 36, 37, 38, 39, 40, 41, 42, 44, 46, 49, 51, 56):
        assert 0.03 < np.abs(_hit(drum, kit, seconds=0.4)).max() < 1.0, drum
