"""Reading a recording between its samples, at any speed: a polyphase windowed sinc.

    y[n] = sum over k of x[floor(p) - TAPS / 2 + 1 + k] h(p - floor(p), k),     p = begin + step n

h is a sinc under a Kaiser window of TAPS taps (Kaiser and Schafer, 1980), less its pedestal so that no tap comes or
goes with a step: flat to 0.82 of the Nyquist frequency, 87 dB down at it and 90 beyond. It is kept for PHASES places
between two samples, and cubic between those, so that its slope, by which pitches get their gradient, has no corners.
What is read faster than it was recorded must have been band-limited before: see `band_limit`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.fft import fast_length
from hitchain.blocks.dsp.threads import over_rows

TAPS = 64
PHASES = 64
_CENTRE, _WINDOW = 0.905, 9.6
"""The edge's middle, as a share of the Nyquist frequency, and the window's beta."""

RINGING = 320
"""Samples, at the rate to which a recording is band-limited, in which the filter's edge rings."""


@lru_cache(maxsize=4)
def _cubics(dtype: torch.dtype) -> Tensor:
    """Each tap's weight between a place and the next, as a cubic with the sinc's own values and slopes at both:
    (PHASES, 4, TAPS)."""
    step = 1e-5
    place = np.arange(PHASES + 1) / PHASES
    rows = _weights(place)
    slopes = (_weights(place + step) - _weights(place - step)) / (2.0 * step * PHASES)
    start, end, rising, later = rows[:-1], rows[1:], slopes[:-1], slopes[1:]
    square = 3.0 * (end - start) - 2.0 * rising - later
    cube = 2.0 * (start - end) + rising + later
    return torch.from_numpy(np.stack([start, rising, square, cube], axis=1)).to(dtype)


def _weights(place: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The windowed sinc at places between two samples, of unit gain at 0 Hz: (places, TAPS)."""
    distance = place[:, None] - (np.arange(TAPS) - TAPS // 2 + 1)
    window = np.i0(_WINDOW * np.sqrt(np.clip(1.0 - (distance / (TAPS // 2)) ** 2, 0.0, None))) - 1.0
    rows = _CENTRE * np.sinc(_CENTRE * distance) * window
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def read_along(
    source: Tensor,
    begin: Tensor,
    step: Tensor,
    count: Tensor,
    span: int,
    loop: tuple[float, float] = (0.0, 0.0),
    let_go: Tensor | None = None,
) -> Tensor:
    """Voices that read one recording, each from its own place at its own speed.

    Args:
        source: (channels, length), with TAPS / 2 samples of silence (or of what belongs there) at both ends.
        begin, step: float64 (voices,): where the first sample reads, and by how much the place moves with each.
        count: int64 (voices,): samples wanted of each voice, at most `span`; zeros follow.
        loop: start and end of what is repeated, in samples; nothing where they are equal.
        let_go: int64 (voices,): the sample from which a voice no longer turns back at the loop's end; never if None.

    Returns:
        (voices, channels, span), silent outside the recording. Differentiable in `begin` and `step`.
    """
    ends = torch.full_like(count, 1 << 62) if let_go is None else let_go
    if source.device.type == "cpu":
        result: Tensor = _Read.apply(source, begin, step, count, ends, span, loop)  # type: ignore[no-untyped-call]
        return result
    return read_along_reference(source, begin, step, count, span, loop, ends)


def read_along_reference(
    source: Tensor, begin: Tensor, step: Tensor, count: Tensor, span: int, loop: tuple[float, float], let_go: Tensor
) -> Tensor:
    """`read_along` as tensor operations, on any device."""
    index = torch.arange(span, device=source.device)
    position = begin[:, None] + step[:, None] * index
    if loop[1] > loop[0]:
        turning = torch.minimum(position, (begin + step * let_go)[:, None]).detach()
        turns = torch.floor((turning - loop[0]) / (loop[1] - loop[0])) * (turning >= loop[1])
        position = position - turns * (loop[1] - loop[0])
    whole = torch.floor(position.detach())
    left = whole.long() - TAPS // 2 + 1
    heard = (left >= 0) & (left + TAPS <= source.shape[-1]) & (index < count[:, None])
    fine = (position - whole) * PHASES
    phase = fine.detach().long().clamp(max=PHASES - 1)
    x = (fine - phase).to(source.dtype)[..., None]
    c0, c1, c2, c3 = _cubics(source.dtype).to(source.device)[phase].unbind(dim=-2)
    weights = c0 + x * (c1 + x * (c2 + x * c3))
    taps = torch.where(heard, left, 0)[..., None] + torch.arange(TAPS, device=source.device)
    read: Tensor = heard[:, None] * torch.einsum("cvnt,vnt->vcn", source[:, taps], weights)
    return read


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        source, begin, step, count, let_go, span, loop = inputs
        ctx.save_for_backward(source, begin, step, count, let_go)
        ctx.loop = float(loop[0]), float(loop[1])
        audio: Tensor = source.new_empty(len(begin), source.shape[0], span)
        voices = _arrays(begin, step, count, let_go)
        kernel = _compiled().read_forward
        over_rows(kernel, len(begin), *_arrays(source, _cubics(source.dtype)), *voices, *ctx.loop, audio.numpy())
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        source, *voices = ctx.saved_tensors
        gradients = torch.empty(2, len(upstream), dtype=torch.float64)
        more = *ctx.loop, *_arrays(upstream, gradients)
        over_rows(_compiled().read_backward, len(upstream), *_arrays(source, _cubics(source.dtype), *voices), *more)
        return None, gradients[0], gradients[1], None, None, None, None


def band_limit(audio: Tensor, share: float) -> Tensor:
    """Audio (..., samples) without what lies above `share` of its Nyquist frequency, which is 0 to 1.

    The edge is a Gaussian integral from 0.9 of that frequency up, as in `resampling`: nothing is left above it. It
    rings for RINGING / share samples; both ends are as if silence stood outside.
    """
    if share >= 1.0:
        return audio
    samples = audio.shape[-1]
    n_fft = fast_length(samples + math.ceil(RINGING / share))
    place = torch.linspace(0.0, 1.0, n_fft // 2 + 1, dtype=torch.float64, device=audio.device) / share
    edge = 0.5 * torch.erfc((place - 0.95) / (0.05 / 3.1))
    limited: Tensor = torch.fft.irfft(torch.fft.rfft(audio.double(), n=n_fft) * edge, n=n_fft)[..., :samples]
    return limited.to(audio.dtype)


def _compiled() -> Any:
    from hitchain.blocks.dsp import interpolation_kernels  # slow to load, hence not before it is needed

    return interpolation_kernels


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
