"""The pitch effects against sines of the pitch they should have; what is left beside it; gradients; formants."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hitchain import blocks
from hitchain.blocks.dsp.grains import transposed

RATE = 44100
Accuracy = Callable[..., None]
TIME = np.arange(RATE) / RATE


def tone(frequency: float, partials: int = 1) -> np.ndarray:
    return sum(np.sin(2 * math.pi * k * frequency * TIME) / k for k in range(1, partials + 1)) * 0.5


def rendered(name: str, audio: np.ndarray, options: dict[str, object] | None = None, **knobs: float) -> np.ndarray:
    block = blocks.create(name, **(options or {}))
    settings = block.defaults(1, torch.float64) | {k: torch.tensor([v], dtype=torch.float64) for k, v in knobs.items()}
    return block(torch.tensor(audio[None, None]), settings)[0].numpy()


def pitch(audio: np.ndarray) -> float:
    """Of the strongest sine, by the peak of a windowed spectrum interpolated in dB."""
    spectrum = np.log(np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 8 * len(audio))) + 1e-9)
    k = int(spectrum.argmax())
    a, b, c = spectrum[k - 1 : k + 2]
    return (k + 0.5 * (a - c) / (a - 2 * b + c)) * RATE / (8 * len(audio))


@pytest.mark.parametrize("semitones", [-12.0, -5.0, 0.3, 7.0, 12.0])
@pytest.mark.parametrize("frequency", [110.0, 440.0, 1245.0])
def test_a_sine_comes_out_at_the_right_pitch(semitones: float, frequency: float, accuracy: Accuracy) -> None:
    output = rendered("effects/pitch_shifter", tone(frequency), semitones=semitones, mix=1.0)[0, 5000:-5000]
    cents = abs(1200 * math.log2(pitch(output) / frequency) - 100 * semitones)
    # grains are placed to the sample, so their phases differ by up to half a sample at the input
    accuracy("effects/pitch_shifter", f"equal temperament, a sine {semitones:+g} semitones", cents, 1.0, unit="cent")
    assert abs(20 * math.log10(np.std(output) / np.std(tone(frequency)))) < 0.5


def test_what_is_beside_a_shifted_sine_is_faint(accuracy: Accuracy) -> None:
    output = rendered("effects/pitch_shifter", tone(441.0), semitones=7.0, mix=1.0)[0, 5000:-5000]
    wanted = 441.0 * 2 ** (7 / 12)
    time = np.arange(len(output)) / RATE
    basis = np.stack([np.sin(2 * math.pi * wanted * time), np.cos(2 * math.pi * wanted * time)], axis=1)
    rest = output - basis @ np.linalg.lstsq(basis, output, rcond=None)[0]
    level = 20 * math.log10(np.std(rest) / np.std(output))
    accuracy("effects/pitch_shifter", "a pure sine a fifth up: all that is not that sine", level, bound=-60.0)


def test_reading_faster_does_not_alias(accuracy: Accuracy) -> None:
    """15 kHz an octave up would be 30 kHz, and fold to 14.1 kHz."""
    output = rendered("effects/pitch_shifter", tone(15000.0), semitones=12.0, mix=1.0)[0, 5000:-5000]
    level = 20 * math.log10(np.std(output) / np.std(tone(15000.0)) + 1e-12)
    accuracy("effects/pitch_shifter", "aliasing, 15 kHz sine an octave up", level, bound=-90.0)


def test_no_shift_is_no_change() -> None:
    audio = tone(220.0, 20) + 0.1 * np.random.default_rng(0).standard_normal(RATE) * (TIME > 0.3)
    low = torch.tensor(audio[None, None])
    output = transposed(low, torch.ones(1, dtype=torch.float64), RATE)
    spectrum = torch.fft.rfft(output - low)[..., : round(0.44 * RATE)]
    assert spectrum.abs().max() < 1e-3 * torch.fft.rfft(low).abs().max()


@pytest.mark.parametrize("semitones", [-7.0, 5.0])
def test_kernel_and_tensor_operations_agree_and_so_do_their_gradients(semitones: float) -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(2, 2, 5000, generator=generator, dtype=torch.float64)
    weight = torch.randn(2, 2, 5000, generator=generator, dtype=torch.float64)
    found = []
    for fused in (True, False):
        x, ratio = audio.clone().requires_grad_(), torch.full((2,), 2 ** (semitones / 12)).double().requires_grad_()
        output = transposed(x, ratio, RATE, 0.31, fused=fused)
        found.append([output, *torch.autograd.grad((weight * output).sum(), [x, ratio])])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


def test_formants_stay() -> None:
    """A buzz with a resonance at 1 kHz, up a fifth: the loudest partials stay near 1 kHz only with formants kept."""
    partials = np.arange(1, 60)
    levels = 1.0 / (1.0 + ((150.0 * partials - 1000.0) / 200.0) ** 2)
    audio = 0.2 * (levels[:, None] * np.sin(2 * math.pi * 150.0 * partials[:, None] * TIME)).sum(axis=0)
    centres = []
    for keep in (False, True):
        output = rendered("effects/pitch_shifter", audio, {"keep_formants": keep}, semitones=7.0, mix=1.0)[0]
        power = np.abs(np.fft.rfft(output[5000:-5000] * np.hanning(RATE - 10000))) ** 2
        hertz = np.fft.rfftfreq(RATE - 10000, 1 / RATE)
        centres.append(float((power * hertz).sum() / power.sum()))
    assert centres[0] > 1350.0
    assert abs(centres[1] - 1050.0) < 120.0


def test_harmoniser_and_octaver_are_sums_of_shifted_voices(accuracy: Accuracy) -> None:
    audio = tone(220.0, 8)
    knobs = {"interval_1": 4.0, "interval_2": 7.0, "level_1": -6.0, "level_2": -9.0, "spread": 1.0}
    output = rendered("effects/harmoniser", audio, **knobs)
    expected = np.stack([audio, audio])
    for side, (semitones, level) in enumerate(((4.0, -6.0), (7.0, -9.0))):
        voice = rendered("effects/pitch_shifter", audio, semitones=semitones, mix=1.0)[0]
        expected[side] += math.sqrt(2.0) * 10 ** (level / 20) * voice
    error = 20 * math.log10(np.abs(output - expected).max() / np.abs(expected).max() + 1e-20)
    accuracy("effects/harmoniser", "voices of effects/pitch_shifter, panned and summed", error, bound=-150.0)
    low = rendered("effects/octaver", tone(220.0), down=0.0, up=-48.0, dry=-48.0, tone=8000.0)[0, 5000:-5000]
    high = rendered("effects/octaver", tone(220.0), down=-48.0, up=0.0, dry=-48.0)[0, 5000:-5000]
    for audio, wanted in ((low, 110.0), (high, 440.0)):
        cents = abs(1200 * math.log2(pitch(audio) / wanted))
        accuracy("effects/octaver", f"{wanted:g} Hz from 220 Hz", cents, bound=1.0, unit="cent")
