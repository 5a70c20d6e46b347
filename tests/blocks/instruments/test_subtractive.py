"""The subtractive synthesiser: waveforms, aliasing, the filter, the same through every window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from synthesiser import cents_off, settings_of
from torch import Tensor

from hitchain.blocks.instruments.subtractive import Subtractive
from hitchain.blocks.notes.notes import Notes

Accuracy = Callable[..., None]
RATE = 44100
OSCILLATORS = ("saw", "pulse", "triangle", "sub", "second_oscillator", "noise")
OPEN = {
    "vibrato_depth": 0.0,
    "detune": 0.0,
    "cutoff": 18000.0,
    "resonance": 0.5**0.5,
    "envelope_amount": 0.0,
    "key_tracking": 0.0,
    "velocity_to_cutoff": 0.0,
    "sustain": 1.0,
} | dict.fromkeys(OSCILLATORS, 0.0)
"""One bare oscillator (to be turned up) through an open filter."""


def _hertz(pitch: float) -> float:
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


@pytest.mark.parametrize("oscillator", ["saw", "pulse", "triangle", "sub"])
@pytest.mark.parametrize("pitch", [28.3, 60.2, 99.7, 111.3])
def test_no_energy_off_the_harmonics(oscillator: str, pitch: float, accuracy: Accuracy) -> None:
    synthesiser = Subtractive(RATE)
    settings = settings_of(synthesiser, **OPEN | {oscillator: 1.0})
    audio = synthesiser(Notes.of([0.0], [2.0], [pitch], length=1.5), settings)[0, 0, RATE // 2 :].double().numpy()
    power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 20))) ** 2
    hertz = np.arange(len(power)) * RATE / len(audio)
    fundamental = _hertz(pitch) / (2 if oscillator == "sub" else 1)
    on = np.abs(hertz - np.maximum(np.round(hertz / fundamental), 1) * fundamental) < min(15, fundamental / 4)
    aliasing = 10 * np.log10(power[~on].sum() / power[on].sum())
    accuracy("instruments/subtractive", f"aliasing, {oscillator}, E1 to D#8", aliasing, bound=-75.0)


@pytest.mark.parametrize("pitch", [28.0, 40.5, 60.0, 76.25, 88.0, 100.0])
def test_in_tune_to_a_hundredth_of_a_cent(pitch: float, accuracy: Accuracy) -> None:
    synthesiser = Subtractive(RATE)
    settings = settings_of(synthesiser, **OPEN | {"saw": 1.0})
    audio = synthesiser(Notes.of([0.0], [2.0], [pitch], length=1.6), settings)[0, 0].double().numpy()
    error = abs(cents_off(audio, _hertz(pitch), RATE))
    accuracy("instruments/subtractive", "equal temperament, E1 to E7", error, bound=0.01, unit="cent")


def test_detune_is_in_cents() -> None:
    synthesiser = Subtractive(RATE)
    apart = {}
    for detune in (-30.0, 20.0):
        settings = settings_of(synthesiser, **OPEN | {"saw": 1.0, "second_oscillator": 1.0, "detune": detune})
        audio = synthesiser(Notes.of([0.0], [2.0], [81.0], length=1.9), settings)[0, 0].double().numpy()
        power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 8), n=1 << 20))
        near = np.arange(len(power)) * RATE / (1 << 20)
        other = np.abs(1200 * np.log2(np.maximum(near, 1) / 880) - detune) < 10
        apart[detune] = 1200 * np.log2(near[other][power[other].argmax()] / 880)
    assert apart == pytest.approx({-30.0: -30.0, 20.0: 20.0}, abs=1.0)


def test_waveforms_are_the_textbook_ones(accuracy: Accuracy) -> None:
    """Compared below 5 kHz, where neither the band's edge nor the open filter changes a harmonic by 1 %."""
    synthesiser = Subtractive(192000)
    time = (np.arange(38400) + 9600) / 192000
    turns = time * 220.0
    ideal = {
        "saw": -scipy.signal.sawtooth(2 * np.pi * turns),
        "pulse": scipy.signal.square(2 * np.pi * turns, duty=0.3) + 0.4,
        "triangle": scipy.signal.sawtooth(2 * np.pi * (turns + 0.25), width=0.5),
        "sub": scipy.signal.square(np.pi * turns),
    }
    for oscillator, wave in ideal.items():
        settings = settings_of(synthesiser, **OPEN | {oscillator: 1.0, "pulse_width": 0.3})
        audio = synthesiser(Notes.of([0.0], [2.0], [57.0], [1.0], length=0.25), settings)[0, 0, 9600:].double().numpy()
        ours, theirs = (np.abs(np.fft.rfft(x * np.hanning(len(x)))) for x in (audio, wave))
        low = np.arange(len(ours)) * 5.0 < 5000.0
        scale = 10 ** (-18 / 20) * np.sqrt(3)  # a saw's RMS is -18 dB
        error = 20 * np.log10(np.abs(ours - scale * theirs)[low].max() / (scale * theirs.max()))
        accuracy("instruments/subtractive", f"scipy.signal's waveform: {oscillator}", error, bound=-40.0)


@pytest.mark.parametrize(("poles", "fall"), [(2, -12.0), (4, -24.0)])
def test_filter_falls_by_its_slope(poles: int, fall: float) -> None:
    synthesiser = Subtractive(RATE, poles=poles)
    notes = Notes.of([0.0], [2.0], [36.0], length=1.5)
    levels = []
    for cutoff in (18000.0, 200.0):
        settings = settings_of(synthesiser, **OPEN | {"saw": 1.0, "cutoff": cutoff})
        audio = synthesiser(notes, settings)[0, 0, RATE // 2 :].double().numpy()
        power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 12))) ** 2
        harmonics = np.round(np.array([16, 32]) * _hertz(36.0) * len(audio) / RATE).astype(int)
        levels.append([10 * np.log10(power[at - 5 : at + 6].sum()) for at in harmonics])
    lost = np.array(levels[1]) - np.array(levels[0])  # an octave apart, 1 and 2 kHz, well above the cutoff
    assert lost[1] - lost[0] == pytest.approx(fall, abs=0.3)


def test_filter_envelope_velocity_and_key_open_the_filter() -> None:
    synthesiser = Subtractive(RATE)
    base = OPEN | {"saw": 1.0, "cutoff": 300.0, "velocity_to_level": 0.0}

    def brightness(pitch: float = 60.0, velocity: float = 0.5, **values: float) -> float:
        settings = settings_of(synthesiser, **base | values)
        audio = synthesiser(Notes.of([0.0], [1.0], [pitch], [velocity], length=0.5), settings)[0, 0]
        power = torch.fft.rfft(audio).abs().square()
        return float((power * torch.arange(len(power))).sum() / power.sum()) * 2.0 / _hertz(pitch)

    dull = brightness()
    assert brightness(envelope_amount=4.0) > 1.2 * dull
    assert brightness(velocity=1.0, velocity_to_cutoff=4.0) > 1.2 * brightness(velocity=0.2, velocity_to_cutoff=4.0)
    assert brightness(84.0, key_tracking=1.0) == pytest.approx(dull, rel=0.05)


def _performance(dtype: torch.dtype) -> Notes:
    generator = torch.Generator().manual_seed(0)
    onset = torch.rand(12, generator=generator) * 1.5
    duration = 0.05 + 0.5 * torch.rand(12, generator=generator)
    pitch = 40.0 + 40.0 * torch.rand(12, generator=generator)
    velocity = torch.rand(12, generator=generator)
    lists = (values.tolist() for values in (onset, duration, pitch, velocity))
    return Notes.of(*lists, length=2.0, dtype=dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_window_equals_that_stretch_of_the_whole(dtype: torch.dtype, tolerance: float) -> None:
    synthesiser = Subtractive(RATE)
    settings = settings_of(synthesiser, dtype=dtype, noise=0.1, vibrato_depth=20.0)
    notes = _performance(torch.float64)
    start, pre_roll = 30870, 4410  # what the filter remembers has died away after 0.1 s
    whole = synthesiser(notes, settings)[..., start : start + 17640]
    excerpt = notes.window((start - pre_roll) / RATE, 0.5, synthesiser.tail(settings))
    window = synthesiser(excerpt, settings)[..., pre_roll : pre_roll + 17640]
    torch.testing.assert_close(window, whole, atol=tolerance, rtol=0)
    assert window.dtype == dtype
    assert window.abs().max() > 0.01


def test_items_of_a_batch_are_independent() -> None:
    synthesiser = Subtractive(RATE)
    notes = _performance(torch.float32).expand(3)
    shift = torch.tensor([[0.0], [0.11], [-0.07]])
    notes = notes.with_(onset=notes.onset + shift, pitch=notes.pitch + 10 * shift)
    settings = settings_of(synthesiser, 3)
    settings["cutoff"] = torch.tensor([300.0, 1000.0, 8000.0])
    together = synthesiser(notes, settings)
    for item in range(3):
        alone = notes.with_(**{name: value[item : item + 1] for name, value in notes.tensors().items()})
        audio = synthesiser(alone, {name: value[item : item + 1] for name, value in settings.items()})
        torch.testing.assert_close(together[item : item + 1], audio, atol=1e-5, rtol=0)


def test_mask_is_a_weight_and_no_notes_are_silence() -> None:
    synthesiser = Subtractive(RATE)
    settings = settings_of(synthesiser)
    notes = Notes.of([0.0], [0.2], [60], length=0.3)
    full = synthesiser(notes, settings)
    torch.testing.assert_close(synthesiser(notes.with_(mask=notes.mask * 0.3), settings), 0.3 * full, atol=1e-6, rtol=0)
    assert not synthesiser(notes.with_(mask=notes.mask * 0.0), settings).any()
    silence = synthesiser(Notes.of([], [], [], length=0.3), settings)
    assert silence.shape == (1, 1, 13230)
    assert not silence.any()


def test_same_bytes_every_time_and_other_noise_for_another_seed() -> None:
    synthesiser = Subtractive(RATE)
    notes = _performance(torch.float32)
    settings = settings_of(synthesiser, noise=0.3)
    first = synthesiser(notes, settings | {"seed": torch.tensor(1)})
    assert torch.equal(first, synthesiser(notes, settings | {"seed": torch.tensor(1)}))
    assert not torch.equal(first, synthesiser(notes, settings | {"seed": torch.tensor(2)}))


@pytest.mark.parametrize("field", ["onset", "duration", "pitch", "velocity", "mask"])
def test_gradient_reaches_the_notes(field: str) -> None:
    synthesiser = Subtractive(8000)
    settings = settings_of(synthesiser, dtype=torch.float64)
    onset, duration = [0.0137031, -0.0510417, 0.0713219], [0.0830171, 0.1200713, 0.0501234]
    notes = Notes.of(onset, duration, [60.3, 67.2, 45.1], [0.7, 0.5, 0.9], length=0.15, dtype=torch.float64)
    weights = torch.randn(1200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = getattr(notes, field).clone().requires_grad_()

    def loss(x: Tensor) -> Tensor:
        return (weights * synthesiser(notes.with_(**{field: x}), settings)).sum()

    assert torch.autograd.gradcheck(loss, value, eps=1e-8, atol=1e-4, rtol=1e-4)
    assert (torch.autograd.grad(loss(value), value)[0] != 0).all()
