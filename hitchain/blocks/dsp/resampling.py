"""Changing the sample rate in the frequency domain: linear phase, no delay, differentiable.

A band-limited signal is known by its spectrum; its samples at another rate are the same spectrum, cut or extended with
zeros, transformed back. A brick wall at the lower Nyquist frequency would ring for thousands of samples, so the edge is
the smoothest there is, a Gaussian integral:

    edge(f) = erfc((f - centre) / width) / 2,     centre = 0.475 rate, width = 0.025 rate / 3.1

(f and the lower of the two rates in Hz). It is 1 to within 0.0001 dB up to 0.45 rate, and nothing is left above
0.5 rate, where images and aliases would be: they do not exist in the extended or cut spectrum. Its impulse response,
sinc * exp(-(pi width t)^2), has decayed by 90 dB after 128 samples of the lower rate, so a padding of 192 samples
holds it and nothing wraps around. Outside the signal there is silence.

Where only the height of what lies between samples matters, `true_peak` looks there at a tenth of the cost.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hitchain.blocks.dsp.fft import fast_length
from hitchain.errors import UserError

PADDING = 192
"""Samples, at the lower of two rates, in which the edge filter's ringing decays."""

_EDGE_CENTRE = 0.475
_EDGE_WIDTH = 0.025 / 3.1


def upsample(audio: Tensor, factor: int) -> Tensor:
    """Audio (..., samples) -> (..., samples * factor). Sample i of the input stands at i * factor of the output.

    Raises `ValueError` where the factor is not a whole number from 1 up.
    """
    _check_factor(factor)
    if factor == 1:
        return audio
    n_fft = fast_length(audio.shape[-1] + PADDING)
    spectrum = torch.fft.rfft(audio, n=n_fft)
    return interpolate(spectrum, n_fft, factor)[..., : audio.shape[-1] * factor]


def downsample(audio: Tensor, factor: int) -> Tensor:
    """Audio (..., samples) -> (..., ceil(samples / factor)), filtered so that nothing aliases.

    Raises `ValueError` where the factor is not a whole number from 1 up.
    """
    _check_factor(factor)
    if factor == 1:
        return audio
    samples = -(-audio.shape[-1] // factor)
    n_fft = fast_length(samples + PADDING)
    result: Tensor = torch.fft.irfft(decimate(audio, n_fft, factor), n=n_fft)[..., :samples]
    return result


def interpolate(spectrum: Tensor, n_fft: int, factor: int) -> Tensor:
    """The second half of `upsample`: for those who filter the spectrum on the way.

    Args:
        spectrum: complex (..., n_fft // 2 + 1), the real FFT of the signal, padded to an even n_fft.

    Returns:
        (..., n_fft * factor).
    """
    shaped = spectrum * (factor * edge(n_fft, like=spectrum.real))
    audio: Tensor = torch.fft.irfft(shaped, n=n_fft * factor)
    return audio


def decimate(audio: Tensor, n_fft: int, factor: int) -> Tensor:
    """The first half of `downsample`: the spectrum at the lower rate, for those who filter it before going back.

    Args:
        audio: (..., samples) at the higher rate, samples <= n_fft * factor.

    Returns:
        complex (..., n_fft // 2 + 1).
    """
    spectrum: Tensor = torch.fft.rfft(audio, n=n_fft * factor)[..., : n_fft // 2 + 1]
    return spectrum * (edge(n_fft, like=audio) / factor)


def edge(n_fft: int, like: Tensor) -> Tensor:
    """The band edge at the bins of a real FFT at the lower rate: (n_fft // 2 + 1,), from 1 down to 0."""
    position = torch.arange(n_fft // 2 + 1, dtype=like.dtype, device=like.device) / n_fft
    return 0.5 * torch.erfc((position - _EDGE_CENTRE) / _EDGE_WIDTH)


def resample(audio: Tensor, rate: int, target: int) -> Tensor:
    """Change the sample rate, by any ratio.

    Args:
        audio: (..., samples) at `rate` [Hz].
        target: the new sample rate [Hz].

    Returns:
        (..., ceil(samples * target / rate)); the first sample stays the first.

    Raises:
        UserError: a rate is not a whole number from 1 up.
    """
    for value in (rate, target):
        if value != int(value) or value < 1:
            raise UserError(f"a sample rate of {value} Hz cannot be used; it must be a whole number from 1 up.")
    if rate == target:
        return audio
    divisor = math.gcd(rate, target)
    step, target_step = rate // divisor, target // divisor
    padded = audio.shape[-1] + math.ceil(PADDING * max(1.0, rate / target))
    blocks = 2 * math.ceil(fast_length(math.ceil(padded / step)) / 2)  # even, so that both lengths are even
    n_fft, n_target = step * blocks, target_step * blocks
    kept = min(n_fft, n_target) // 2 + 1
    spectrum = torch.fft.rfft(audio, n=n_fft)[..., :kept]
    shaped = spectrum * (edge(min(n_fft, n_target), like=audio) * (target / rate))
    result: Tensor = torch.fft.irfft(shaped, n=n_target)[..., : -(-audio.shape[-1] * target // rate)]
    return result


def _check_factor(factor: int) -> None:
    if factor != int(factor) or factor < 1:
        raise ValueError(f"the oversampling factor must be a whole number from 1 up, not {factor}")
