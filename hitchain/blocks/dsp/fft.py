"""Filtering by frequency response: good transform sizes, one real FFT pair, no wrap-around."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=4096)
def fast_length(samples: int) -> int:
    """The smallest even length >= samples of the form 2^a 3^b 5^c: what FFT libraries transform fastest."""
    best = 1 << max(1, math.ceil(math.log2(max(samples, 2))))
    power_of_five = 1
    while power_of_five < best:
        candidate = power_of_five
        while candidate < best:
            twos = max(1, math.ceil(math.log2(max(samples / candidate, 1))))
            if samples <= candidate << twos < best:
                best = candidate << twos
            candidate *= 3
        power_of_five *= 5
    return best


def frequencies(n_fft: int, sample_rate: int, like: Tensor) -> Tensor:
    """The bins of a real FFT in Hz: shape (n_fft // 2 + 1,), with the dtype and device of `like`."""
    return torch.arange(n_fft // 2 + 1, dtype=like.dtype, device=like.device) * (sample_rate / n_fft)


def apply_response(audio: Tensor, response: Tensor, n_fft: int) -> Tensor:
    """Filter audio by a frequency response.

    Args:
        audio: (batch, channels, samples), samples <= n_fft. Zero-padded to n_fft, which must leave room for the
            response's ringing, else that wraps around to the start.
        response: complex (batch or 1, channels or 1, n_fft // 2 + 1); a single bin is a gain, the same (and real) at
            every frequency.

    Returns:
        (batch, channels, samples), where one channel meets two the result has two.
    """
    if response.shape[-1] == 1:
        return audio * response.real
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(audio, n=n_fft) * response, n=n_fft)
    return filtered[..., : audio.shape[-1]]


def convolve(audio: Tensor, kernel: Tensor) -> Tensor:
    """Causal linear convolution, cut to the length of the audio.

    Args:
        audio: (batch, channels, samples).
        kernel: (batch or 1, channels or 1, taps).
    """
    n_fft = fast_length(audio.shape[-1] + kernel.shape[-1] - 1)
    return apply_response(audio, torch.fft.rfft(kernel, n=n_fft), n_fft)
