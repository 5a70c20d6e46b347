"""Oscillators without aliasing: a vibrato's phase in closed form, a bank of sines, and waveforms from their spectra.

Phases are counted in turns (cycles) in float64, so that a long note stays in tune in float32 audio. On a CPU the inner
loops are compiled and their gradients derived by hand; elsewhere the same formulas run as tensor operations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.threads import over_rows

TABLE_SIZE = 8192
"""Points of one waveform table."""

HIGHEST_BIN = TABLE_SIZE // 4
"""Partials kept in a table, so that cubic interpolation is clean."""


def vibrato_phase(
    since: Tensor, frequency: Tensor, depth: Tensor, rate: Tensor, onset_rate: Tensor, sample_rate: int, span: int
) -> Tensor:
    """Turns made by a voice whose frequency swings, the swing fading in after the onset.

    The integral from the onset to t of f(s) = frequency * (1 + depth * (1 - exp(-onset_rate s)) * sin(2 pi rate s)):

        phase = frequency * (t + depth * Im[(e^{pt} - 1) / p - (e^{qt} - 1) / q]),   p = 2 pi j rate, q = p - onset_rate

    Args:
        since: [s] from the onset to the first sample, float64 (voices,).
        frequency: [Hz], (voices,).
        depth: of the swing, as a fraction of the frequency, (voices,).
        rate: [Hz] of the swing, above 0, (voices,).
        onset_rate: [1/s], the inverse of the time constant of the fade-in, (voices,).

    Returns:
        float64 (voices, span) [turns]; differentiable with respect to the five tensors.
    """
    since, frequency, depth = since.double(), frequency.double(), depth.double()
    rate, onset_rate = rate.double(), onset_rate.double()
    if since.device.type == "cpu":
        phase: Tensor = _VibratoPhase.apply(since, frequency, depth, rate, onset_rate, sample_rate, span)  # type: ignore[no-untyped-call]
        return phase
    return vibrato_phase_reference(since, frequency, depth, rate, onset_rate, sample_rate, span)


def vibrato_phase_reference(
    since: Tensor, frequency: Tensor, depth: Tensor, rate: Tensor, onset_rate: Tensor, sample_rate: int, span: int
) -> Tensor:
    """`vibrato_phase` as tensor operations, on any device."""
    time = since[:, None] + torch.arange(span, dtype=torch.float64, device=since.device) / sample_rate
    p = torch.complex(torch.zeros_like(rate), 2.0 * math.pi * rate)[:, None]
    q = p - onset_rate[:, None]
    swing = (torch.expm1(p * time) / p - torch.expm1(q * time) / q).imag
    return frequency[:, None] * (time + depth[:, None] * swing)


class _VibratoPhase(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, sample_rate, span = inputs
        ctx.sample_rate = sample_rate
        ctx.save_for_backward(*tensors)
        phase = torch.empty(tensors[0].shape[0], span, dtype=torch.float64)
        arrays = map(_array, tensors)
        over_rows(_compiled().vibrato_forward, len(phase), *arrays, 1.0 / sample_rate, phase.numpy())
        return phase

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        gradients = torch.empty(5, upstream.shape[0], dtype=torch.float64)
        arrays = (*map(_array, tensors), 1.0 / ctx.sample_rate, _array(upstream), gradients.numpy())
        over_rows(_compiled().vibrato_backward, len(upstream), *arrays)
        return (*gradients, None, None)


def harmonic_bank(
    phase: Tensor, ratio: Tensor, amplitude: Tensor, decay: Tensor, offset: Tensor, hop: int, top: Tensor | None = None
) -> Tensor:
    """A sum of decaying sines: the harmonic part of Engel et al., DDSP (ICLR 2020), equation 2.

        audio[v, n] = sum over k of level[v, k](offset[v] + n / hop) * sin(2 pi ratio[v, k] phase[v, n])
        level[v, k](frame) = amplitude[v, k] * exp(-decay[v, k] * frame) at whole frames, linear between

    Memory does not grow with the number of partials: no sine is kept for the backward pass, all are computed again.

    Args:
        phase: of the fundamental [turns], float64 (voices, span).
        ratio: of each partial's frequency to the fundamental, (voices, partials).
        amplitude: of each partial at frame 0, (voices, partials).
        decay: [1/frame], (voices, partials).
        offset: [frames] where the first sample lies, from 0 up, (voices,).
        hop: [samples] in a frame.
        top: int64 (voices,): partials from here on are silent and left out. Default: none are.

    Returns:
        (voices, span), of the amplitude's dtype; differentiable with respect to the five tensors.
    """
    if top is None:
        top = torch.full(phase.shape[:1], ratio.shape[1])
    tensors = (phase, ratio.double(), amplitude, decay.double(), offset.double())
    if amplitude.device.type == "cpu":
        audio: Tensor = _HarmonicBank.apply(*tensors, hop, top)  # type: ignore[no-untyped-call]
        return audio
    return harmonic_bank_reference(*tensors, hop)


def harmonic_bank_reference(
    phase: Tensor, ratio: Tensor, amplitude: Tensor, decay: Tensor, offset: Tensor, hop: int
) -> Tensor:
    """`harmonic_bank` as tensor operations, on any device, one partial at a time."""
    place = offset[:, None] + torch.arange(phase.shape[1], dtype=torch.float64, device=phase.device) / hop
    frame = place.detach().floor()
    weight = place - frame
    audio = torch.zeros(phase.shape, dtype=amplitude.dtype, device=phase.device)
    for k in range(ratio.shape[1]):
        turns = ratio[:, k, None] * phase
        left, fall = torch.exp(-decay[:, k, None] * frame), torch.exp(-decay[:, k, None])
        level = amplitude[:, k, None] * (left * (1.0 + (fall - 1.0) * weight)).to(amplitude.dtype)
        audio = audio + level * torch.sin(2.0 * math.pi * (turns - turns.detach().round())).to(amplitude.dtype)
    return audio


class _HarmonicBank(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, hop, top = inputs
        ctx.hop = hop
        ctx.save_for_backward(*tensors, top)
        audio = torch.empty(tensors[0].shape, dtype=tensors[2].dtype)
        over_rows(_compiled().bank_forward, len(audio), *map(_array, tensors), hop, _array(top), audio.numpy())
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, top = ctx.saved_tensors
        d_phase = torch.empty(upstream.shape, dtype=upstream.dtype)
        others = [torch.zeros(value.shape, dtype=value.dtype) for value in tensors[1:]]
        outputs = (gradient.numpy() for gradient in (d_phase, *others))
        arrays = (*map(_array, tensors), ctx.hop, _array(top), _array(upstream), *outputs)
        over_rows(_compiled().bank_backward, len(upstream), *arrays)
        return d_phase.double(), *others, None, None


def waveform_tables(sine: Tensor, cosine: Tensor) -> Tensor:
    """One period of a waveform from its Fourier series: sum over k of sine[k] sin(kx) + cosine[k] cos(kx).

    Args:
        sine, cosine: (voices, bins), bins <= HIGHEST_BIN + 1; index 0 is the mean (of `cosine`).

    Returns:
        (voices, TABLE_SIZE).
    """
    spectrum = torch.complex(cosine, -sine) * (TABLE_SIZE / 2)
    first = torch.ones(spectrum.shape[-1], dtype=sine.dtype, device=sine.device)
    first[0] = 2.0
    tables: Tensor = torch.fft.irfft(spectrum * first, n=TABLE_SIZE)
    return tables


def lookup(tables: Tensor, phase: Tensor, ratio: Tensor) -> Tensor:
    """Play waveform tables: Catmull-Rom cubic interpolation at ratio * phase turns.

    Args:
        tables: (voices, size), size a power of two.
        phase: [turns], float64 (voices, span).
        ratio: turns of the table for each turn of the phase, (voices,).

    Returns:
        (voices, span), of the tables' dtype; differentiable with respect to all three.
    """
    if tables.device.type == "cpu":
        audio: Tensor = _Lookup.apply(tables, phase, ratio.double())  # type: ignore[no-untyped-call]
        return audio
    return lookup_reference(tables, phase, ratio)


def lookup_reference(tables: Tensor, phase: Tensor, ratio: Tensor) -> Tensor:
    """`lookup` as tensor operations, on any device."""
    size = tables.shape[1]
    place = ratio[:, None].double() * phase
    place = (place - place.detach().floor()) * size
    index = place.detach().floor().to(torch.int64)
    w = (place - index).to(tables.dtype)
    a, b, c, d = (tables.gather(1, (index + shift) % size) for shift in (-1, 0, 1, 2))
    return b + 0.5 * w * (c - a + w * (2.0 * a - 5.0 * b + 4.0 * c - d + w * (3.0 * (b - c) + d - a)))


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tables: Tensor, phase: Tensor, ratio: Tensor) -> Tensor:
        ctx.save_for_backward(tables, phase, ratio)
        audio = torch.zeros(phase.shape, dtype=tables.dtype)
        over_rows(_compiled().lookup_forward, len(audio), *map(_array, (tables, phase, ratio)), audio.numpy())
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, ...]:
        tables, phase, ratio = ctx.saved_tensors
        gradients = tuple(torch.zeros(value.shape, dtype=value.dtype) for value in (tables, phase, ratio))
        arrays = map(_array, (tables, phase, ratio, upstream))
        over_rows(_compiled().lookup_backward, len(upstream), *arrays, *map(_array, gradients))
        return gradients


def below_nyquist(frequency: Tensor, sample_rate: int) -> Tensor:
    """How much of a partial to keep: 1 below 80 % of the Nyquist frequency, 0 above it, smooth between.

    Args:
        frequency: [Hz], any shape. The weight is 3x^2 - 2x^3 of the way left to the Nyquist frequency.
    """
    way = (5.0 - frequency * (10.0 / sample_rate)).clamp(0.0, 1.0)
    return way * way * (3.0 - 2.0 * way)


def _compiled() -> Any:
    from hitchain.blocks.dsp import oscillator_kernels  # slow to load, hence not before it is needed

    return oscillator_kernels


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().contiguous().numpy()
