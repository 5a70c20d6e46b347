"""A delay line whose delay moves with every sample: chorus, flanger, vibrato, a turning horn.

    d[t] = v(t - m[t]),    v[t] = x[t] + feedback[t] d[t]

v between its samples is a windowed sinc, TAPS samples wide (Kaiser's window; J. O. Smith, "Physical audio signal
processing", chapter 4), each phase scaled to a sum of 1 so that a constant stays one however the delay moves. The
kernel is a table of PHASES cells a sample, in each of which it is the cubic through its values and slopes at the ends:
its slope is continuous, and is the derivative, so the gradient with respect to the delay is exact.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.closed_loop import closed_loop
from hitchain.blocks.dsp.threads import over_rows

TAPS = 16
PHASES = 64
BEFORE = TAPS // 2 - 1
"""Taps at or before the place that is read, less one; as many and one more are after it."""
PAD = TAPS
LEAST = TAPS // 2 + 1.0
"""Samples of delay from which on there may be feedback: the taps then reach into the past only."""
_BETA = 8.0
"""Of the window: errors below -80 dB up to a third of the sample rate; above, the highest octave fades."""


def modulated_delay(
    audio: Tensor, delay: Tensor, feedback: Tensor | None = None, parallel: bool | None = None
) -> Tensor:
    """The delayed signal d, from a line at rest.

    Args:
        audio: x, (rows, samples), float32 or float64.
        delay: m [samples], (rows, samples), float64 for accuracy. With feedback at least `LEAST`; without it any, and
            below 0 it reads ahead. Outside the signal there is silence.
        feedback: (rows,) or (rows, samples), its size below 1.
        parallel: tensor operations alone instead of compiled loops; by default wherever `audio` is not on CPU.

    Returns:
        (rows, samples). Differentiable once, in all three.
    """
    if audio.numel() == 0:
        return audio
    if feedback is not None:
        delay = delay.clamp_min(LEAST)
    if audio.device.type != "cpu" if parallel is None else parallel:
        return _by_tensors(audio, delay, feedback)
    columns = audio.new_zeros(len(audio), 0)
    if feedback is not None:
        columns = feedback.unsqueeze(-1) if feedback.ndim == 1 else feedback
    result: Tensor = _ModulatedDelay.apply(audio, delay.double(), columns)  # type: ignore[no-untyped-call]
    return result


def _by_tensors(audio: Tensor, delay: Tensor, feedback: Tensor | None) -> Tensor:
    if feedback is None:
        return read_line(audio, delay)
    gain = feedback.unsqueeze(-1) if feedback.ndim == 1 else feedback
    line = closed_loop(lambda value: gain * read_line(value, delay), audio)
    return read_line(line, delay)


def read_line(line: Tensor, delay: Tensor) -> Tensor:
    """line(t - delay[t]) as tensor operations, on any device. Both (rows, samples)."""
    samples = line.shape[-1]
    moments = torch.arange(samples, dtype=torch.float64, device=line.device) - delay.double()
    moments = moments.clamp(-float(PAD), float(samples + PAD))
    whole = moments.detach().floor()
    phase = (moments - whole) * PHASES
    cell = phase.detach().long().clamp_max(PHASES - 1)
    w = (phase - cell).to(line.dtype).unsqueeze(-1)
    table = torch.from_numpy(kernel_table(line.dtype)).to(line.device)
    u = 1.0 - w
    kernel = (1.0 + 2.0 * w) * u * u * table[0, cell] + w * u * u * table[1, cell]
    kernel = kernel + w * w * (3.0 - 2.0 * w) * table[0, cell + 1] - w * w * u * table[1, cell + 1]
    padded = torch.nn.functional.pad(line, (2 * PAD, 2 * PAD + 1))
    begin = whole.long() + 2 * PAD - BEFORE
    output = torch.zeros_like(line)
    for tap in range(TAPS):
        output = output + kernel[..., tap] * padded.gather(1, begin + tap)
    return output


@lru_cache(maxsize=2)
def kernel_table(dtype: torch.dtype) -> np.ndarray[Any, Any]:
    """The kernel's values, and its slopes a cell, at the ends of the cells: (2, PHASES + 1, TAPS).

    Tap k stands k - BEFORE samples after the last one before the place that is read.
    """
    phase = np.arange(PHASES + 1) / PHASES
    values, slopes = _kernel(phase), (_kernel(phase + 1e-6) - _kernel(phase - 1e-6)) / (2e-6 * PHASES)
    table: np.ndarray[Any, Any] = np.stack([values, slopes]).astype(
        np.float64 if dtype == torch.float64 else np.float32
    )
    return table


def _kernel(phase: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    distance = phase[:, None] - (np.arange(TAPS) - BEFORE)
    inside = np.clip(1.0 - (distance / (TAPS / 2)) ** 2, 0.0, None)
    kernel = np.sinc(distance) * (np.i0(_BETA * np.sqrt(inside)) - 1.0)  # 0 at its ends, with a slope of 0
    scaled: np.ndarray[Any, Any] = kernel / kernel.sum(axis=1, keepdims=True)
    return scaled


class _ModulatedDelay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, delay: Tensor, feedback: Tensor) -> Tensor:
        from hitchain.blocks.dsp import modulated_delay_kernels as kernels

        output = torch.empty_like(audio, memory_format=torch.contiguous_format)
        line = torch.empty(len(audio), audio.shape[1] + 2 * PAD, dtype=audio.dtype)
        table = kernel_table(audio.dtype)
        over_rows(kernels.delay_forward, len(audio), *_arrays(audio, delay, feedback), table, *_arrays(line, output))
        ctx.save_for_backward(delay, feedback, line, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from hitchain.blocks.dsp import modulated_delay_kernels as kernels

        delay, feedback, line, output = ctx.saved_tensors
        whole = torch.contiguous_format  # the kernel writes into what it is given
        grads = tuple(torch.zeros_like(value, memory_format=whole) for value in (output, delay, feedback))
        given = (*_arrays(delay, feedback), kernel_table(output.dtype), *_arrays(line, output, grad))
        over_rows(kernels.delay_backward, len(output), *given, *_arrays(*grads))
        return grads[0], grads[1], grads[2]


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
