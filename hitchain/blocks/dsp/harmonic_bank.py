"""Harmonics and bands of noise whose levels and pitch are given frame by frame.

    y(t) = sum over k of a[k](t) sin(2 pi k phase(t)) + sum over b of g[b](t) n[b](t),   phase(t) = integral of f0

a, g and f0 are straight lines between frames, so the phase is exact in closed form. The bands n[b] are one white noise
through overlapping windows on the mel scale that add up to 1: white noise under the spectrum that g draws.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from hitchain.blocks.dsp import noise
from hitchain.blocks.dsp.threads import over_rows

_HIGHEST_BAND = 20_000.0
_WRAP = 512  # as many samples of a table stand again behind its end as the kernels read at a time


@lru_cache(maxsize=4)
def noise_bands(seed: int, bands: int, sample_rate: int, dtype: torch.dtype) -> Tensor:
    """White noise in bands: (bands, noise.PERIOD + 512), read in a circle. Of equal power per Hz at every rate."""
    hertz = torch.arange(noise.PERIOD // 2 + 1, dtype=torch.float64) * (sample_rate / noise.PERIOD)
    place = _mel(hertz) / _mel(torch.tensor(_HIGHEST_BAND, dtype=torch.float64)) * (bands - 1)
    windows = (1.0 - (place - torch.arange(bands, dtype=torch.float64)[:, None]).abs()).clamp_min(0.0)
    spectrum = noise.spectrum(seed).to(torch.complex128) * math.sqrt(sample_rate / 44100.0)
    tables: Tensor = torch.fft.irfft(spectrum * windows)
    return torch.cat([tables, tables[:, :_WRAP]], dim=1).to(dtype)


def _mel(hertz: Tensor) -> Tensor:
    """O'Shaughnessy's scale: 2595 log10(1 + f / 700)."""
    return torch.log1p(hertz / 700.0)


def sound(
    since: Tensor,
    hertz: Tensor,
    amplitude: Tensor,
    hiss: Tensor,
    tables: Tensor,
    position: Tensor,
    count: Tensor,
    span: int,
    frame_rate: float,
    sample_rate: int,
) -> Tensor:
    """Voices from their frames.

    Args:
        since: float64 (voices,): [s] from frame 0 to the first sample.
        hertz: float64 (voices, frames): the pitch at each frame. There are at least two.
        amplitude: (voices, frames, partials): of partials 1, 2, ...; 0 where it would lie above the Nyquist frequency.
        hiss: (voices, frames, bands): level of each band of noise.
        tables: see `noise_bands`. position: int64 (voices,): where in them the first sample reads.
        count: int64 (voices,): samples wanted, at most `span`; zeros follow.

    Returns:
        (voices, span). Differentiable in the first four.
    """
    if amplitude.device.type == "cpu":
        sizes = frame_rate, sample_rate, span
        result: Tensor = _Sound.apply(since, hertz, amplitude, hiss, tables, position, count, sizes)  # type: ignore[no-untyped-call]
        return result
    return sound_reference(since, hertz, amplitude, hiss, tables, position, count, span, frame_rate, sample_rate)


def sound_reference(
    since: Tensor,
    hertz: Tensor,
    amplitude: Tensor,
    hiss: Tensor,
    tables: Tensor,
    position: Tensor,
    count: Tensor,
    span: int,
    frame_rate: float,
    sample_rate: int,
) -> Tensor:
    """`sound` as tensor operations, on any device."""
    index = torch.arange(span, device=hertz.device)
    place = since[:, None] * frame_rate + index.double() * (frame_rate / sample_rate)
    frame = place.detach().floor().long().clamp(0, hertz.shape[1] - 2)
    along = place - frame
    steps = 0.5 * (hertz[:, 1:] + hertz[:, :-1]) / frame_rate
    start = pad(torch.cumsum(steps, dim=1), (1, 0))
    now, then = hertz.gather(1, frame), hertz.gather(1, frame + 1)
    phase = start.gather(1, frame) + along * (now + 0.5 * along * (then - now)) / frame_rate
    audio = _between(hiss, frame, along) * tables[:, (position[:, None] + index) % noise.PERIOD].movedim(0, -1)
    number = torch.arange(1, amplitude.shape[-1] + 1, dtype=torch.float64, device=hertz.device)
    waves = torch.sin(2.0 * math.pi * (phase - phase.detach().floor())[..., None] * number).to(amplitude.dtype)
    total = audio.sum(dim=-1) + (_between(amplitude, frame, along) * waves).sum(dim=-1)
    return total * (index < count[:, None])


def _between(frames: Tensor, frame: Tensor, along: Tensor) -> Tensor:
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return frames[rows, frame] + along.to(frames.dtype)[..., None] * (frames[rows, frame + 1] - frames[rows, frame])


class _Sound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        since, hertz, amplitude, hiss, tables, position, count, sizes = inputs
        frame_rate, sample_rate, span = sizes
        ctx.save_for_backward(since, hertz, amplitude, hiss, tables, position, count)
        ctx.rates = frame_rate, frame_rate / sample_rate
        audio: Tensor = amplitude.new_empty(len(hertz), span)
        arrays = _arrays(since * frame_rate, hertz, amplitude, hiss, tables, position, count)
        over_rows(_compiled().forward, len(hertz), *arrays, *ctx.rates, audio.numpy())
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        since, hertz, amplitude, hiss, *rest = ctx.saved_tensors
        gradients = [torch.empty_like(value, memory_format=torch.contiguous_format) for value in ctx.saved_tensors[:4]]
        arrays = _arrays(since * ctx.rates[0], hertz, amplitude, hiss, *rest)
        more = *ctx.rates, *_arrays(upstream, *gradients)
        over_rows(_compiled().backward, len(hertz), *arrays, *more)
        gradients[0] = gradients[0] * ctx.rates[0]
        return *gradients, None, None, None, None


def _compiled() -> Any:
    from hitchain.blocks.dsp import harmonic_bank_kernels  # slow to load, hence not before it is needed

    return harmonic_bank_kernels


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
