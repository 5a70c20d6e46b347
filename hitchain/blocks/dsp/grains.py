"""Transposition in time: overlapping grains, each read at another speed and taken from where it fits the one before.

Grain k, of two hops' length under a Hann window, stands at time k hop in the output and reads the input moved by m_k:

    y(t) = sum_k w(t - k hop) x(m_k + ratio t)

m_k is a whole number of samples for which what is read at k hop is near its place and most like what would follow grain
k - 1 (Verhelst and Roelands 1993, "An overlap-add technique based on waveform similarity"), so that neighbours add in
phase. These numbers stand still for small changes: given them, the gradient with respect to ratio and input is exact.
The input is band-limited for reading it faster, and read by a windowed sinc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp import fft
from hitchain.blocks.dsp.resampling import PADDING
from hitchain.blocks.dsp.threads import over_rows

HOP, REACH = 0.020, 0.012
"""Half a grain, and how far from its place it may be taken [s]: more than half a period at 45 Hz."""

COARSE = 4
TAPS, CELLS = 24, 64
BETA = 9.0


def transposed(
    audio: Tensor, ratio: Tensor, sample_rate: int, start: float = 0.0, fused: bool | None = None, aligned: bool = True
) -> Tensor:
    """Audio at another pitch and the same speed.

    Args:
        audio: (batch, channels, samples). All channels are cut at the same places.
        ratio: of frequencies, (batch,), above 0.
        sample_rate: [Hz].
        start: when in the song the audio begins [s]: grains keep their places in the song.
        aligned: grains are taken from where they fit; else, for sound without a pitch, from their places.
        fused: the compiled kernels instead of tensor operations for reading; by default on CPU.

    Returns:
        (batch, channels, samples). Differentiable once, in audio and ratio.
    """
    if audio.numel() == 0:
        return audio
    hop = round(HOP * sample_rate)
    lead = round(start * sample_rate) % hop
    reach = round(REACH * sample_rate) if aligned else 0
    moved = _aligned(audio.detach(), ratio.detach(), hop, lead, reach)
    limited = _band_limited(audio, ratio)
    if audio.device.type == "cpu" if fused is None else fused:
        result: Tensor = _Shift.apply(limited, ratio.double(), moved, hop, lead)  # type: ignore[no-untyped-call]
        return result
    return _shift(limited, ratio.double(), moved, hop, lead)


def _aligned(audio: Tensor, ratio: Tensor, hop: int, lead: int, reach: int) -> Tensor:
    """m_k: int64 (batch, grains)."""
    from hitchain.blocks.dsp import grains_kernels as kernels

    if reach == 0:
        places = torch.arange((audio.shape[-1] + lead) // hop + 2, device=audio.device) * hop
        return places - lead - torch.round(ratio.double()[:, None] * places).long()
    mono = audio.mean(dim=1).double().cpu().contiguous()
    moved = torch.empty(len(mono), (mono.shape[-1] + lead) // hop + 2, dtype=torch.int64)
    given = (mono.numpy(), ratio.double().cpu().numpy(), hop, lead, reach, COARSE)
    over_rows(kernels.align, len(mono), *given, moved.numpy())
    return moved.to(audio.device)


def _band_limited(audio: Tensor, ratio: Tensor) -> Tensor:
    """Without what a faster reading would bring beyond Nyquist: `resampling.edge`, at its place over the ratio."""
    n_fft = fft.fast_length(audio.shape[-1] + 2 * PADDING)
    position = torch.arange(n_fft // 2 + 1, dtype=audio.dtype, device=audio.device) / n_fft
    faster = ratio.to(audio.dtype)[:, None, None]
    response: Tensor = 0.5 * torch.erfc((position * faster - 0.475) * (3.1 / 0.025))
    return fft.apply_response(audio, response, n_fft)


@lru_cache(maxsize=4)
def _table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """A Kaiser-windowed sinc, by its cubic Hermite interpolation over each of the cells of a sample, as coefficients
    of 1, x, x^2 and x^3, x from 0 to 1 over a cell: (CELLS, 4, TAPS). Kept; not to be written to."""
    offset = torch.arange(TAPS, dtype=torch.float64) - (TAPS // 2 - 1)

    def kernel(fraction: Tensor) -> Tensor:
        distance = offset - fraction[:, None]
        inside = (1.0 - (distance / (TAPS // 2)).square()).clamp_min(0.0)
        window = torch.special.i0(BETA * inside.sqrt()) / torch.special.i0(torch.tensor(BETA, dtype=torch.float64))
        return torch.as_tensor(torch.sinc(distance) * window * inside)  # `inside`: no step of the slope at the ends

    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        knots = torch.arange(CELLS + 1, dtype=torch.float64) / CELLS
        value, little = kernel(knots), 1e-4 / CELLS
        rise = (kernel(knots + little) - kernel(knots - little)) * (0.5 / (little * CELLS))
        step = value[1:] - value[:-1]
        square = 3.0 * step - 2.0 * rise[:-1] - rise[1:]
        cube = rise[:-1] + rise[1:] - 2.0 * step
        return torch.stack([value[:-1], rise[:-1], square, cube], dim=1).to(device=device, dtype=dtype)


def _shift(audio: Tensor, ratio: Tensor, moved: Tensor, hop: int, lead: int) -> Tensor:
    """Tensor operations alone."""
    samples, table = audio.shape[-1], _table(audio.dtype, audio.device)
    time = torch.arange(samples, device=audio.device) + lead
    grain, u = time // hop, time % hop
    share = 0.5 + 0.5 * torch.cos(math.pi / hop * u.double())
    output = torch.zeros_like(audio)
    for side in range(2):
        place = moved[:, grain + side] + ratio[:, None] * time
        base = place.detach().floor()
        position = (place - base) * CELLS
        cell = position.detach().long().clamp_max(CELLS - 1)
        x, c = (position - cell).to(audio.dtype).unsqueeze(-1), table[cell]
        weights = c[..., 0, :] + x * (c[..., 1, :] + x * (c[..., 2, :] + x * c[..., 3, :]))
        index = base.long().unsqueeze(-1) + torch.arange(TAPS, device=audio.device) - (TAPS // 2 - 1)
        inside = (index >= 0) & (index < samples)
        flat = index.clamp(0, samples - 1).flatten(1)[:, None].expand(-1, audio.shape[1], -1)
        read = audio.gather(2, flat).view(*audio.shape, TAPS)
        value = (read * (weights * inside)[:, None]).sum(dim=-1)
        output = output + (share if side == 0 else 1.0 - share).to(audio.dtype) * value
    return output


class _Shift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, ratio: Tensor, moved: Tensor, hop: int, lead: int) -> Tensor:
        from hitchain.blocks.dsp import grains_kernels as kernels

        given = (audio.contiguous(), ratio, moved, _table(audio.dtype, audio.device))
        output = torch.empty_like(given[0])
        ctx.save_for_backward(*given)
        ctx.grid = (hop, lead)
        over_rows(kernels.shift_forward, len(audio), *_arrays(given), hop, lead, output.numpy())
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from hitchain.blocks.dsp import grains_kernels as kernels

        given = ctx.saved_tensors
        grad_audio, grad_ratio = torch.zeros_like(given[0]), torch.empty_like(given[1])
        incoming = grad.contiguous().numpy()
        grads = (grad_audio.numpy(), grad_ratio.numpy())
        over_rows(kernels.shift_backward, len(grad), *_arrays(given), *ctx.grid, incoming, *grads)
        return grad_audio, grad_ratio, None, None, None


def _arrays(tensors: Sequence[Tensor]) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]
