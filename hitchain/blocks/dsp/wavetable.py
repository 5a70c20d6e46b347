"""Playing a bank of fixed waveforms at a place between them that moves through time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.voices import Voices


def scan(
    bank: Tensor, level: Tensor, since: Tensor, frequency: Tensor, phase: Tensor, gain: Tensor, position: Tensor,
    voices: Voices,
) -> Tensor:  # fmt: skip
    """Each voice's oscillators read one row of waveforms, by Catmull-Rom cubics, blended linearly along the row.

        audio[v, n] = sum over u of gain[v, u] wave(position[v, n], frequency[v, u] t + phase[u])

    Args:
        bank: constant, (levels, frames, size), size a power of two, two frames or more.
        level: int64 (voices,): which row each reads.
        since: [s] from the onset to the first sample, (voices,).
        frequency: [Hz], float64 (voices, oscillators). phase: constant [turns], float64 (oscillators,).
        gain: (voices, oscillators).
        position: within 0 to frames - 1, (voices, span), of the bank's dtype.

    Returns:
        (voices, span); 0 after a voice's count on a CPU. Differentiable in since, frequency, gain and position.
    """
    if bank.device.type != "cpu":
        return scan_reference(bank, level, since, frequency, phase, gain, position, voices)
    fixed = bank, level, phase, voices.count, 1.0 / voices.sample_rate
    audio: Tensor = _Scan.apply(since.double(), frequency.double(), gain.double(), position, *fixed)  # type: ignore[no-untyped-call]
    return audio


def scan_reference(
    bank: Tensor, level: Tensor, since: Tensor, frequency: Tensor, phase: Tensor, gain: Tensor, position: Tensor,
    voices: Voices,
) -> Tensor:  # fmt: skip
    """`scan` as tensor operations, on any device."""
    _, frames, size = bank.shape
    time = since[:, None].double() + torch.arange(position.shape[1], device=bank.device).double() / voices.sample_rate
    frame = position.detach().floor().clamp(0, frames - 2).long()
    along = position - frame
    audio = torch.zeros_like(position)
    for index in range(frequency.shape[1]):
        place = frequency[:, index, None].double() * time + phase[index]
        place = (place - place.detach().floor()) * size
        start = place.detach().floor().long()
        w = (place - start).to(bank.dtype)
        waves = []
        for row in (frame, frame + 1):
            a, b, c, d = (bank[level[:, None], row, (start + shift) % size] for shift in (-1, 0, 1, 2))
            waves.append(b + 0.5 * w * (c - a + w * (2.0 * a - 5.0 * b + 4.0 * c - d + w * (3.0 * (b - c) + d - a))))
        audio = audio + gain[:, index, None].to(bank.dtype) * (waves[0] + along * (waves[1] - waves[0]))
    return audio


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, step = inputs
        ctx.save_for_backward(*tensors)
        ctx.step = step
        audio = torch.zeros_like(tensors[3])
        over_rows(_compiled().forward, len(audio), *map(_array, tensors), step, audio.numpy())
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        gradients = tuple(torch.zeros_like(value) for value in tensors[:4])
        arrays = (*map(_array, tensors), ctx.step, _array(upstream), *map(_array, gradients))
        over_rows(_compiled().backward, len(upstream), *arrays)
        return *gradients, None, None, None, None, None


def _compiled() -> Any:
    from hitchain.blocks.dsp import wavetable_kernels  # slow to load, hence not before it is needed

    return wavetable_kernels


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
