"""The tube amplifier by what it should do to sound."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyloudnorm
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hitchain import blocks
from hitchain.blocks.amps.tube import Tube
from hitchain.blocks.dsp import circuits

RATE = 44100


def sine(frequency: float, seconds: float, level: float = 1.0, rate: int = RATE) -> Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (level * torch.sin(2 * math.pi * frequency * time))[None, None]


def play(audio: Tensor, rate: int = RATE, oversampling: int | None = None, **chosen: float) -> Tensor:
    amplifier = Tube(rate, oversampling=oversampling)
    settings = amplifier.defaults(audio.shape[0], audio.dtype)
    for key, value in chosen.items():
        settings[key] = torch.full_like(settings[key], value)
    return amplifier(audio, settings)


def spectrum(audio: Tensor) -> np.ndarray:
    window = np.kaiser(audio.shape[-1], 20.0)  # side lobes below -150 dB
    return np.abs(np.fft.rfft(audio.numpy() * window)) ** 2


def off_harmonics(audio: Tensor, frequency: float, rate: int = RATE) -> float:
    """The energy away from the harmonics against that on them [dB], above 20 Hz."""
    power = spectrum(audio)
    hertz = np.arange(len(power)) * rate / audio.shape[-1]
    order = np.round(hertz / frequency)
    on = (np.abs(hertz - order * frequency) < 12.0) & (order > 0)
    return float(10 * np.log10(power[~on & (hertz > 20)].sum() / power[on].sum()))


@pytest.mark.parametrize("frequency", [4997.0, 1237.3])  # neither divides the rate: aliases fall between harmonics
@pytest.mark.parametrize("level", [1.0, 0.25])
def test_aliasing_of_a_high_note_at_the_highest_gain(
    frequency: float, level: float, accuracy: Callable[..., None]
) -> None:
    output = play(sine(frequency, 1.5, level), drive=60.0, master=24.0, treble=1.0, presence=1.0, tight=20.0)
    aliasing = off_harmonics(output[0, 0, RATE // 2 : -4410], frequency)  # in the steady state
    accuracy(
        "amps/tube", f"aliasing, {frequency:g} Hz sine at full drive", aliasing, bound=-50.0
    )  # -40 dB is asked for


def test_more_oversampling_leaves_less_aliasing() -> None:
    levels = [
        off_harmonics(play(sine(4997.0, 1.0), oversampling=factor, drive=60.0)[0, 0, RATE // 2 : -4410], 4997.0)
        for factor in (1, 2, 4)
    ]
    assert levels[0] > levels[1] + 10 > levels[2] + 20


def harmonic(audio: Tensor, frequency: float, order: int) -> float:
    """The level of a harmonic against the fundamental [dB]."""
    power = spectrum(audio)
    bins = [round(frequency * k * audio.shape[-1] / RATE) for k in (1, order)]
    fundamental, other = (power[b - 12 : b + 13].sum() for b in bins)
    return float(10 * np.log10(other / fundamental))


def test_drive_adds_harmonics_and_bias_adds_even_ones() -> None:
    note = sine(441.0, 1.0, 0.1)
    clean, driven = (play(note, drive=drive)[0, 0, RATE // 2 :] for drive in (0.0, 40.0))
    assert harmonic(clean, 441.0, 3) < -35.0
    assert harmonic(driven, 441.0, 3) > -20.0
    centred, biased = (play(note, drive=0.0, bias=bias)[0, 0, RATE // 2 :] for bias in (0.0, 0.8))
    assert harmonic(biased, 441.0, 2) > harmonic(centred, 441.0, 2) + 10.0


def test_quiet_signals_meet_the_tone_stack_exactly(accuracy: Callable[..., None]) -> None:
    """Far below clipping the amplifier is linear: its response must be the product of its circuits."""
    samples, start = 1 << 15, 2000
    impulse = torch.zeros(1, 1, samples, dtype=torch.float64)
    impulse[..., start] = 1e-6
    chosen = {"drive": 0.0, "bias": 0.0, "sag": 0.0, "master": 0.0, "presence": 0.0, "bass": 0.8, "treble": 0.3}
    measured = np.fft.rfft(np.roll(play(impulse, **chosen)[0, 0].numpy(), -start)) / 1e-6
    hertz = torch.arange(samples // 2 + 1, dtype=torch.float64) * RATE / samples
    pots = [torch.tensor([value], dtype=torch.float64) for value in (0.8, 0.5, 0.3)]
    stack = circuits.rational(*circuits.tone_stack(*pots), hertz)[0].numpy()
    f = hertz.numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        poles = [1 / (1 + corner / (1j * f)) for corner in (60.0, 20.0, 30.0)]
        expected = stack * np.prod(poles, axis=0) / (1 + 1j * f / 9000.0) / (1 + 1j * f / 12000.0)
    band = (f > 40.0) & (f < 8000.0)
    ratio = measured[band] / expected[band]
    # The coupling's digital poles at 176 kHz stand for analogue ones: 0.03 dB and 0.02 radians a kHz off.
    level = 20 * np.log10(np.abs(ratio))
    accuracy("amps/tube", "analogue circuits, 40 Hz to 8 kHz", level.max() - level.min(), bound=0.05)
    angle = np.angle(ratio)
    assert np.abs(angle[f[band] < 2000.0]).max() < 0.05  # nothing is late, nothing is inverted


def test_a_loud_note_sags_and_recovers() -> None:
    loud, soft = sine(220.0, 1.0, 0.5), sine(220.0, 0.6, 0.02)
    audio = torch.cat([loud, soft], dim=-1)
    stiff, sagging = (play(audio, sag=sag, drive=0.0, master=18.0)[0, 0] for sag in (0.0, 1.0))

    def level(signal: Tensor, start: float, seconds: float = 0.05) -> float:
        part = signal[round(start * RATE) : round((start + seconds) * RATE)]
        return float(20 * part.square().mean().sqrt().log10())

    assert level(sagging, 0.005, 0.01) > level(sagging, 0.5) + 1.5  # the attack stands out
    assert level(stiff, 0.005, 0.01) < level(stiff, 0.5) + 0.6
    assert level(sagging, 0.5) < level(stiff, 0.5) - 2.0
    assert level(sagging, 1.5) == pytest.approx(level(stiff, 1.5), abs=1.0)  # recovered


def test_loudness_stays_near_that_of_the_input_at_any_drive() -> None:
    """Plucked notes, as loud as a guitar: 60 dB of drive may change the loudness by no more than 6 LU."""
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    notes = [
        sum(torch.sin(2 * math.pi * pitch * k * time) / k for k in range(1, 9)) * torch.exp(-4 * time)
        for pitch in (110.0, 146.8, 196.0)
    ]
    audio = torch.cat(notes)[None, None].float()
    audio = 0.125 * audio / audio.std()
    meter = pyloudnorm.Meter(RATE)
    loudness = [
        meter.integrated_loudness(play(audio, drive=drive, master=master)[0].T.double().numpy())
        for drive in (0.0, 20.0, 40.0, 60.0)
        for master in (-12.0, 6.0)
    ]
    assert max(loudness) - min(loudness) < 6.0
    assert abs(np.mean(loudness) - meter.integrated_loudness(audio[0].T.numpy())) < 6.0


def test_no_dc_leaves() -> None:
    offset = 0.3 + sine(220.0, 1.0, 0.3)
    for bias in (-1.0, 0.0, 1.0):
        output = play(offset, drive=40.0, bias=bias)[0, 0, RATE // 2 :]  # whole cycles
        assert abs(float(output.mean())) < 1e-3 * float(output.std())


def test_a_window_after_its_preroll_is_the_same_stretch() -> None:
    torch.manual_seed(2)
    audio = 0.125 * torch.randn(1, 1, 2 * RATE, dtype=torch.float64)
    chosen = {"drive": 30.0, "sag": 1.0}
    start, preroll = RATE + 777, RATE // 2
    length = RATE // 2
    whole = play(audio, **chosen)[..., start : start + length]
    window = play(audio[..., start - preroll : start + length], **chosen)[..., preroll:]
    assert float((whole - window).square().mean().sqrt() / whole.square().mean().sqrt()) < 2e-3  # sag's 1 ms steps


def test_long_audio_in_stretches_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined below -100 dB, at a low rate and with stretches shorter than usual; so is the gradient."""
    audio = 0.2 * torch.randn(1, 1, 40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    audio.requires_grad_()
    whole = play(audio, rate=8000, oversampling=2, sag=1.0)
    monkeypatch.setattr("hitchain.blocks.amps.tube.STRETCH", 1.0)
    pieces = play(audio, rate=8000, oversampling=2, sag=1.0)
    assert float((pieces - whole).detach().abs().max()) < 1e-5 * float(whole.detach().abs().max())
    weights = torch.randn(whole.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, other = (torch.autograd.grad((each * weights).sum(), audio)[0] for each in (pieces, whole))
    assert float((one - other).abs().max()) < 1e-4 * float(other.abs().max())


@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000, 192000])
def test_sounds_alike_at_every_session_rate(rate: int) -> None:
    loudness = []
    for each in (RATE, rate):
        output = play(sine(330.0, 1.5, 0.2, each), rate=each, drive=30.0)[0, 0, each // 2 :]
        loudness.append(float(20 * output.square().mean().sqrt().log10()))
    assert loudness[0] == pytest.approx(loudness[1], abs=0.5 if rate > 10_000 else 1.0)  # 8 kHz loses overtones


@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 2]))
def test_stereo_channels_share_only_the_supply(seed: int, channels: int) -> None:
    torch.manual_seed(seed)
    audio = 0.2 * torch.randn(2, channels, 2000, dtype=torch.float64)
    output = play(audio, sag=0.0)
    for channel in range(channels):
        alone = play(audio[:, channel : channel + 1], sag=0.0)
        assert torch.allclose(output[:, channel : channel + 1], alone, atol=1e-12)


def test_silence_one_sample_and_the_registry() -> None:
    assert not play(torch.zeros(1, 2, 100), drive=60.0, bias=1.0).any()
    assert play(torch.ones(1, 1, 1)).shape == (1, 1, 1)
    assert isinstance(blocks.create("amps/tube", sample_rate=48000), Tube)
