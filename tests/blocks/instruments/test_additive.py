"""The additive synthesiser: in tune, free of aliasing, the same through every window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from synthesiser import cents_off, settings_of
from torch import Tensor

from hitchain.blocks.instruments.additive import Additive
from hitchain.blocks.notes.notes import Notes

Accuracy = Callable[..., None]
RATE = 44100
PURE = {"vibrato_depth": 0.0, "noise_level": -80.0, "sustain": 1.0, "velocity_to_brightness": 0.0, "damping": 0.0}


@pytest.mark.parametrize("pitch", [28.0, 40.5, 60.0, 76.25, 88.0, 100.0])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_in_tune_to_a_hundredth_of_a_cent(pitch: float, rate: int, accuracy: Accuracy) -> None:
    synthesiser = Additive(rate)
    audio = synthesiser(Notes.of([0.0], [2.0], [pitch], length=1.6), settings_of(synthesiser, **PURE))[0, 0]
    error = abs(cents_off(audio.double().numpy(), 440 * 2 ** ((pitch - 69) / 12), rate))
    accuracy("instruments/additive", "equal temperament, E1 to E7", error, bound=0.01, unit="cent")


@pytest.mark.parametrize("pitch", [99.3, 111.3, 126.7])
def test_no_energy_off_the_harmonics(pitch: float, accuracy: Accuracy) -> None:
    """All partials equally strong: the worst case. The floor is the noise generator at its lowest, -80 dB."""
    synthesiser = Additive(RATE)
    settings = settings_of(synthesiser, **PURE, brightness=0.0, odd_even=0.0, inharmonicity=1e-6)
    audio = synthesiser(Notes.of([0.0], [2.0], [pitch], length=1.5), settings)[0, 0, RATE // 2 :].double().numpy()
    power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 20))) ** 2
    hertz = np.arange(len(power)) * RATE / len(audio)
    fundamental = 440 * 2 ** ((pitch - 69) / 12)
    partial = np.maximum(np.round(hertz / fundamental), 1)
    on = np.abs(hertz - partial * fundamental * (1 + 0.5e-6 * (partial**2 - 1))) < 15
    aliasing = 10 * np.log10(power[~on].sum() / power[on].sum())
    accuracy("instruments/additive", "aliasing, all partials equally strong", aliasing, bound=-75.0)


def test_partials_are_those_of_a_stiff_string(accuracy: Accuracy) -> None:
    synthesiser = Additive(RATE, harmonics=12)
    stiffness = 1e-3
    settings = settings_of(synthesiser, **PURE, brightness=0.0, odd_even=0.0, inharmonicity=stiffness)
    audio = synthesiser(Notes.of([0.0], [2.0], [57.0], length=1.6), settings)[0, 0].double().numpy()
    for k in (1, 5, 12):
        expected = 220 * k * np.sqrt((1 + stiffness * k**2) / (1 + stiffness))
        error = abs(cents_off(audio, expected, RATE))
        accuracy("instruments/additive", "the formula of a stiff string", error, bound=0.01, unit="cent")


def test_vibrato_swings_as_far_and_as_often_as_stated() -> None:
    synthesiser = Additive(RATE, harmonics=1)
    values = PURE | {"vibrato_depth": 50.0, "vibrato_rate": 4.0, "vibrato_delay": 10.0}
    audio = synthesiser(Notes.of([0.0], [2.0], [81.0], length=1.6), settings_of(synthesiser, **values))[0, 0]
    phase = np.unwrap(np.angle(scipy.signal.hilbert(audio.double().numpy())))[RATE // 2 : RATE // 2 + RATE + 200]
    cents = 1200 * np.log2((phase[200:] - phase[:-200]) * RATE / (200 * 2 * np.pi) / 880)  # 5 ms means
    assert cents.max() == pytest.approx(50.0, abs=1.0)
    assert np.abs(np.fft.rfft(cents - cents.mean())).argmax() == 4


def test_level_is_what_the_knob_says_at_every_pitch() -> None:
    synthesiser = Additive(RATE)
    for pitch in (36.0, 60.0, 96.0):
        audio = synthesiser(Notes.of([0.0], [1.0], [pitch], [1.0], length=1.0), settings_of(synthesiser, **PURE))
        assert 20 * torch.log10(audio[..., 4410:].square().mean().sqrt()) == pytest.approx(-18.0, abs=0.2)


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
    synthesiser = Additive(RATE)
    settings = settings_of(synthesiser, dtype=dtype, noise_level=-20.0, vibrato_depth=20.0)
    notes = _performance(torch.float64)
    start = 30870 / RATE
    whole = synthesiser(notes, settings)[..., 30870 : 30870 + 22050]
    window = synthesiser(notes.window(start, 0.5, synthesiser.tail(settings)), settings)
    torch.testing.assert_close(window, whole, atol=tolerance, rtol=0)
    assert window.dtype == dtype
    assert window.abs().max() > 0.01


def test_items_of_a_batch_are_independent() -> None:
    synthesiser = Additive(RATE)
    notes = _performance(torch.float32).expand(3)
    shift = torch.tensor([[0.0], [0.11], [-0.07]])
    notes = notes.with_(onset=notes.onset + shift, pitch=notes.pitch + 10 * shift)
    settings = settings_of(synthesiser, 3)
    settings["brightness"] = torch.tensor([-3.0, -10.0, -20.0])
    together = synthesiser(notes, settings)
    for item in range(3):
        alone = notes.with_(**{name: value[item : item + 1] for name, value in notes.tensors().items()})
        audio = synthesiser(alone, {name: value[item : item + 1] for name, value in settings.items()})
        torch.testing.assert_close(together[item : item + 1], audio, atol=1e-5, rtol=0)


def test_mask_is_a_weight_and_no_notes_are_silence() -> None:
    synthesiser = Additive(RATE)
    settings = settings_of(synthesiser)
    notes = Notes.of([0.0], [0.2], [60], length=0.3)
    full = synthesiser(notes, settings)
    torch.testing.assert_close(synthesiser(notes.with_(mask=notes.mask * 0.3), settings), 0.3 * full)
    assert not synthesiser(notes.with_(mask=notes.mask * 0.0), settings).any()
    silence = synthesiser(Notes.of([], [], [], length=0.3), settings)
    assert silence.shape == (1, 1, 13230)
    assert not silence.any()


def test_same_bytes_every_time_and_other_noise_for_another_seed() -> None:
    synthesiser = Additive(RATE)
    notes = _performance(torch.float32)
    settings = settings_of(synthesiser, noise_level=-10.0)
    first = synthesiser(notes, settings | {"seed": torch.tensor(1)})
    assert torch.equal(first, synthesiser(notes, settings | {"seed": torch.tensor(1)}))
    assert not torch.equal(first, synthesiser(notes, settings | {"seed": torch.tensor(2)}))


@pytest.mark.parametrize("field", ["onset", "duration", "pitch", "velocity", "mask"])
def test_gradient_reaches_the_notes(field: str) -> None:
    synthesiser = Additive(8000, harmonics=8)
    settings = settings_of(synthesiser, dtype=torch.float64)
    onset, duration = [0.0137031, -0.0510417, 0.0713219], [0.0830171, 0.1200713, 0.0501234]
    notes = Notes.of(onset, duration, [60.3, 67.2, 45.1], [0.7, 0.5, 0.9], length=0.15, dtype=torch.float64)
    weights = torch.randn(1200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = getattr(notes, field).clone().requires_grad_()

    def loss(x: Tensor) -> Tensor:
        return (weights * synthesiser(notes.with_(**{field: x}), settings)).sum()

    assert torch.autograd.gradcheck(loss, value, eps=1e-8, atol=1e-4, rtol=1e-4)
    assert (torch.autograd.grad(loss(value), value)[0] != 0).all()


def test_note_beyond_the_band_is_silent_not_wrong() -> None:
    synthesiser = Additive(8000)
    settings = {name: value.requires_grad_() for name, value in settings_of(synthesiser, noise_level=-80.0).items()}
    audio = synthesiser(Notes.of([0.0], [0.1], [127.0], length=0.1), settings)
    assert audio.abs().max() < 1e-3
    audio.square().sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in settings.values())
