"""Loudness and true peak: ITU-R BS.1770-4 and EBU R 128 (EBU Tech 3341, 3342), batched and differentiable.

Loudness is -0.691 + 10 log10 of the K-weighted mean square summed over channels: left and right count 1 each, so a
mono signal reads 3 LU less than the same signal in both channels, as the standard has it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp import fft
from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.true_peak import peak_level

LOWEST_LOUDNESS = -120.0
"""[LUFS] What silence reads (the standard has minus infinity). At and below it gradients are zero, hence finite."""

ABSOLUTE_GATE = -70.0
"""[LUFS] Blocks at or below it do not count (BS.1770-4, annex 1)."""

RELATIVE_GATE = -10.0
"""[LU] Blocks this far below the mean of those above the absolute gate do not count either."""

RANGE_GATE = -20.0
"""[LU] The relative gate of the loudness range (EBU Tech 3342)."""

_OFFSET = -0.691
_HOP = 0.1  # seconds between blocks: 75 % overlap of 400 ms
_MOMENTARY = 4  # hops in 400 ms
_SHORT_TERM = 30  # hops in 3 s
_RINGING = 0.1  # seconds after which the K-weighting has decayed by 120 dB

# The analogue prototypes whose bilinear transforms at 48 kHz are the standard's two biquads (BS.1770-4, tables 1, 2):
# a high shelf (s^2 V + s W / Q + 1) / (s^2 + s / Q + 1) and a high-pass s^2 / (s^2 + s / Q + 1), with s in units of
# 2 pi times the corner frequency.
_SHELF_HZ, _SHELF_Q = 1681.974450955533, 0.7071752369554196
_SHELF_TOP = 10.0 ** (3.999843853973347 / 20.0)
_SHELF_MIDDLE = _SHELF_TOP**0.4996667741545416
_HIGH_PASS_HZ, _HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773
_STANDARD_RATE = 48000


def k_weighting_coefficients(sample_rate: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The two biquads of the K-weighting, each (b0, b1, b2, a1, a2), at any sample rate [Hz].

    The standard prints them for 48 kHz; elsewhere they are the bilinear transform of the same analogue prototype, each
    corner kept in place: s -> (1 - 1/z) / (1 + 1/z) / tan(pi corner / sample_rate). The high-pass is printed with a
    numerator of (1, -2, 1), a gain of 0.04 dB over the prototype at 48 kHz: it is kept at every rate.
    """
    corner = math.tan(math.pi * _SHELF_HZ / sample_rate)
    scale = 1.0 + corner / _SHELF_Q + corner**2
    shelf = (
        (_SHELF_TOP + _SHELF_MIDDLE * corner / _SHELF_Q + corner**2) / scale,
        2.0 * (corner**2 - _SHELF_TOP) / scale,
        (_SHELF_TOP - _SHELF_MIDDLE * corner / _SHELF_Q + corner**2) / scale,
        2.0 * (corner**2 - 1.0) / scale,
        (1.0 - corner / _SHELF_Q + corner**2) / scale,
    )
    corner = math.tan(math.pi * _HIGH_PASS_HZ / sample_rate)
    scale = 1.0 + corner / _HIGH_PASS_Q + corner**2
    standard = math.tan(math.pi * _HIGH_PASS_HZ / _STANDARD_RATE)
    gain = (1.0 + standard / _HIGH_PASS_Q + standard**2) / scale
    high_pass = (
        gain,
        -2.0 * gain,
        gain,
        2.0 * (corner**2 - 1.0) / scale,
        (1.0 - corner / _HIGH_PASS_Q + corner**2) / scale,
    )
    return shelf, high_pass


@lru_cache(maxsize=8)
def _k_weighting_response(n_fft: int, sample_rate: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The K-weighting at the bins of a real FFT. In float64 first: near 0 Hz its terms cancel."""
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        delay = torch.exp(-2j * math.pi / n_fft * torch.arange(n_fft // 2 + 1, dtype=torch.float64, device=device))
        response = torch.ones_like(delay)
        for b0, b1, b2, a1, a2 in k_weighting_coefficients(sample_rate):
            response = response * (b0 + delay * (b1 + delay * b2)) / (1.0 + delay * (a1 + delay * a2))
        return response.to(torch.complex128 if dtype == torch.float64 else torch.complex64)


def k_weighted(audio: Tensor, sample_rate: int) -> Tensor:
    """Audio through the K-weighting of BS.1770-4. Shape (batch, channels, samples), unchanged."""
    n_fft = fft.fast_length(audio.shape[-1] + round(_RINGING * sample_rate))
    return fft.apply_response(audio, _k_weighting_response(n_fft, sample_rate, audio.dtype, audio.device), n_fft)


def hop_length(sample_rate: int) -> int:
    """Samples between the starts of gating blocks: 100 ms."""
    return max(1, round(_HOP * sample_rate))


def weighted_power(audio: Tensor, sample_rate: int, step: int, parallel: bool | None = None) -> Tensor:
    """The K-weighted mean square in steps, channels added up.

    On CPU the filters run in time, back with their adjoint, and the filtered signal is nowhere stored. Elsewhere
    (`parallel`) they are applied in frequency.

    Args:
        audio: (batch, channels, samples), samples >= step.
        step: samples in a step; an incomplete step at the end does not count.

    Returns:
        (batch, samples // step). Differentiable once.
    """
    steps = audio.shape[-1] // step
    if audio.device.type != "cpu" if parallel is None else parallel:
        power = k_weighted(audio, sample_rate).square().sum(dim=1)
        return power[:, : steps * step].reshape(-1, steps, step).mean(dim=-1)
    rows: Tensor = _WeightedPower.apply(audio.flatten(0, 1), sample_rate, step)  # type: ignore[no-untyped-call]
    return rows.reshape(audio.shape[0], audio.shape[1], steps).sum(dim=1)


class _WeightedPower(torch.autograd.Function):
    """(rows, samples) -> (rows, steps)."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, sample_rate: int, step: int) -> Tensor:
        from hitchain.blocks.dsp import loudness_kernels as kernels

        steps = audio.shape[-1] // step
        per_block = max(1, kernels.BLOCK // step)
        filters = torch.tensor(k_weighting_coefficients(sample_rate), dtype=torch.float64)
        power = audio.new_empty(len(audio), steps)
        states = torch.empty(len(audio), -(-steps // per_block), 6, dtype=torch.float64)
        over_rows(
            kernels.power_forward, len(audio), *_arrays(audio, filters), step, power.numpy(), per_block, states.numpy()
        )
        ctx.save_for_backward(audio, filters, states)
        ctx.shape = (step, per_block)
        return power

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        from hitchain.blocks.dsp import loudness_kernels as kernels

        audio, filters, states = ctx.saved_tensors
        grad_audio = torch.empty_like(audio, memory_format=torch.contiguous_format)
        results = _arrays(states, grad, grad_audio)
        over_rows(kernels.power_backward, len(audio), *_arrays(audio, filters), *ctx.shape, *results)
        return grad_audio, None, None


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def block_means(power: Tensor, hops: int = _MOMENTARY) -> Tensor:
    """Mean squares of hops (batch, hops in all) -> of overlapping blocks, `hops` long each (batch, blocks).

    Less than one block is one block.
    """
    if power.shape[-1] < hops:
        return power.mean(dim=-1, keepdim=True)
    return power.unfold(-1, hops, 1).mean(dim=-1)


def from_mean_square(power: Tensor) -> Tensor:
    """K-weighted mean square -> loudness [LUFS], not below `LOWEST_LOUDNESS`."""
    lowest = 10.0 ** ((LOWEST_LOUDNESS - _OFFSET) / 10.0)
    return _OFFSET + 10.0 / math.log(10.0) * torch.log(power.clamp_min(lowest))


def _blocks(audio: Tensor, sample_rate: int, hops: int) -> Tensor:
    """Mean squares of gating blocks. Samples after the last whole hop do not count, unless there is not one block."""
    hop, samples = hop_length(sample_rate), audio.shape[-1]
    if samples < hops * hop:
        return weighted_power(audio, sample_rate, samples)
    return block_means(weighted_power(audio, sample_rate, hop), hops)


def gated_loudness(blocks: Tensor) -> Tensor:
    """Mean squares of gating blocks (batch, blocks) -> integrated loudness (batch,) [LUFS].

    Blocks above -70 LUFS count, if also above 10 LU under the mean of those. Which blocks count is taken as constant
    in gradients. Where no block does, the mean of all is taken, so that a faint signal still has a gradient.
    """
    with torch.no_grad():
        loudness = from_mean_square(blocks)
        counts = loudness > ABSOLUTE_GATE
        gate = from_mean_square(_mean_where(blocks, counts)) + RELATIVE_GATE
        counts = counts & (loudness > gate[:, None])
        counts = counts | ~counts.any(dim=-1, keepdim=True)
    return from_mean_square(_mean_where(blocks, counts))


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(dim=-1) / mask.sum(dim=-1).clamp_min(1)


def integrated_loudness(audio: Tensor, sample_rate: int) -> Tensor:
    """Integrated (programme) loudness of BS.1770-4: (batch, channels, samples) -> (batch,) [LUFS].

    Audio shorter than a 400 ms block counts as one block. Silence reads `LOWEST_LOUDNESS`. The gradient is exact for
    the blocks that pass the gates and finite everywhere.
    """
    return gated_loudness(_blocks(audio, sample_rate, _MOMENTARY))


def momentary_loudness(audio: Tensor, sample_rate: int) -> Tensor:
    """Ungated loudness in windows of 400 ms, one each 100 ms (EBU Tech 3341): (batch, windows) [LUFS]."""
    return from_mean_square(_blocks(audio, sample_rate, _MOMENTARY))


def short_term_loudness(audio: Tensor, sample_rate: int) -> Tensor:
    """Ungated loudness in windows of 3 s, one each 100 ms (EBU Tech 3341): (batch, windows) [LUFS]."""
    return from_mean_square(_blocks(audio, sample_rate, _SHORT_TERM))


def loudness_range(audio: Tensor, sample_rate: int) -> Tensor:
    """Loudness range of EBU Tech 3342: (batch, channels, samples) -> (batch,) [LU].

    The distance from the 10th to the 95th percentile (nearest rank) of short-term loudness, over windows above
    -70 LUFS and above 20 LU under the mean of those. 0 where none is.
    """
    power = _blocks(audio, sample_rate, _SHORT_TERM)
    return torch.stack([_range_of(item) for item in power])


def _range_of(power: Tensor) -> Tensor:
    loudness = from_mean_square(power)
    audible = loudness > ABSOLUTE_GATE
    gate = from_mean_square(_mean_where(power.detach(), audible)) + RANGE_GATE
    ranked = loudness[audible & (loudness > gate)].sort().values
    if ranked.numel() == 0:
        return loudness.sum() * 0.0
    last = ranked.numel() - 1
    return ranked[round(0.95 * last)] - ranked[round(0.10 * last)]


def true_peak(audio: Tensor, sample_rate: int, oversampling: int = 4) -> Tensor:
    """True peak (BS.1770-4, annex 2): (batch, channels, samples) -> (batch,) [dBTP], the largest of all channels.

    Args:
        sample_rate: [Hz]; at 96 kHz half the oversampling, at 192 kHz none, looks at as many points a second.
        oversampling: how many points per sample are looked at, at rates under 96 kHz. At 4, a sine at 0.2 of the
            sample rate may read up to 0.11 dB low, one at half the sample rate 0.69 dB: the standard's own limits.

    Never below the peak of the samples themselves. Silence reads -160 dBTP.
    """
    if sample_rate >= 96_000:
        oversampling = max(1, oversampling * 48_000 // sample_rate)
    return peak_level(audio, oversampling).amax(dim=-1)
