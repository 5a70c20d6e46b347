"""The voice of the additive synthesiser: a bank of sines and coloured noise under one envelope.

On a CPU one compiled pass takes a voice from phase to sound, with an adjoint derived by hand; elsewhere the parts it is
made of run one after the other as tensor operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.oscillators import harmonic_bank, vibrato_phase
from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.voices import Voices, read, read_backward

ROWS = (
    *("since", "frequency", "vibrato_depth", "vibrato_rate", "vibrato_onset_rate", "hiss"),
    *("duration", "attack", "decay", "sustain", "release"),
)


def play(
    knobs: Mapping[str, Tensor],
    ratio: Tensor,
    amplitude: Tensor,
    fall: Tensor,
    noises: Tensor,
    position: Tensor,
    voices: Voices,
    hop: int,
    top: Tensor,
) -> Tensor:
    """Additive voices.

        y(t) = adsr(t) * (harmonic_bank(phase(t)) + hiss * noise),   phase(t) as `oscillators.vibrato_phase`

    Args:
        knobs: `ROWS`, (voices,) each. since [s] from the onset to the first sample; frequency [Hz]; vibrato_depth, a
            fraction of it; vibrato_rate [Hz]; vibrato_onset_rate [1/s]; hiss, the noise's amplitude; duration, attack,
            decay and release [s].
        ratio, amplitude: of each partial, (voices, partials).
        fall: of each partial's level [1/frame], (voices, partials). Frames are counted from the onset.
        noises: (batch, period), read in a circle from `position`, int64 (voices,).
        hop: [samples] in a frame.
        top: int64 (voices,): partials from here on are silent and left out.

    Returns:
        (voices, span), of the amplitude's dtype; undefined after a voice's count on a CPU. Differentiable with respect
        to the knobs, the partials and the noises.
    """
    if amplitude.device.type != "cpu":
        return play_reference(knobs, ratio, amplitude, fall, noises, position, voices, hop, top)
    table = torch.stack([knobs[name].double() for name in ROWS], dim=1)
    fixed = (voices.row, position, voices.count, top, hop, 1.0 / voices.sample_rate, voices.span)
    audio: Tensor = _Play.apply(table, ratio.double(), amplitude, fall.double(), noises, *fixed)  # type: ignore[no-untyped-call]
    return audio


def play_reference(
    knobs: Mapping[str, Tensor],
    ratio: Tensor,
    amplitude: Tensor,
    fall: Tensor,
    noises: Tensor,
    position: Tensor,
    voices: Voices,
    hop: int,
    top: Tensor,
) -> Tensor:
    """`play`, one part after the other, on any device."""
    rate, span, dtype = voices.sample_rate, voices.span, amplitude.dtype
    depth, speed, onset_rate = (knobs["vibrato_" + name] for name in ("depth", "rate", "onset_rate"))
    phase = vibrato_phase(knobs["since"], knobs["frequency"], depth, speed, onset_rate, rate, span)
    sound = harmonic_bank(phase, ratio, amplitude, fall, knobs["since"] * (rate / hop), hop, top)
    sound = sound + read(noises, voices.row, position, span) * knobs["hiss"].to(dtype)[:, None]
    attack, decay, sustain, release = (knobs[name].to(dtype) for name in ("attack", "decay", "sustain", "release"))
    return sound * adsr(knobs["since"], knobs["duration"], attack, decay, sustain, release, rate, span)


class _Play(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, hop, step, span = inputs
        audio = torch.empty(len(tensors[0]), span, dtype=tensors[2].dtype)
        sound = torch.empty_like(audio) if any(ctx.needs_input_grad) else audio
        arrays = (*map(_array, tensors), hop, step, _array(sound), _array(audio))
        over_rows(_compiled().forward, len(audio), *arrays)
        ctx.save_for_backward(*tensors, sound)
        ctx.constants = hop, step
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, sound = ctx.saved_tensors
        gradients = [torch.zeros_like(value) for value in tensors[:4]]
        d_hiss = torch.empty_like(upstream)
        arrays = (*map(_array, tensors), *ctx.constants, *map(_array, (sound, upstream, *gradients, d_hiss)))
        over_rows(_compiled().backward, len(upstream), *arrays)
        noises, row, position, count = tensors[4:8]
        d_noises = read_backward(noises, row, position, count, d_hiss) if ctx.needs_input_grad[4] else None
        return (*gradients, d_noises, *[None] * 7)


def _compiled() -> Any:
    from hitchain.blocks.dsp import additive_voice_kernels  # slow to load, hence not before it is needed

    return additive_voice_kernels


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
