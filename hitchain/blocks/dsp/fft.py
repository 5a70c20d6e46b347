"""Filtering by frequency response: good transform sizes, one real FFT pair, no wrap-around."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows


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


def rfft(signal: Tensor, n_fft: int) -> Tensor:
    """The real FFT, zero-padded to an even n_fft: (..., samples) -> complex (..., n_fft // 2 + 1).

    The same numbers as `torch.fft.rfft`, whose gradient takes a complex transform twice as long; this one's is an
    inverse real transform.
    """
    result: Tensor = _RealTransform.apply(signal, n_fft)  # type: ignore[no-untyped-call]
    return result


class _RealTransform(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, signal: Tensor, n_fft: int) -> Tensor:
        ctx.samples, ctx.n_fft = signal.shape[-1], n_fft
        spectrum: Tensor = torch.fft.rfft(signal, n=n_fft)
        return spectrum

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # An inverse real transform counts each bin twice, for its mirror image, but the first and the last.
        halves = grad * 0.5
        halves = torch.cat([grad[..., :1], halves[..., 1:-1], grad[..., -1:]], dim=-1)
        back: Tensor = torch.fft.irfft(halves, n=ctx.n_fft, norm="forward")
        return back[..., : ctx.samples], None


def apply_response(audio: Tensor, response: Tensor, n_fft: int) -> Tensor:
    """Filter audio by a frequency response.

    Args:
        audio: (batch, channels, samples), samples <= n_fft. Zero-padded to n_fft, which must leave room for the
            response's ringing, else that wraps around to the start.
        response: complex or real, (batch or 1, channels or 1, n_fft // 2 + 1); a single bin is a gain, the same at
            every frequency.

    Returns:
        (batch, channels, samples), where one channel meets two the result has two. Differentiable, once.
    """
    if response.shape[-1] == 1:
        return audio * response.real
    filtered: Tensor = _Filter.apply(audio, response, n_fft)  # type: ignore[no-untyped-call]
    return filtered


class _Filter(torch.autograd.Function):
    """irfft(rfft(x) H), with a backward pass of one pair of real transforms, as the forward pass."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, response: Tensor, n_fft: int) -> Tensor:
        spectrum = torch.fft.rfft(audio, n=n_fft)
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(response, spectrum)
        else:
            ctx.save_for_backward(response)
        ctx.n_fft, ctx.samples, ctx.channels = n_fft, audio.shape[-1], audio.shape[:2]
        filtered: Tensor = torch.fft.irfft(spectrum * response, n=n_fft)
        return filtered[..., : audio.shape[-1]]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        response, *spectrum = ctx.saved_tensors
        outcome = torch.fft.rfft(grad, n=ctx.n_fft)
        grad_response: Tensor | None = None
        if spectrum and ctx.needs_input_grad[0] and _is_compiled(outcome, response, spectrum[0]):
            grad_response = _products(outcome, response, spectrum[0], 2.0 / ctx.n_fft)
            spread = outcome
        else:
            if spectrum:
                grad_response = _sum_to(outcome * spectrum[0].conj(), response.shape[:2]) * (2.0 / ctx.n_fft)
            spread = outcome * response.conj()
        if grad_response is not None:
            grad_response[..., 0] *= 0.5  # the first and the last bin have no mirror image
            grad_response[..., -1] *= 0.5
            if not response.is_complex():  # zero-phase
                grad_response = grad_response.real
        if not ctx.needs_input_grad[0]:
            return None, grad_response, None
        back = torch.fft.irfft(_sum_to(spread, ctx.channels), n=ctx.n_fft)
        return back[..., : ctx.samples], grad_response, None


def _is_compiled(outcome: Tensor, response: Tensor, spectrum: Tensor) -> bool:
    """Whether the kernel takes these: on CPU, complex, of one batch, and no channel was spread out."""
    same = response.shape[0] == outcome.shape[0] and spectrum.shape[:2] == outcome.shape[:2]
    return same and outcome.device.type == "cpu" and response.is_complex()


def _products(outcome: Tensor, response: Tensor, spectrum: Tensor, scale: float) -> Tensor:
    """outcome conj(spectrum) scaled and summed to the response's channels; outcome becomes outcome conj(response)."""
    from hitchain.blocks.dsp import fft_kernels as kernels

    product = torch.empty(response.shape, dtype=outcome.dtype)
    arrays = [
        torch.view_as_real(tensor.resolve_conj().contiguous()).numpy()
        for tensor in (outcome, response, spectrum, product)
    ]
    blocks = -(-outcome.shape[-1] // kernels.BLOCK)
    over_rows(kernels.filter_backward, outcome.shape[0] * blocks, *arrays, scale)
    return product


def _sum_to(spectrum: Tensor, leading: tuple[int, ...]) -> Tensor:
    """Summed over those of the first two dimensions along which (batch, channels) was spread."""
    for dimension, size in enumerate(leading):
        if size == 1 and spectrum.shape[dimension] != 1:
            spectrum = spectrum.sum(dim=dimension, keepdim=True)
    return spectrum


def convolve(audio: Tensor, kernel: Tensor) -> Tensor:
    """Causal linear convolution, cut to the length of the audio.

    Args:
        audio: (batch, channels, samples).
        kernel: (batch or 1, channels or 1, taps).
    """
    n_fft = fast_length(audio.shape[-1] + kernel.shape[-1] - 1)
    return apply_response(audio, rfft(kernel, n_fft), n_fft)
