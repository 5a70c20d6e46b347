"""Instrument bodies: against scipy's filters, at the published frequencies; pickups comb where strings do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from hitchain.blocks.effects.body import BODIES, COIL_GAP, OPEN_STRINGS, PICKUPS, SCALE, InstrumentBody

RATE = 44100


def _settings(body: str, pickup: str = "microphone", **values: float) -> dict[str, Tensor]:
    block = InstrumentBody(RATE)
    settings = block.defaults(1, torch.float64)
    settings["body"] = block.parameters[0].weights(body)[None].double()  # type: ignore[union-attr]
    settings["pickup"] = block.parameters[3].weights(pickup)[None].double()  # type: ignore[union-attr]
    return settings | {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}


def _analogue(frequency: float, q: float, band: bool, n_fft: int) -> np.ndarray:
    """A second-order band-pass or low-pass by scipy's bilinear transform, pre-warped at its frequency."""
    w = 2.0 * RATE * np.tan(np.pi * frequency / RATE)
    b, a = scipy.signal.bilinear([w / q, 0.0] if band else [w * w], [1.0, w / q, w * w], RATE)
    return np.asarray(scipy.signal.freqz(b, a, np.arange(n_fft // 2) * 2.0 * np.pi / n_fft)[1])


@pytest.mark.parametrize("body", sorted(BODIES))
def test_is_its_modes_by_scipy(body: str, accuracy: Callable[..., None]) -> None:
    n_fft = 8192
    found = InstrumentBody(RATE).double().response(_settings(body, size=1.25, resonance=1.5), n_fft)[0, 0, :-1].numpy()
    modes = (gain * _analogue(f / 1.25, 1.5 * q, True, n_fft) for f, q, gain in BODIES[body].modes)
    expected = BODIES[body].direct + sum(modes)
    expected = expected * np.vdot(expected, found).real / np.vdot(expected, expected).real  # the level is set otherwise
    error = 20.0 * np.log10(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    accuracy("effects/body", f"{body}: its modes by scipy.signal.bilinear", error, bound=-120.0)


@pytest.mark.parametrize("pickup", ["single_coil", "humbucker"])
def test_pickups_are_combs_and_resonances(pickup: str, accuracy: Callable[..., None]) -> None:
    n_fft, place = 8192, 0.07
    settings = [_settings("solid_electric", name, pickup_position=100.0 * place) for name in (pickup, "microphone")]
    with_it, without = (InstrumentBody(RATE).double().response(s, n_fft)[0, 0, :-1].numpy() for s in settings)
    hertz = np.arange(n_fft // 2) * RATE / n_fft
    places = [place, place + COIL_GAP][: PICKUPS[pickup].coils]
    delays = [at / (SCALE * string) for at in places for string in OPEN_STRINGS]
    comb = np.mean([1.0 - np.exp(-2j * np.pi * hertz * seconds) for seconds in delays], axis=0)
    expected = comb * _analogue(PICKUPS[pickup].corner, PICKUPS[pickup].q, False, n_fft)
    found = with_it / without
    expected = expected * np.vdot(expected, found).real / np.vdot(expected, expected).real
    error = 20.0 * np.log10(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    accuracy("effects/body", f"{pickup}: comb and resonance by their formulas", error, bound=-120.0)


def test_a_violin_peaks_at_its_signature_modes() -> None:
    gain = InstrumentBody(RATE).double().response(_settings("violin"), 1 << 17)[0, 0].abs().numpy()
    peaks, _ = scipy.signal.find_peaks(gain, prominence=0.1 * gain.max())
    found = peaks * RATE / (1 << 17)
    for published in (275.0, 440.0, 530.0):
        assert np.abs(found - published).min() < 10.0
    hill = slice(round(2000 * (1 << 17) / RATE), round(3000 * (1 << 17) / RATE))
    beside = slice(round(5000 * (1 << 17) / RATE), round(8000 * (1 << 17) / RATE))
    assert gain[hill].mean() > 2.0 * gain[beside].mean()


def test_pink_noise_leaves_as_loud_as_it_came() -> None:
    generator = np.random.default_rng(0)
    spectrum = np.fft.rfft(generator.standard_normal(1 << 17))
    hertz = np.arange(len(spectrum)) * RATE / (1 << 17)
    spectrum *= np.where((hertz > 50) & (hertz < 10000), 1.0 / np.sqrt(np.maximum(hertz, 1.0)), 0.0)
    pink = torch.from_numpy(np.fft.irfft(spectrum))[None, None]
    for body in BODIES:
        for pickup in PICKUPS:
            heard = InstrumentBody(RATE).double()(pink, _settings(body, pickup))
            assert abs(20.0 * float(torch.log10(heard.norm() / pink.norm()))) < 2.0
    untouched = InstrumentBody(RATE).double()(pink, _settings("cello", mix=0.0))
    torch.testing.assert_close(untouched, pink, atol=1e-7, rtol=0)
