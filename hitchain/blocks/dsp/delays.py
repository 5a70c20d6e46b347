"""Delays in the frequency domain, fractional and differentiable in time."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows


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


def first_order_response(tangent: Tensor, n_fft: int) -> Tensor:
    """The response of a first-order low-pass, by the bilinear transform: K C / (K C + j S).

    S = sin(w/2), C = cos(w/2): 1 at 0 Hz, -3 dB at its corner f, 0 at Nyquist. The pole is at z = (1 - K) / (1 + K).

    Args:
        tangent: K = tan(pi f / sample_rate), f below sample_rate / 2 (see `filters.bounded_frequency`), (..., 1).
        n_fft: the transform's length.

    Returns:
        Complex, (..., n_fft // 2 + 1).
    """
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


class Echoes(NamedTuple):
    """What a batch of feedback delays is made of, each (batch,).

    samples: between echoes, m >= 0. tangent: tan(pi f / sample_rate) of the low-pass that each echo goes through.
    feedback: share of an echo in the next one, below 1. wet, dry: gains.
    """

    samples: Tensor
    tangent: Tensor
    feedback: Tensor
    wet: Tensor
    dry: Tensor


def echo_response(echoes: Echoes, n_fft: int, dtype: torch.dtype, fused: bool | None = None) -> Tensor:
    """The response of a feedback delay with a low-pass in its loop: dry + wet E / (1 - feedback E),

        E = e^{-j w m} L(w),   L the low-pass of `first_order_response`.

    Args:
        dtype: the real type of the result.
        fused: the compiled kernel instead of tensor operations; by default on CPU.

    Returns:
        Complex (batch, n_fft // 2 + 1). Differentiable (once, if fused) in all of the echoes.
    """
    echoes = Echoes(*(value.double() for value in echoes))
    if echoes.samples.device.type == "cpu" if fused is None else fused:
        result: Tensor = _EchoResponse.apply(n_fft, dtype, *echoes)  # type: ignore[no-untyped-call]
        return result
    tangent, feedback, wet, dry = (value.to(dtype).unsqueeze(-1) for value in echoes[1:])
    once = delay_response(echoes.samples, n_fft, dtype) * first_order_response(tangent, n_fft)
    return dry + wet * (once / (1.0 - feedback * once))


class _EchoResponse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n_fft: int, dtype: torch.dtype, *values: Tensor) -> Tensor:
        from hitchain.blocks.dsp import delays_kernels as kernels

        ctx.save_for_backward(*values)
        ctx.n_fft, ctx.dtype = n_fft, dtype
        given = _echo_arrays(Echoes(*values), n_fft, dtype)
        response = torch.empty(len(values[0]), n_fft // 2 + 1, dtype=dtype.to_complex())
        over_rows(kernels.echoes_forward, given[5].size, *given, response.numpy())
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import delays_kernels as kernels

        given = _echo_arrays(Echoes(*ctx.saved_tensors), ctx.n_fft, ctx.dtype)
        parts = torch.empty(given[5].size, 5, dtype=torch.float64)
        incoming = grad.resolve_conj().contiguous().numpy()
        over_rows(kernels.echoes_backward, len(parts), *given, incoming, 2.0 * math.pi / ctx.n_fft, parts.numpy())
        return None, None, *parts.view(len(grad), -1, 5).sum(dim=1).unbind(-1)


def _echo_arrays(echoes: Echoes, n_fft: int, dtype: torch.dtype) -> list[Any]:
    """The arrays that both kernels take."""
    from hitchain.blocks.dsp import delays_kernels as kernels

    near, far = delay_phasors(echoes.samples, n_fft, kernels.BLOCK)
    split = torch.view_as_real(near).transpose(-1, -2).to(dtype)
    values = (*echoes[1:], split, far, half_angles(n_fft, dtype, near.device))
    return [value.detach().contiguous().numpy() for value in values]
