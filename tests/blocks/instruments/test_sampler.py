"""The sampler against exact tones, scipy's resampler, and what a loop, a layer and an envelope should do."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.blocks.instruments.sampler import Sampler
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import RESERVED, START
from hitchain.blocks.samples.prepared import KEEP
from hitchain.errors import UserError
from hitchain.files import write_wav

RATE = 44100
PLAIN = {"velocity_amount": 0.0, "attack": 1.0}


def _tones(hertz: list[float], seconds: float, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return sum(np.sin(2 * np.pi * f * time + 0.3 * k) for k, f in enumerate(hertz)) / len(hertz)


def _write(path: Path, audio: np.ndarray, rate: int = RATE) -> Path:
    write_wav(path, torch.from_numpy(np.atleast_2d(audio)).float(), rate)
    return path


def _play(sampler: Sampler, pitch: float, seconds: float, dtype: torch.dtype = torch.float64, **knobs: float):
    settings = sampler.defaults(1, dtype)
    settings |= {name: torch.tensor([value], dtype=dtype) for name, value in {**PLAIN, **knobs}.items()}
    notes = Notes.of([0.0], [seconds], [pitch], [1.0], length=seconds, dtype=dtype)
    return sampler.to(dtype)(notes, settings)[0].numpy() / sampler.loudness


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return 20 * math.log10(np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)))


def test_tones_are_transposed_to_exact_tones(tmp_path: Path, accuracy) -> None:
    """All tones stay below 0.82 of the Nyquist frequency, before and after. WAV in float32: -140 dB and better."""
    worst = -200.0
    for semitones in (-12.0, -4.7, 0.0, 0.31, 7.0, 12.0, 19.4):
        ratio = 2 ** (semitones / 12)
        hertz = [f for f in (311.0, 1234.5, 4000.0, 9000.0, 15000.0) if f * max(ratio, 1.0) < 17000]
        path = _write(tmp_path / "tones_C4.wav", _tones(hertz, 2.5))
        ours = _play(Sampler(RATE, file=str(path)), 60.0 + semitones, 0.7)[0, 2000:30000]
        time = np.arange(2000, 30000) / RATE
        exact = sum(np.sin(2 * np.pi * f * ratio * time + 0.3 * k) for k, f in enumerate(hertz)) / len(hertz)
        worst = max(worst, _error(ours, exact))
    accuracy("instruments/sampler", "exact tones, -12 to +19 semitones", worst, bound=-80.0)


def test_nothing_aliases_above_the_recorded_pitch(tmp_path: Path, accuracy) -> None:
    """A comb of tones up to 20 kHz: whatever is heard that is no transposed tone below the Nyquist frequency."""
    hertz = [997.0 * k for k in range(1, 21)]
    path = _write(tmp_path / "comb_C4.wav", _tones(hertz, 6.0))
    worst = -200.0
    for semitones in (0.4, 5.0, 12.0, 24.0, 36.0):
        ours = _play(Sampler(RATE, file=str(path)), 60.0 + semitones, 0.5)[0, 2000:20000]
        power = np.abs(np.fft.rfft(ours * scipy.signal.windows.kaiser(len(ours), 16))) ** 2
        bins = np.arange(len(power)) * RATE / len(ours)
        alias = np.ones(len(power), dtype=bool)
        for f in hertz:
            alias &= np.abs(bins - f * 2 ** (semitones / 12)) > 25.0
        worst = max(worst, 10 * math.log10(power[alias].sum() / power.sum()))
    accuracy("instruments/sampler", "aliasing, comb to 20 kHz, up to 3 octaves up", worst, bound=-80.0)


def test_agrees_with_scipy_a_fifth_up(tmp_path: Path, accuracy) -> None:
    """Noise below 9 kHz, which is in both pass bands; resample_poly with a long Kaiser window."""
    generator = np.random.default_rng(0)
    sos = scipy.signal.butter(20, 8000, fs=RATE, output="sos")
    audio = scipy.signal.sosfiltfilt(sos, generator.standard_normal(60000)) * 0.2
    path = _write(tmp_path / "noise_C4.wav", audio)
    audio = audio.astype(np.float32).astype(float)
    ours = _play(Sampler(RATE, file=str(path)), 60.0 + 12 * math.log2(1.5), 0.8)[0, 2000:30000]
    window = scipy.signal.firwin(2 * 300 + 1, 0.88 / 3, window=("kaiser", 12.0))
    theirs = scipy.signal.resample_poly(audio, 2, 3, window=window)[2000:30000]
    accuracy("instruments/sampler", "scipy.signal.resample_poly, a fifth up", _error(ours, theirs), bound=-75.0)


def test_a_loop_repeats_without_a_seam(tmp_path: Path, accuracy) -> None:
    (tmp_path / "loop.sfz").write_text(
        "<region> sample=tone.wav pitch_keycenter=60 loop_mode=loop_continuous loop_start=4410 loop_end=8819\n"
    )
    _write(tmp_path / "tone.wav", _tones([300.0, 2100.0, 6600.0], 0.25))  # 10 periods of 100 Hz are 4410 samples
    ours = _play(Sampler(RATE, file=str(tmp_path / "loop.sfz")), 67.0, 2.0)[0, 2000:80000]
    time = np.arange(2000, 80000) / RATE * 2 ** (7 / 12)
    exact = sum(np.sin(2 * np.pi * f * time + 0.3 * k) for k, f in enumerate((300.0, 2100.0, 6600.0))) / 3
    accuracy("instruments/sampler", "an endless tone, looped", _error(ours, exact), bound=-80.0)


def test_a_sustain_loop_goes_on_to_the_end_when_let_go(tmp_path: Path) -> None:
    audio = np.concatenate([_tones([300.0], 0.2), 0.25 * _tones([900.0], 0.5)])
    _write(tmp_path / "tone.wav", audio)
    text = "<region> sample=tone.wav pitch_keycenter=60 loop_mode=loop_sustain loop_start=4410 loop_end=8819"
    (tmp_path / "a.sfz").write_text(text)
    sampler = Sampler(RATE, file=str(tmp_path / "a.sfz"))
    settings = sampler.defaults() | {"release": torch.tensor([4000.0])}
    audio = sampler(Notes.of([0.0], [0.5], [60.0], length=1.0), settings)[0, 0].numpy()

    def strongest(begin: float, end: float) -> float:
        part = audio[round(begin * RATE) : round(end * RATE)]
        return float(np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 16)).argmax() * RATE / (1 << 16))

    assert strongest(0.3, 0.49) == pytest.approx(300.0, abs=2.0)
    assert strongest(0.72, 0.9) == pytest.approx(900.0, abs=2.0)


@pytest.mark.parametrize("keep", ["duration", "duration_and_formants"])
def test_kept_durations_stay_and_pitch_moves(tmp_path: Path, accuracy, keep: str) -> None:
    """A decaying tone: the same decay an octave up and down, in tune."""
    time = np.arange(2 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 220.0 * k * time) / k for k in range(1, 20))
    path = _write(tmp_path / "decay_A3.wav", 0.3 * tone * np.exp(-3.0 * time))
    sampler = Sampler(RATE, file=str(path), keep=keep)
    worst = 0.0
    for semitones in (-12.0, 5.0, 12.0):
        ours = _play(sampler, 57.0 + semitones, 1.2)[0]
        levels = [np.sqrt(np.mean(ours[round(at * RATE) :][:8820] ** 2)) for at in (0.2, 0.7)]
        assert 20 * math.log10(levels[1] / levels[0]) == pytest.approx(-13.03, abs=0.8)
        part = ours[8820:44100] * np.hanning(35280)
        hertz = np.fft.rfftfreq(1 << 20, 1 / RATE)
        spectrum = np.abs(np.fft.rfft(part, 1 << 20))
        near = np.abs(12 * np.log2(np.maximum(hertz, 1) / 220.0) - semitones) < 1
        cents = 1200 * np.log2(hertz[near][spectrum[near].argmax()] / 220.0) - 100 * semitones
        worst = max(worst, abs(cents))
    accuracy("instruments/sampler", f"the pitch asked for, keep={keep}", worst, bound=2.0, unit="cent")


def test_formants_stay_only_where_they_are_to_be_kept(tmp_path: Path) -> None:
    """A buzz with a resonance at 1.2 kHz, played a fifth up: where is the centre of its spectrum?"""
    time = np.arange(RATE) / RATE
    buzz = scipy.signal.sawtooth(2 * np.pi * 110.0 * time)
    b, a = scipy.signal.iirpeak(1200.0, 3.0, fs=RATE)
    path = _write(tmp_path / "vowel_A2.wav", 0.5 * scipy.signal.lfilter(b, a, buzz))
    centre = {}
    for name, keep, pitch in (("recorded", "none", 45.0), ("moved", "none", 52.0), ("kept", KEEP[2], 52.0)):
        ours = _play(Sampler(RATE, file=str(path), keep=keep), pitch, 0.6)[0, 4410:22050]
        power = np.abs(np.fft.rfft(ours * np.hanning(len(ours)))) ** 2
        hertz = np.fft.rfftfreq(len(ours), 1 / RATE)
        centre[name] = math.exp((power[5:] * np.log(hertz[5:])).sum() / power[5:].sum())
    assert centre["moved"] / centre["recorded"] == pytest.approx(2 ** (7 / 12), rel=0.02)
    assert centre["kept"] / centre["recorded"] == pytest.approx(1.0, rel=0.1)


def test_velocity_layers_and_panning(tmp_path: Path) -> None:
    _write(tmp_path / "soft.wav", _tones([500.0], 1.0))
    _write(tmp_path / "hard.wav", _tones([2000.0], 1.0))
    (tmp_path / "a.sfz").write_text(
        "<global> pitch_keycenter=60\n<region> sample=soft.wav hivel=63 pan=-100\n<region> sample=hard.wav lovel=64"
    )
    sampler = Sampler(RATE, file=str(tmp_path / "a.sfz"))
    for velocity, expected in ((0.3, 500.0), (0.9, 2000.0)):
        notes = Notes.of([0.0], [0.5], [60.0], [velocity], length=0.5)
        audio = sampler(notes, sampler.defaults())[0].numpy()
        spectrum = np.abs(np.fft.rfft(audio[0], 1 << 17))
        assert spectrum.argmax() * RATE / (1 << 17) == pytest.approx(expected, abs=2)
        assert (np.abs(audio[1]).max() < 1e-6) == (velocity < 0.5)


def test_a_window_is_that_stretch_of_the_whole() -> None:
    sampler = Sampler(RATE)
    settings = sampler.defaults(1, torch.float64) | {"brightness": torch.tensor([0.0], dtype=torch.float64)}
    notes = Notes.of([0.1013, 0.4, 0.62], [0.4, 0.3, 0.5], [60.2, 67.0, 72.0], length=1.5, dtype=torch.float64)
    whole = sampler(notes, settings)[..., 30870 : 30870 + 17640]
    window = sampler(notes.window(0.7, 0.4, sampler.tail(settings)), settings)
    torch.testing.assert_close(window, whole, atol=1e-9, rtol=0)


@pytest.mark.parametrize("field", ["onset", "pitch", "velocity", "mask"])
def test_gradient_reaches_the_notes(field: str) -> None:
    sampler = Sampler(8000)
    settings = sampler.defaults(1, torch.float64)
    notes = Notes.of(
        [0.0137031, -0.0510417], [0.0830171, 0.1200713], [60.3, 47.1], [0.7, 0.5], length=0.15, dtype=torch.float64
    )
    weights = torch.randn(1200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = getattr(notes, field).clone().requires_grad_()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return (weights * sampler(notes.with_(**{field: x}), settings)).sum()

    assert torch.autograd.gradcheck(loss, value, eps=1e-7, atol=1e-4, rtol=1e-4)


def test_no_notes_are_silence_and_options_are_checked(tmp_path: Path) -> None:
    sampler = Sampler(RATE)
    assert not sampler(Notes.of([], [], [], length=0.3), sampler.defaults()).any()
    for options in (
        {"keep": "formants"},
        {"root": 200},
        {"file": str(tmp_path / "none.wav")},
        {"folder": str(tmp_path)},
        {"file": "a.wav", "folder": "b"},
    ):
        with pytest.raises(UserError):
            Sampler(RATE, **options)


def test_what_every_block_is_told_is_no_knob_of_it() -> None:
    sampler = Sampler(RATE)
    assert not {parameter.name for parameter in sampler.parameters} & set(RESERVED)
    settings = {**sampler.defaults(), START: torch.tensor(3.0, dtype=torch.float64)}
    assert sampler(Notes.of([0.0], [0.1], [60.0]), settings).abs().max() > 0.01
