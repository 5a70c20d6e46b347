"""The tape recorder: the published loop behind its heads, aliasing, wow in cents, noise that follows the song."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from distortions import HIGH, RATE, aliasing, apart, phrase, process, sine

from hitchain import blocks
from hitchain.blocks.parameter import START

Accuracy = Callable[..., None]
TRUE = {"wow": 0.0, "flutter": 0.0, "noise": -80.0}


def published(field: np.ndarray, c: float) -> np.ndarray:
    """dM/dH of Chowdhury 2019, equation 11, Ms = 1, by Heun's method in a plain loop."""
    a, k, alpha = 1.0 / 3.01, 0.47875, 0.0016

    def slope(m: float, h: float, delta: float) -> float:
        q = (h + alpha * m) / a
        near = abs(q) < 1e-3
        anhysteretic = q / 3.0 if near else 1.0 / np.tanh(q) - 1.0 / q
        steep = 1.0 / 3.0 if near else 1.0 / q**2 - 1.0 / np.sinh(q) ** 2
        above = anhysteretic - m
        turned = (1 - c) * above / ((1 - c) * delta * k - alpha * above) if above * delta > 0 else 0.0
        return (turned + c / a * steep) / (1.0 - c * alpha / a * steep)

    m, before, result = 0.0, 0.0, []
    for h in field:
        delta, step = (1.0 if h > before else -1.0), h - before
        first = slope(m, before, delta)
        m += 0.5 * step * (first + slope(m + step * first, h, delta))
        before = h
        result.append(m)
    return np.array(result)


def test_is_the_published_loop(accuracy: Accuracy) -> None:
    samples, c, speed, factor = 4096, 0.05 + 0.9 * 0.5, 30.0, 16
    audio = phrase(0.5, samples)
    high = np.fft.irfft(np.fft.rfft(audio[0, 0].numpy()), samples * factor) * factor
    spectrum = np.fft.rfft(published(high, c))[: samples // 2 + 1] / factor
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    w = hertz / (3.5 * speed)
    bump = (1 - w**2 + 1.26j * 0.8 * w) / (1 - w**2 + 0.8j * w)
    loss = np.exp(-2 * np.pi * hertz * 3e-6 / (speed * 0.0254))
    expected = np.fft.irfft(spectrum * loss * bump * hertz / (hertz - 10j), samples)
    output = process("effects/tape", audio, drive=0.0, bias=0.5, speed=speed, level=0.0, **TRUE)[0, 0].numpy()
    output = np.fft.irfft(np.fft.rfft(output) * (hertz > 60.0), samples)
    expected = np.fft.irfft(np.fft.rfft(expected) * (hertz > 60.0), samples)
    scale = float(output @ expected / (expected @ expected))  # the loudness that is made up
    # what stays magnetised after the phrase is cut off by both windows
    accuracy("effects/tape", "Chowdhury 2019, a loop over samples", apart(output, scale * expected), bound=-35.0)


def test_aliasing(accuracy: Accuracy) -> None:
    level = max(aliasing("effects/tape", drive=18.0, bias=bias, **TRUE) for bias in (0.0, 0.6, 1.0))
    accuracy("effects/tape", "aliasing, 5 kHz sine at full drive", level, bound=-48.0)


def test_wow_is_the_deviation_of_the_speed(accuracy: Accuracy) -> None:
    tone = sine(1000.0, 4.0, 0.05)
    output = process("effects/tape", tone, wow=1.0, flutter=0.0, noise=-80.0, drive=-12.0)[0, 0].numpy()
    spectrum = np.fft.fft(output)
    spectrum[len(spectrum) // 2 :] = 0
    frequency = np.diff(np.unwrap(np.angle(np.fft.ifft(2 * spectrum)))) * RATE / (2 * np.pi)
    settled = frequency[RATE // 2 : -RATE // 2]
    deviation = 100 * np.abs(np.convolve(settled, np.ones(441) / 441, "valid") / 1000.0 - 1.0).max()
    accuracy("effects/tape", "1 % of wow, by the phase of a tone", abs(deviation - 1.0), bound=0.02, unit="% of speed")


def test_speed_decides_on_treble() -> None:
    slow, fast = (process("effects/tape", sine(HIGH, level=0.05), speed=s, **TRUE).std() for s in (3.75, 30.0))
    assert 0.2 < float(slow / fast) < 0.5


def test_a_window_moves_in_step_with_the_song() -> None:
    block = blocks.create("effects/tape", sample_rate=RATE)
    settings = {key: value.double() for key, value in block.defaults().items()}
    audio, late = sine(330.0, 2.0, 0.2), RATE
    whole = block(audio, settings)[..., late + 4000 : -3000]
    start = torch.tensor(late / RATE, dtype=torch.float64)
    window = block(audio[..., late:], {**settings, START: start})[..., 4000:-3000]
    assert float((whole - window).std() / whole.std()) < 0.05  # the tape forgets slowly what came before


def test_noise_rides_on_the_signal_only() -> None:
    assert not process("effects/tape", torch.zeros(1, 1, 1000), noise=-30.0).any()
