"""Delays in the frequency domain, fractional and differentiable in time."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def delay_response(samples: Tensor, n_fft: int, dtype: torch.dtype | None = None) -> Tensor:
    """The response of a delay: e^{-j w m} at the bins, w = 2 pi k / n_fft.

    An ideal (sinc-interpolating) fractional delay, exact where m is whole. Phases of long delays run into the 100,000s
    of radians, beyond float32; so k is split into coarse and fine steps, each turned into a phasor in float64, and the
    bins are the products of the two: a multiplication a bin instead of a sine and a cosine.

    Args:
        samples: m >= 0, any shape; float64 where long, for float32 tells 1.2 s at 44.1 kHz only to 0.004 samples.
        n_fft: the transform's length.
        dtype: the real type of the result; by default that of `samples`.

    Returns:
        Complex, (..., n_fft // 2 + 1).
    """
    complex_type = (samples.dtype if dtype is None else dtype).to_complex()
    near, far = (phasor.to(complex_type) for phasor in delay_phasors(samples, n_fft))
    return (far.unsqueeze(-1) * near.unsqueeze(-2)).flatten(-2)[..., : n_fft // 2 + 1]


def delay_phasors(samples: Tensor, n_fft: int, fine: int | None = None) -> tuple[Tensor, Tensor]:
    """The factors of `delay_response`: near (..., fine) and far (..., coarse), complex128.

    The response at bin k is far[k // fine] * near[k % fine]. By default `fine` is about the root of the bins.
    """
    bins = n_fft // 2 + 1
    fine = fine or 1 << max(1, math.ceil(math.log2(bins) / 2))
    coarse = -(-bins // fine)
    turns = samples.double().unsqueeze(-1) / n_fft
    steps = torch.arange(max(fine, coarse), dtype=torch.float64, device=samples.device)
    return _phasor(turns * steps[:fine]), _phasor(turns * (steps[:coarse] * fine))


def _phasor(turns: Tensor) -> Tensor:
    """e^{-2 pi j turns}."""
    angle = (turns - turns.detach().floor()) * (-2.0 * math.pi)
    return torch.complex(torch.cos(angle), torch.sin(angle))


def one_pole_response(frequency: Tensor, n_fft: int, sample_rate: int) -> Tensor:
    """The response of a first-order low-pass, by the bilinear transform: K C / (K C + j S).

    S = sin(w/2), C = cos(w/2), K = tan(pi f / sample_rate): 1 at 0 Hz, -3 dB at f, 0 at Nyquist. The pole is at
    z = (1 - K) / (1 + K).

    Args:
        frequency: f [Hz] below sample_rate / 2 (see `filters.bounded_frequency`), any shape.
        n_fft: the transform's length.
        sample_rate: [Hz].

    Returns:
        Complex, (..., n_fft // 2 + 1).
    """
    return first_order_response(torch.tan(frequency * (math.pi / sample_rate)).unsqueeze(-1), n_fft)


def first_order_response(tangent: Tensor, n_fft: int) -> Tensor:
    """`one_pole_response` by K = tan(pi f / sample_rate): (..., 1) -> complex (..., n_fft // 2 + 1)."""
    cosine, sine = half_angles(n_fft, tangent.dtype, tangent.device)
    scaled = tangent * cosine
    inverse = 1.0 / (scaled * scaled + sine * sine)
    return torch.complex(scaled * scaled * inverse, -scaled * sine * inverse)


@lru_cache(maxsize=8)
def half_angles(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """cos(w / 2) and sin(w / 2) at the bins, w = 2 pi k / n_fft: (2, n_fft // 2 + 1). Kept; not to be written to."""
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        half = torch.arange(n_fft // 2 + 1, dtype=torch.float64, device=device) * (math.pi / n_fft)
        return torch.stack([torch.cos(half), torch.sin(half)]).to(dtype)
