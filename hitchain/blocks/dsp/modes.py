"""Banks of decaying sines in closed form: what rings after a stroke or a pluck, exact in any window of it.

On a CPU a compiled pass adds the modes up, with an adjoint derived by hand; elsewhere the same sum is a matrix product.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.voices import Voices

ATTACK = 0.001
"""[s] In which a stroke fades in."""

BLOCK = 512
"""Samples in a row of the matrix product."""


def ring(
    since: Tensor, amplitude: Tensor, rate: Tensor, voices: Voices, dtype: torch.dtype, top: Tensor | None = None
) -> Tensor:
    """Voices of decaying modes.

        audio[v, n] = sum over k of Re(amplitude[v, k] exp(rate[v, k] t)),   t = since[v] + n / sample_rate

    A mode is left out from where its decay has reached -200 dB.

    Args:
        since: [s] from the onset to the first sample, 0 or more, (voices,).
        amplitude: complex128 (voices, modes). -1j starts as a sine, 1 as a cosine.
        rate: complex128 (voices, modes) [1/s]: minus the decay's rate, and the angular frequency. No real part over 0.
        dtype: of the result.
        top: int64 (voices,): modes from here on are left out. Default: none are.

    Returns:
        (voices, span); 0 after a voice's count on a CPU. Differentiable in the first three.
    """
    if amplitude.device.type != "cpu":
        return ring_reference(since, amplitude, rate, voices, dtype)
    if top is None:
        top = torch.full(amplitude.shape[:1], amplitude.shape[1])
    shape = voices.count, top, 1.0 / voices.sample_rate, voices.span, dtype
    audio: Tensor = _Ring.apply(since.double(), amplitude, rate, *shape)  # type: ignore[no-untyped-call]
    return audio


def ring_reference(since: Tensor, amplitude: Tensor, rate: Tensor, voices: Voices, dtype: torch.dtype) -> Tensor:
    """`ring` as tensor operations, on any device: exp(rate t) at the rows' starts times exp(rate t) within a row."""
    rows = -(-voices.span // BLOCK)
    step = 1.0 / voices.sample_rate
    starts = since[:, None].double() + torch.arange(rows, dtype=torch.float64, device=since.device) * (BLOCK * step)
    within = torch.arange(BLOCK, dtype=torch.float64, device=since.device) * step
    left = amplitude[:, None] * torch.exp(rate[:, None] * starts[:, :, None])
    right = torch.exp(rate[:, :, None] * within)
    audio = left.real.to(dtype) @ right.real.to(dtype) - left.imag.to(dtype) @ right.imag.to(dtype)
    return audio.flatten(1)[:, : voices.span]


class _Ring(torch.autograd.Function):
    """With E = exp(rate t), Z = sum g E and W = sum g t E over time: conj(Z) for the amplitude, conj(amplitude W) for
    the rate, and Re(amplitude rate Z), summed over the modes, for the time."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        since, amplitude, rate, count, top, step, span, dtype = inputs
        ctx.save_for_backward(since, amplitude, rate, count, top)
        ctx.step = step
        audio = torch.empty(len(since), span, dtype=dtype)
        over_rows(_compiled().forward, len(audio), *map(_array, inputs[:5]), step, audio.numpy())
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        _, amplitude, rate, *_ = ctx.saved_tensors
        plain, timed = torch.zeros_like(amplitude), torch.zeros_like(amplitude)
        arrays = (*map(_array, ctx.saved_tensors), ctx.step, _array(upstream), plain.numpy(), timed.numpy())
        over_rows(_compiled().backward, len(upstream), *arrays)
        moved = (amplitude * rate * plain).real.sum(dim=1)
        return moved, plain.conj(), (amplitude * timed).conj(), *[None] * 5


def decay_rate(seconds: Tensor) -> Tensor:
    """[1/s] of a decay by 60 dB in `seconds`."""
    return math.log(1000.0) / seconds


def damper(since: Tensor, duration: Tensor, release: Tensor, voices: Voices) -> Tensor:
    """The level of what rings freely while a key is held: up in 1 ms, and down in `release` [s] once it is let go.

    Args:
        since, duration, release: [s], (voices,).

    Returns:
        (voices, span), of the release's dtype.
    """
    full, soon = torch.ones_like(release), torch.full_like(release, ATTACK)
    return adsr(since, duration, soon, full, full, release, voices.sample_rate, voices.span)


def _compiled() -> Any:
    from hitchain.blocks.dsp import modes_kernels  # slow to load, hence not before it is needed

    return modes_kernels


def _array(tensor: Tensor) -> Any:
    return tensor.detach().resolve_conj().contiguous().numpy()
