"""The voice of the subtractive synthesiser: two tables, noise, a low-pass with an envelope, an amplifier.

On a CPU one compiled pass takes a voice from phase to sound, with an adjoint derived by hand; elsewhere the parts it is
made of run one after the other as tensor operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.oscillators import lookup, vibrato_phase
from hitchain.blocks.dsp.state_variable import prewarp, state_variable_filter
from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.voices import Voices, read

ROWS = (
    *("since", "duration", "frequency", "vibrato_depth", "vibrato_rate", "vibrato_onset_rate", "ratio", "hiss"),
    *("closed", "opened", "damping", "filter_attack", "filter_decay", "filter_sustain", "filter_release"),
    *("attack", "decay", "sustain", "release"),
)


def play(
    knobs: Mapping[str, Tensor], low: Tensor, high: Tensor, white: Tensor, position: Tensor, voices: Voices, poles: int
) -> Tensor:
    """Subtractive voices.

        phase(t) as `oscillators.vibrato_phase`
        source(t) = low(phase(t) / 2) + high(ratio * phase(t)) + hiss * white
        cutoff(t) = 2^(closed + (opened - closed) * filter_adsr(t))
        y(t) = adsr(t) * lowpass(source(t); cutoff(t), damping)

    Args:
        knobs: `ROWS`, (voices,) each. since [s] from the onset to the first sample; duration, and both envelopes'
            attack, decay and release [s]; frequency [Hz]; vibrato_depth, a fraction of it; vibrato_rate [Hz];
            vibrato_onset_rate [1/s]; ratio, the second table's pitch to the first's; hiss, the noise's amplitude;
            closed and opened, log2 of the cutoff [Hz] at the filter envelope's 0 and 1; damping, 1 / Q.
        low, high: waveform tables, (voices, size), size a power of two; `low` holds two periods of the note.
        white: (period,), read in a circle from `position`, int64 (voices,).
        poles: 2; or 4: a second, Butterworth section follows.

    Returns:
        (voices, span), of the tables' dtype; undefined after a voice's count on a CPU. Differentiable with respect to
        the knobs and the tables.
    """
    if low.device.type != "cpu":
        return play_reference(knobs, low, high, white, position, voices, poles)
    table = torch.stack([knobs[name].double() for name in ROWS], dim=1)
    fixed = (white, position, voices.count, poles, 1.0 / voices.sample_rate, voices.span)
    audio: Tensor = _Play.apply(table, low, high, *fixed)  # type: ignore[no-untyped-call]
    return audio


def play_reference(
    knobs: Mapping[str, Tensor], low: Tensor, high: Tensor, white: Tensor, position: Tensor, voices: Voices, poles: int
) -> Tensor:
    """`play`, one part after the other, on any device."""
    rate, span, dtype = voices.sample_rate, voices.span, low.dtype

    def envelope(prefix: str) -> Tensor:
        attack, decay, sustain, release = (
            knobs[prefix + name].to(dtype) for name in ("attack", "decay", "sustain", "release")
        )
        return adsr(knobs["since"], knobs["duration"], attack, decay, sustain, release, rate, span)

    depth, speed, onset_rate = (knobs["vibrato_" + name] for name in ("depth", "rate", "onset_rate"))
    phase = vibrato_phase(knobs["since"], knobs["frequency"], depth, speed, onset_rate, rate, span)
    ratio = knobs["ratio"]
    source = lookup(low, phase, torch.full_like(ratio, 0.5)) + lookup(high, phase, ratio)
    hiss = read(white[None], torch.zeros_like(position), position, span)
    source = torch.addcmul(source, hiss, knobs["hiss"].to(dtype)[:, None])
    closed, opened = knobs["closed"].to(dtype)[:, None], knobs["opened"].to(dtype)[:, None]
    g = prewarp(torch.exp2(torch.addcmul(closed, opened - closed, envelope("filter_"))), rate)
    sound = state_variable_filter(source, g, knobs["damping"].to(dtype))
    if poles == 4:
        sound = state_variable_filter(sound, g, torch.full_like(closed[:, 0], math.sqrt(2.0)))
    return sound * envelope("")


class _Play(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        table, low, high, white, position, count, poles, step, span = inputs
        kernels = _compiled()
        kept = torch.empty(len(table), -(-span // kernels.BLOCK), poles, dtype=torch.float64)
        audio = torch.empty(len(table), span, dtype=low.dtype)
        arrays = map(_array, (table, low, high, white, position, count))
        over_rows(kernels.forward, len(table), *arrays, poles, step, _array(kept), _array(audio))
        ctx.save_for_backward(table, low, high, white, position, count, kept)
        ctx.poles, ctx.step = poles, step
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, kept = ctx.saved_tensors
        gradients = [torch.zeros_like(value) for value in tensors[:3]]
        arrays = (*map(_array, tensors), ctx.poles, ctx.step, *map(_array, (kept, upstream, *gradients)))
        over_rows(_compiled().backward, len(upstream), *arrays)
        return (*gradients, *[None] * 6)


def _compiled() -> Any:
    from hitchain.blocks.dsp import subtractive_voice_kernels  # slow to load, hence not before it is needed

    return subtractive_voice_kernels


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
