"""Second-order sections: the Audio EQ Cookbook designs, their frequency response, and how long they ring.

A section is H(z) = (b0 + b1 z^-1 + b2 z^-2) / (1 + a1 z^-1 + a2 z^-2), held as b and a, each (..., 3) with a0 = 1. A
design keeps the shape and type of its arguments. At low frequencies the poles crowd around z = 1 and float32
coefficients no longer tell them apart: design in float64 (`settings["frequency"].double()`); there are few of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

Section = tuple[Tensor, Tensor]

KNEE, LIMIT = 0.46, 0.49
"""Design frequencies above KNEE * sample_rate bend towards LIMIT * sample_rate."""


def bounded_frequency(frequency: Tensor, sample_rate: int) -> Tensor:
    """Bring a design frequency below Nyquist, smoothly: unchanged up to k = 0.46 sample_rate, above it

        f' = k + d u / (1 + u),  u = (f - k) / d,  d = 0.03 sample_rate

    which nears 0.49 sample_rate without reaching it; the slope is continuous and never 0. At 44.1 kHz it changes
    nothing below 20.28 kHz.
    """
    knee, room = KNEE * sample_rate, (LIMIT - KNEE) * sample_rate
    beyond = (frequency - knee).clamp_min(0.0) / room
    return torch.minimum(frequency, frequency.new_tensor(knee)) + room * beyond / (1.0 + beyond)


def _angle(frequency: Tensor, q: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """The cookbook's cos(w0) and alpha."""
    frequency, q = torch.broadcast_tensors(frequency, q)  # type: ignore[no-untyped-call]
    angle = bounded_frequency(frequency, sample_rate) * (2.0 * math.pi / sample_rate)
    return torch.cos(angle), torch.sin(angle) / (2.0 * q)


def _section(b0: Tensor, b1: Tensor, b2: Tensor, a0: Tensor, a1: Tensor, a2: Tensor) -> Section:
    """Normalised to a0 = 1. All six have one shape."""
    b = torch.stack([b0 / a0, b1 / a0, b2 / a0], dim=-1)
    a = torch.stack([torch.ones_like(a0), a1 / a0, a2 / a0], dim=-1)
    return b, a


def low_pass(frequency: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook LPF, 12 dB an octave; q = 1 / sqrt(2) is maximally flat. Any broadcastable shapes."""
    cosine, alpha = _angle(frequency, q, sample_rate)
    half = 0.5 * (1.0 - cosine)
    return _section(half, 2.0 * half, half, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def high_pass(frequency: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook HPF, 12 dB an octave; q = 1 / sqrt(2) is maximally flat. Any broadcastable shapes."""
    cosine, alpha = _angle(frequency, q, sample_rate)
    half = 0.5 * (1.0 + cosine)
    return _section(half, -2.0 * half, half, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def band_pass(frequency: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook BPF with a peak gain of 0 dB. Any broadcastable shapes."""
    cosine, alpha = _angle(frequency, q, sample_rate)
    return _section(alpha, torch.zeros_like(alpha), -alpha, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def notch(frequency: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook notch. Any broadcastable shapes."""
    cosine, alpha = _angle(frequency, q, sample_rate)
    one = torch.ones_like(alpha)
    return _section(one, -2.0 * cosine, one, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def all_pass(frequency: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook APF. Any broadcastable shapes."""
    cosine, alpha = _angle(frequency, q, sample_rate)
    return _section(1.0 - alpha, -2.0 * cosine, 1.0 + alpha, 1.0 + alpha, -2.0 * cosine, 1.0 - alpha)


def peak(frequency: Tensor, gain: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook peaking EQ; gain [dB] at the centre. Any broadcastable shapes."""
    frequency, gain, q = torch.broadcast_tensors(frequency, gain, q)  # type: ignore[no-untyped-call]
    cosine, alpha = _angle(frequency, q, sample_rate)
    a = torch.exp(gain * (math.log(10.0) / 40.0))
    return _section(1.0 + alpha * a, -2.0 * cosine, 1.0 - alpha * a, 1.0 + alpha / a, -2.0 * cosine, 1.0 - alpha / a)


def low_shelf(frequency: Tensor, gain: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook low shelf; gain [dB] at 0 Hz, half of it at `frequency`. Any broadcastable shapes."""
    return shelf(frequency, gain, q, sample_rate, side=1.0)


def high_shelf(frequency: Tensor, gain: Tensor, q: Tensor, sample_rate: int) -> Section:
    """Cookbook high shelf; gain [dB] at Nyquist, half of it at `frequency`. Any broadcastable shapes."""
    return shelf(frequency, gain, q, sample_rate, side=-1.0)


def shelf(frequency: Tensor, gain: Tensor, q: Tensor, sample_rate: int, side: Tensor | float) -> Section:
    """Low shelves where side is 1, high shelves where it is -1. Any broadcastable shapes."""
    frequency, gain, q = torch.broadcast_tensors(frequency, gain, q)  # type: ignore[no-untyped-call]
    cosine, alpha = _angle(frequency, q, sample_rate)
    a = torch.exp(gain * (math.log(10.0) / 40.0))
    slope = 2.0 * torch.sqrt(a) * alpha
    cosine = side * cosine
    return _section(
        a * ((a + 1.0) - (a - 1.0) * cosine + slope),
        side * 2.0 * a * ((a - 1.0) - (a + 1.0) * cosine),
        a * ((a + 1.0) - (a - 1.0) * cosine - slope),
        (a + 1.0) + (a - 1.0) * cosine + slope,
        side * -2.0 * ((a - 1.0) + (a + 1.0) * cosine),
        (a + 1.0) + (a - 1.0) * cosine - slope,
    )


def ring_time(a: Tensor, decay: float = 90.0) -> Tensor:
    """Samples until the slowest pole has decayed by `decay` dB: decay / (-20 log10 |p|).

    Args:
        a: denominators, (..., 3), stable.

    Returns:
        (...), without gradient.
    """
    a = a.detach().double()
    half, product = 0.5 * a[..., 1], a[..., 2]
    spread = half * half - product
    real = half.abs() + spread.clamp_min(0.0).sqrt()
    # p and q are the roots; 1 - |p| directly, for |p| itself is 1 to within rounding when the pole is slow
    to_circle = torch.where(
        spread < 0.0, -0.5 * torch.log(product.clamp_min(1e-300)), -torch.log(real.clamp_min(1e-300))
    )
    return (decay / 20.0) * math.log(10.0) / to_circle.clamp_min(1e-9)


def sections_response(
    b: Tensor, a: Tensor, n_fft: int, dtype: torch.dtype | None = None, fused: bool | None = None
) -> Tensor:
    """The frequency response of second-order sections in series.

    With S = sin(w/2), C = cos(w/2), a polynomial c0 + c1 z^-1 + c2 z^-2 on the unit circle is e^{-jw} times

        (c0 + c1 + c2) C^2 - (c0 - c1 + c2) S^2 + 2j (c0 - c2) S C

    in which nothing cancels at low frequencies, so that the bins may be float32 where the coefficients are float64.

    Args:
        b, a: (batch, sections, 3), float64 for accuracy.
        n_fft: the transform's length.
        dtype: the real type of the result; by default that of `b`.
        fused: the compiled kernel instead of tensor operations; by default on CPU.

    Returns:
        Complex (batch, n_fft // 2 + 1). Differentiable (once, if fused) in b and a.
    """
    dtype = b.dtype if dtype is None else dtype
    weights = torch.tensor([[1.0, 1.0, 1.0], [2.0, 0.0, -2.0], [-1.0, 1.0, -1.0]], dtype=b.dtype, device=b.device).T
    numerator, denominator = (b @ weights).to(dtype), (a @ weights).to(dtype)
    basis = _basis(n_fft, dtype, b.device)
    if b.device.type == "cpu" if fused is None else fused:
        result: Tensor = _SectionsResponse.apply(numerator, denominator, basis)  # type: ignore[no-untyped-call]
        return result
    return _sections_response(numerator, denominator, basis)


@lru_cache(maxsize=16)
def _basis(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """C^2, S C and S^2 at the bins: (3, bins)."""
    half = torch.arange(n_fft // 2 + 1, dtype=torch.float64, device=device) * (math.pi / n_fft)
    cosine, sine = torch.cos(half), torch.sin(half)
    return torch.stack([cosine * cosine, sine * cosine, sine * sine]).to(dtype)


def _sections_response(numerator: Tensor, denominator: Tensor, basis: Tensor) -> Tensor:
    def evaluate(polynomial: Tensor) -> Tensor:
        even, odd = polynomial[..., 0::2] @ basis[0::2], polynomial[..., 1:2] * basis[1]
        return torch.complex(even, odd)

    return (evaluate(numerator) / evaluate(denominator)).prod(dim=1)


class _SectionsResponse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, numerator: Tensor, denominator: Tensor, basis: Tensor) -> Tensor:
        from hitchain.blocks.dsp import filter_kernels as kernels

        batch, bins = len(numerator), basis.shape[1]
        blocks = -(-bins // kernels.BLOCK)
        response = torch.empty(batch, bins, dtype=numerator.dtype.to_complex())
        arrays = [tensor.detach().contiguous().numpy() for tensor in (numerator, denominator, basis)]
        over_rows(kernels.response_forward, batch * blocks, *arrays, response.numpy())
        ctx.save_for_backward(numerator, denominator, basis, response)
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import filter_kernels as kernels

        numerator, denominator, basis, _ = ctx.saved_tensors
        batch, sections, _ = numerator.shape
        blocks = -(-basis.shape[1] // kernels.BLOCK)
        parts = torch.empty(batch * blocks, 2, sections, 3, dtype=torch.float64)
        arrays = [tensor.detach().contiguous().numpy() for tensor in (numerator, denominator, basis)]
        over_rows(
            kernels.response_backward, batch * blocks, *arrays, grad.resolve_conj().contiguous().numpy(), parts.numpy()
        )
        total = parts.view(batch, blocks, 2, sections, 3).sum(dim=1).to(numerator.dtype)
        return total[:, 0], total[:, 1], None
