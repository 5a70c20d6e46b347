"""To and from a higher sample rate by spectra: for stages that filter on the way, and only ever see the lower band.

What `resampling` does with a whole spectrum, without the upper bins: they are 0, and are neither written nor read. On a
CPU every `factor`-th sample is a signal of its own at the lower rate, whose spectrum is the whole one's times a phase:

    x[factor m + p] = the inverse transform of X(w) e^{j w p / factor} at m

so that a long transform becomes `factor` short ones, which stay nearer to the cache: half the time. Who calls these
filters by `resampling.edge` on the way, so that nothing aliases.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks.dsp.threads import over_rows


def to_samples(spectrum: Tensor, n_fft: int, factor: int, phased: bool | None = None) -> Tensor:
    """A spectrum at the lower rate as audio at the higher, without filtering and without the gain of `factor`.

    Args:
        spectrum: complex (..., n_fft // 2 + 1), n_fft even.
        phased: short transforms, in compiled passes; by default on CPU.

    Returns:
        (..., n_fft * factor), as `torch.fft.irfft` makes it from the spectrum followed by zeros.
    """
    if spectrum.device.type == "cpu" if phased is None else phased:
        audio: Tensor = _ToSamples.apply(spectrum, n_fft, factor)  # type: ignore[no-untyped-call]
        return audio
    whole: Tensor = torch.fft.irfft(spectrum, n=n_fft * factor)
    return whole


def to_spectrum(audio: Tensor, n_fft: int, factor: int, phased: bool | None = None) -> Tensor:
    """The lower band of the spectrum of audio at the higher rate.

    Args:
        audio: (..., n_fft * factor), n_fft even.
        phased: as in `to_samples`.

    Returns:
        complex (..., n_fft // 2 + 1), as `torch.fft.rfft` makes it.
    """
    if audio.device.type == "cpu" if phased is None else phased:
        spectrum: Tensor = _ToSpectrum.apply(audio, n_fft, factor)  # type: ignore[no-untyped-call]
        return spectrum
    whole: Tensor = torch.fft.rfft(audio)
    return whole[..., : n_fft // 2 + 1]


class _ToSamples(torch.autograd.Function):
    """An inverse transform counts a bin twice, for its mirror image, but the first and the last. The higher rate's last
    bin is another one: what is the last here counts twice, too."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, n_fft: int, factor: int) -> Tensor:
        ctx.n_fft, ctx.factor = n_fft, factor
        return _synthesise(spectrum, n_fft, factor, (1.0 / factor, 1.0 / factor, min(factor, 2) / factor), "backward")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        whole = 1.0 / (ctx.n_fft * ctx.factor)
        scales = (whole, 2.0 * whole, min(ctx.factor, 2) * whole)
        return _analyse(grad, ctx.n_fft, ctx.factor, scales), None, None


class _ToSpectrum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, n_fft: int, factor: int) -> Tensor:
        ctx.n_fft, ctx.factor = n_fft, factor
        return _analyse(audio, n_fft, factor, (1.0, 1.0, 1.0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _synthesise(grad, ctx.n_fft, ctx.factor, (1.0, 0.5, 1.0), "forward"), None, None


def _synthesise(spectrum: Tensor, n_fft: int, factor: int, scales: tuple[float, ...], norm: str) -> Tensor:
    from hitchain.blocks.dsp import oversampling_kernels as kernels

    bins = spectrum.shape[-1]
    given = spectrum.detach().resolve_conj().reshape(-1, bins).contiguous()
    phases = torch.empty(len(given), factor, bins, dtype=given.dtype)
    turns, sizes = _turns(n_fft, factor, given.dtype), torch.tensor(scales, dtype=given.real.dtype)
    over_rows(kernels.spread, len(given) * factor, *_arrays(given, turns, sizes, phases))
    short: Tensor = torch.fft.irfft(phases, n=n_fft, norm=norm)
    if factor == 1:
        return short.view(*spectrum.shape[:-1], n_fft)
    audio = torch.empty(len(given), n_fft * factor, dtype=short.dtype)
    over_rows(kernels.interleave, len(given) * -(-n_fft // kernels.BLOCK), *_arrays(short, audio))
    return audio.view(*spectrum.shape[:-1], n_fft * factor)


def _analyse(audio: Tensor, n_fft: int, factor: int, scales: tuple[float, ...]) -> Tensor:
    from hitchain.blocks.dsp import oversampling_kernels as kernels

    bins = n_fft // 2 + 1
    given = audio.detach().reshape(-1, n_fft * factor).contiguous()
    if factor == 1:
        short = given.unsqueeze(1)
    else:
        short = torch.empty(len(given), factor, n_fft, dtype=given.dtype)
        over_rows(kernels.separate, len(given) * -(-n_fft // kernels.BLOCK), *_arrays(given, short))
    phases = torch.fft.rfft(short)
    turns, sizes = _turns(n_fft, factor, phases.dtype), torch.tensor(scales, dtype=given.dtype)
    spectrum = torch.empty(len(given), bins, dtype=phases.dtype)
    over_rows(kernels.gather, len(given) * -(-bins // kernels.BLOCK), *_arrays(phases, turns, sizes, spectrum))
    return spectrum.view(*audio.shape[:-1], bins)


@lru_cache(maxsize=8)
def _turns(n_fft: int, factor: int, dtype: torch.dtype) -> Tensor:
    """e^{j w p / factor}: complex (factor, n_fft // 2 + 1)."""
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        bins, phases = torch.arange(n_fft // 2 + 1, dtype=torch.float64), torch.arange(factor, dtype=torch.float64)
        angle = bins * phases[:, None] * (2.0 * math.pi / (n_fft * factor))
        return torch.polar(torch.ones_like(angle), angle).to(dtype)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.numpy() for tensor in tensors]
