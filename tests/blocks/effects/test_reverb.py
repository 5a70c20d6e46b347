"""The reverb: against a network run sample by sample, its decay by Schroeder's integration, density, left and right."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor
from torch.autograd import gradcheck

from hitchain.blocks.dsp.feedback_network import FeedbackNetwork, feedback_network_response
from hitchain.blocks.effects.reverb import DIFFUSERS, Reverb
from hitchain.errors import UserError

RATE = 44100


def settings_of(**knobs: float) -> dict[str, Tensor]:
    settings = Reverb().defaults(1, torch.float64)
    settings["mix"].fill_(1.0)
    settings["pre_delay"].fill_(0.0)
    for name, value in knobs.items():
        settings[name].fill_(value)
    return settings


def impulse_response(seconds: float, lines: int = 8, **knobs: float) -> np.ndarray:
    impulse = torch.zeros(1, 1, int(seconds * RATE), dtype=torch.float64)
    impulse[0, 0, 0] = 1.0
    return Reverb(RATE, lines=lines)(impulse, settings_of(**knobs))[0].numpy()


def network_loop(lengths: list[int], decay: float, samples: int, signs: np.ndarray) -> np.ndarray:
    """Ring buffers, a gain a line, and the feedback matrix written out: a permuted Householder reflection."""
    lines = len(lengths)
    gains = [10.0 ** (-3.0 * length / decay) for length in lengths]
    ring = np.roll(np.eye(lines), 1, axis=0)
    matrix = ring - 2.0 / lines
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(lines), atol=1e-12)  # lossless but for the gains
    buffers = [np.zeros(length) for length in lengths]
    output = np.zeros((len(signs), samples))
    for t in range(samples):
        states = np.array([g * buffer[t % len(buffer)] for g, buffer in zip(gains, buffers, strict=True)])
        output[:, t] = signs @ states
        entering = matrix @ states + (1.0 if t == 0 else 0.0)
        for buffer, value in zip(buffers, entering, strict=True):
            buffer[t % len(buffer)] = value
    return output


def network(lengths: list[float], rates: list[float], delay: float = 0.0) -> FeedbackNetwork:
    """One network without a direct sound; crossovers at a tenth and three tenths of the sample rate."""
    tangents = [math.tan(0.1 * math.pi), math.tan(0.3 * math.pi)]
    values = ([lengths], [rates], [tangents], [delay], [1.0], [0.0])
    return FeedbackNetwork(*(torch.tensor(value, dtype=torch.float64) for value in values))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_network_is_the_sample_loop(fused: bool, dtype: torch.dtype) -> None:
    """Below -80 dB: the loop has fallen by 120 dB where the transform wraps."""
    lengths, decay, n_fft = [101, 143, 165, 177, 212, 230, 251, 263], 2000.0, 4096
    signs = np.array([[1, -1] * 4, [1, 1, -1, -1] * 2], dtype=float)
    feed = torch.ones(n_fft // 2 + 1, dtype=dtype.to_complex())
    response = feedback_network_response(
        network(lengths, [math.log(1000.0) / decay] * 3), torch.tensor(signs), feed, n_fft, fused
    )
    output = torch.fft.irfft(response, n=n_fft)[0].double().numpy()
    expected = network_loop(lengths, decay, n_fft, signs)
    assert np.abs(output - expected).max() < 1e-4 * np.abs(expected).max()


def test_whole_reverb_is_the_sample_loop_with_all_passes(accuracy: Callable[..., None]) -> None:
    """Sizes are fractions of samples; with whole ones and one decay for all bands a loop can follow.

    Compared below the roll-off of the last tenth below Nyquist.
    """
    reverb = Reverb(RATE)
    reverb.seconds = torch.tensor([301, 443, 565, 677, 712, 830, 951, 1063]).double() / RATE
    settings = settings_of(decay_low=0.2, decay_mid=0.2, decay_high=0.2)
    samples = 8000
    audio = np.zeros(samples)
    audio[:200] = scipy.signal.firwin(200, 15000, fs=RATE)
    output = reverb(torch.tensor(audio)[None, None], settings)[0].numpy()
    lengths = [round(s * RATE) for s in reverb.seconds.tolist()]
    network = network_loop(lengths, 0.2 * RATE, samples, reverb.signs.numpy())
    source = audio
    for seconds, gain in DIFFUSERS:
        b, a = np.zeros(round(seconds * RATE) + 1), np.zeros(round(seconds * RATE) + 1)
        b[0], b[-1], a[0], a[-1] = gain, 1.0, 1.0, gain
        source = scipy.signal.lfilter(b, a, source)
    expected = np.stack([scipy.signal.fftconvolve(source, channel)[:samples] for channel in network])
    scale = float((output * expected).sum() / (expected**2).sum())  # the level is tested by itself
    error = 20 * np.log10(np.abs(output - scale * expected).max() / np.abs(output).max())
    accuracy("effects/reverb", "a loop over samples, scipy's all-passes", error, bound=-80.0)


@pytest.mark.parametrize("fused", [True, False])
def test_network_gradients(fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)

    def between(low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * values).requires_grad_()

    values = [between(5, 25, 2, 4), between(0.005, 0.04, 2, 3), between(0.1, 0.9, 2, 2), between(0, 9, 2)]
    values += [between(0, 1, 2), between(0, 1, 2)]
    signs = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]], dtype=torch.float64)
    feed = torch.polar(between(0.5, 1, 17), between(-1, 1, 17)).detach()
    assert gradcheck(lambda *v: feedback_network_response(FeedbackNetwork(*v), signs, feed, 32, fused), values)


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_fused_network_is_the_plain_one_over_many_blocks(scale: float) -> None:
    """Value and gradients, also where attenuation a line is far beyond 1 neper, where the kernel squares."""
    n_fft = 5000
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    feed = torch.polar(1.0 / (1.0 + bins / 500.0), bins / 30.0)
    given = network(torch.linspace(300, 3000, 8).tolist(), [scale * 0.001, scale * 0.003, scale * 0.005], 77.7)
    values = [value.requires_grad_() for value in given]
    signs = torch.tensor([[1, -1] * 4, [1, 1, -1, -1] * 2], dtype=torch.float64)
    one, other = (feedback_network_response(FeedbackNetwork(*values), signs, feed, n_fft, f) for f in (True, False))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    cotangent = torch.randn(one.shape, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)
    ours, plain = (torch.autograd.grad(response, values, cotangent) for response in (one, other))
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def octave_decay(response: np.ndarray, centre: float) -> float:
    """T60 from the slope between -5 and -35 dB of Schroeder's backward integration (ISO 3382's T30) in an octave."""
    edges = [centre / math.sqrt(2), centre * math.sqrt(2)]
    band = scipy.signal.sosfilt(scipy.signal.butter(4, edges, "band", fs=RATE, output="sos"), response)
    energy = np.cumsum(band[::-1] ** 2)[::-1]
    decibels = 10 * np.log10(energy / energy[0] + 1e-30)
    first, last = int(np.argmax(decibels < -5)), int(np.argmax(decibels < -35))
    return -60.0 / np.polyfit(np.arange(first, last) / RATE, decibels[first:last], 1)[0]


@pytest.mark.parametrize("lines", [8, 16])
@pytest.mark.parametrize("decays", [(1.0, 1.0, 1.0), (2.0, 1.6, 0.8), (3.0, 1.0, 0.4)])
def test_decay_in_octaves_is_the_declared_within_10_percent(
    lines: int, decays: tuple[float, float, float], accuracy: Callable[..., None]
) -> None:
    low, mid, high = decays
    response = impulse_response(1.3 * max(decays), lines, decay_low=low, decay_mid=mid, decay_high=high)
    for centre in (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0):
        share_low = 1 / (1 + (centre / 250.0) ** 2)
        share_high = 1 / (1 + (math.tan(math.pi * 4500 / RATE) / math.tan(math.pi * centre / RATE)) ** 2)
        declared = 1 / (share_low / low + (1 - share_low - share_high) / mid + share_high / high)
        error = 100 * abs(octave_decay(response[0], centre) / declared - 1)
        accuracy("effects/reverb", "ISO 3382's T30 in octaves, 125 Hz to 8 kHz", error, bound=10.0, unit="%")


def test_echoes_are_dense_and_no_mode_stands_out() -> None:
    """Normalised echo density (Abel and Huang 2006): 1 is Gaussian, as in a diffuse field."""
    response = impulse_response(1.5)[0]
    window = slice(int(0.1 * RATE), int(0.2 * RATE))
    part = response[window] / np.sqrt(np.mean(response[window] ** 2))
    density = np.mean(np.abs(part) > 1.0) / math.erfc(1 / math.sqrt(2))
    assert 0.85 < density < 1.15
    # levels of a diffuse field's bins are exponential: the largest of n about ln(n) + 0.6 times the mean
    spectrum = np.abs(np.fft.rfft(response[int(0.1 * RATE) : int(1.1 * RATE)])) ** 2
    band = spectrum[500:2500]
    assert band.max() / band.mean() < 2.5 * (math.log(len(band)) + 0.6)


def test_left_and_right_are_decorrelated_and_equally_loud() -> None:
    left, right = impulse_response(1.5)
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.15
    assert abs(10 * math.log10(np.sum(left**2) / np.sum(right**2))) < 1.5


@pytest.mark.parametrize("decay", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("size", [0.25, 1.0, 4.0])
def test_energy_is_that_of_the_input_whatever_decay_and_size(decay: float, size: float) -> None:
    response = impulse_response(1.2 * decay + 0.5, decay_low=decay, decay_mid=decay, decay_high=decay, size=size)
    assert abs(10 * math.log10(np.sum(response**2) / 2)) < 3.0


def test_pre_delay_shifts_and_mix_0_is_dry() -> None:
    plain, late = impulse_response(0.5), impulse_response(0.5, pre_delay=100.0)
    np.testing.assert_allclose(late[:, 4410:], plain[:, :-4410], atol=1e-4 * np.abs(plain).max())
    audio = torch.rand(1, 2, 500, dtype=torch.float64) - 0.5
    torch.testing.assert_close(Reverb()(audio, settings_of(mix=0.0)), audio, rtol=0, atol=1e-12)


def test_lines_are_8_or_16() -> None:
    with pytest.raises(UserError, match="lines=5"):
        Reverb(lines=5)
