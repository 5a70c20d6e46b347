"""Parts of dynamics processors (detectors, time constants, the static curve), and a whole compressor of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad, softplus

from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.dsp.threads import over_rows

FLOOR = -120.0
"""[dB] Peak level below which all counts as silence."""

_SILENCE = math.pow(10.0, FLOOR / 20.0)


def time_coefficient(milliseconds: Tensor, sample_rate: int) -> Tensor:
    """The one-pole coefficient of a time constant: c = 1 - exp(-1 / (tau sample_rate)).

    y[t] = y[t-1] + c (x[t] - y[t-1]) covers 1 - 1/e = 63 % of a step in `milliseconds`. Any shape; in (0, 1].
    """
    return -torch.expm1(-1000.0 / (milliseconds * sample_rate))


def peak_level(audio: Tensor, floor: float = FLOOR) -> Tensor:
    """The level at each sample, linked across channels: 20 log10 max over channels of |x|.

    Args:
        audio: (batch, channels, samples).
        floor: [dB] below which all counts as silence, with zero gradient.

    Returns:
        [dB], (batch, samples).
    """
    peak = audio[:, 0].abs()
    for channel in range(1, audio.shape[1]):
        peak = torch.maximum(peak, audio[:, channel].abs())
    return torch.log(peak.clamp_min(10.0 ** (floor / 20.0))) * (20.0 / math.log(10.0))


def fitted(key: Tensor | None, audio: Tensor) -> Tensor | None:
    """Another track's audio with the batch and the length of ours, cut or followed by silence; None where none."""
    if key is None:
        return None
    missing = audio.shape[-1] - key.shape[-1]
    return pad(key, (0, missing)).expand(len(audio), -1, -1)


def rms_level(audio: Tensor, milliseconds: Tensor, sample_rate: int, floor: float = -120.0) -> Tensor:
    """The running root mean square, linked across channels: 10 log10 of the one-pole average of the mean square.

    Args:
        audio: (batch, channels, samples).
        milliseconds: time constant of the average, (batch,).
        floor: [dB] below which all counts as silence, with zero gradient.

    Returns:
        [dB], (batch, samples).
    """
    coefficient = time_coefficient(milliseconds, sample_rate)
    power = ballistics(audio.square().mean(dim=1), coefficient, coefficient)
    return torch.log(power.clamp_min(10.0 ** (floor / 10.0))) * (10.0 / math.log(10.0))


def overshoot(level: Tensor, threshold: Tensor, knee: Tensor) -> Tensor:
    """How far a level is above the threshold, round a soft knee (Giannoulis, Massberg and Reiss 2012, eq. 4).

        0                                            where 2 (level - threshold) < -knee
        (level - threshold + knee/2)^2 / (2 knee)    in between
        level - threshold                            where 2 (level - threshold) > knee

    A knee of 0 is a hard corner, with finite gradients.

    Args:
        level: [dB], (batch, samples).
        threshold: [dB]; knee: width [dB], >= 0; each (batch,) or (batch, samples).

    Returns:
        [dB], >= 0, (batch, samples).
    """
    threshold, knee = (value.unsqueeze(-1) if value.ndim < 2 else value for value in (threshold, knee))
    into = level - (threshold - 0.5 * knee)
    bent = torch.minimum(into.clamp_min(0.0), knee)  # how far into the knee, at most all of it
    # the area under the slope, which climbs from 0 to 1 through the knee, plus all beyond the knee
    return bent * bent * (0.5 / knee.clamp_min(1e-12)) + (into - knee).clamp_min(0.0)


def soft_overshoot(level: Tensor, threshold: Tensor, softness: float) -> Tensor:
    """How far a level is above the threshold, by a bend without ends:

        softness ln(1 + e^((level - threshold) / softness))

    0.69 softness at the threshold, and ever less below, but never 0: a threshold above everything has a gradient too.

    Args:
        level: [dB], (batch, samples).
        threshold: [dB], (batch,).
        softness: [dB].
    """
    return softness * softplus((level - threshold.unsqueeze(-1)) / softness, threshold=40.0)


def slope(ratio: Tensor) -> Tensor:
    """Decibels taken away for each of the overshoot: 1 - 1/ratio, ratio >= 1."""
    return 1.0 - 1.0 / ratio


def gain_reduction(
    level: Tensor,
    threshold: Tensor,
    ratio: Tensor,
    knee: Tensor,
    attack: Tensor,
    release: Tensor,
    sample_rate: int,
) -> Tensor:
    """What a compressor takes away: slope(ratio) * ballistics(overshoot(level, threshold, knee), attack, release).

    The slope comes last: as it scales the overshoot alike everywhere the result is the same, and the gradient stays
    right at a ratio of 1, where a follower of nothing would not know which way it turns.

    Args:
        level: [dB], (batch, samples).
        threshold: [dB]; ratio: >= 1; knee: [dB], >= 0; attack, release: time constants [ms]; each (batch,).

    Returns:
        [dB], >= 0, (batch, samples).
    """
    rise, fall = time_coefficient(attack, sample_rate), time_coefficient(release, sample_rate)
    return slope(ratio).unsqueeze(-1) * ballistics(overshoot(level, threshold, knee), rise, fall)


def compress(
    audio: Tensor,
    threshold: Tensor,
    ratio: Tensor,
    knee: Tensor,
    attack: Tensor,
    release: Tensor,
    makeup: Tensor,
    mix: Tensor,
    sample_rate: int,
    parallel: bool | None = None,
    key: Tensor | None = None,
) -> Tensor:
    """A compressor, linked across channels:

        y = x (1 - mix + mix 10^((makeup - gain_reduction(peak_level(x), ...)) / 20))

    On CPU one compiled pass forward and one back, which works the detector and the curve out anew instead of keeping
    them; elsewhere (`parallel`), and with a key, the composition of the functions it is made of.

    Args:
        audio: (batch, channels, samples).
        threshold, knee, makeup: [dB]; ratio: >= 1; attack, release: time constants [ms]; mix: 0 to 1; each (batch,).
        parallel: by default wherever `audio` is not on CPU.
        key: audio (batch, any channels, samples) whose level counts instead.

    Returns:
        (batch, channels, samples). Differentiable once, in all.
    """
    if audio.numel() == 0:
        return audio
    if key is not None or (audio.device.type != "cpu" if parallel is None else parallel):
        level = peak_level(audio if key is None else key)
        reduction = gain_reduction(level, threshold, ratio, knee, attack, release, sample_rate)
        gain = to_gain(makeup.unsqueeze(-1) - reduction)
        return audio * (1.0 + mix.unsqueeze(-1) * (gain - 1.0)).unsqueeze(1)
    rise, fall = time_coefficient(attack, sample_rate), time_coefficient(release, sample_rate)
    values = torch.stack([threshold, slope(ratio), knee, rise, fall, makeup, mix], dim=-1)
    result: Tensor = _Compress.apply(audio, values.expand(len(audio), -1))  # type: ignore[no-untyped-call]
    return result


class _Compress(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, values: Tensor) -> Tensor:
        from hitchain.blocks.dsp import dynamics_kernels as kernels

        output = torch.empty_like(audio, memory_format=torch.contiguous_format)
        blocks = -(-audio.shape[-1] // kernels.BLOCK)
        states = torch.empty(len(audio), blocks, dtype=torch.float64)
        arrays = _arrays(audio, values.double())
        over_rows(kernels.compress_forward, len(audio), *arrays, _SILENCE, *_arrays(output, states))
        ctx.save_for_backward(audio, values, states)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        from hitchain.blocks.dsp import dynamics_kernels as kernels

        audio, values, states = ctx.saved_tensors
        grad_audio = torch.empty_like(audio, memory_format=torch.contiguous_format)
        grad_values = torch.empty(values.shape, dtype=torch.float64)
        inputs = _arrays(audio, values.double())
        results = _arrays(states, grad, grad_audio, grad_values)
        over_rows(kernels.compress_backward, len(audio), *inputs, _SILENCE, *results)
        return grad_audio, grad_values.to(values.dtype)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
