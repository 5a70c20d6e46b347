"""A voice of four sine operators that modulate each other's phases (J. M. Chowning, JAES 21(7), 1973).

Operator 4 modulates itself without delay, y = sin(x + b y): Kepler's equation, solved by a sawtooth-like wave of the
partials 2 J_k(k b) / (k b). Nothing is recursive, then: a window of a note is exact, and every rate gives the same.

On a CPU one compiled pass takes a voice from phase to sound, with an adjoint derived by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.envelopes import adsr
from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.voices import Voices

OPERATORS = 4
PAIRS = ((2, 1), (3, 1), (4, 1), (3, 2), (4, 2), (4, 3))
"""(modulator, modulated), numbered from 1: a column of `modulation` each."""

HALLEY = 5
"""Steps to Kepler's equation's solution, each of which cubes the error."""

ROWS = ("since", "duration", "attack", "release", "feedback")


def play(
    knobs: Mapping[str, Tensor],
    frequency: Tensor,
    level: Tensor,
    decay: Tensor,
    sustain: Tensor,
    modulation: Tensor,
    carrier: Tensor,
    voices: Voices,
) -> Tensor:
    """FM voices.

        y(t) = sum over i of carrier_i o_i(t)
        o_i(t) = level_i adsr_i(t) sin(2 pi frequency_i t + sum over j of m_ji o_j(t))

    Args:
        knobs: `ROWS`, (voices,) each. since [s] from the onset to the first sample; duration, attack and release [s];
            feedback b [radians], below 1, of operator 4 to itself, times its envelope.
        frequency: [Hz] of the operators, (voices, 4). level: (voices, 4).
        decay: [s], and sustain: of their envelopes, (voices, 4).
        modulation: [radians], (voices, 6), for each of `PAIRS`.
        carrier: how much of each is heard, (voices, 4); of the result's type.

    Returns:
        (voices, span); 0 after a voice's count on a CPU. Differentiable in all of these.
    """
    if carrier.device.type != "cpu":
        return play_reference(knobs, frequency, level, decay, sustain, modulation, carrier, voices)
    rows = [knobs[name].double()[:, None] for name in ROWS]
    rest = (value.double() for value in (frequency, level, decay, sustain, modulation / (2.0 * math.pi), carrier))
    table = torch.cat([*rows, *rest], dim=1)
    shape = voices.count, 1.0 / voices.sample_rate, voices.span, carrier.dtype
    audio: Tensor = _Play.apply(table, *shape)  # type: ignore[no-untyped-call]
    return audio


def play_reference(
    knobs: Mapping[str, Tensor],
    frequency: Tensor,
    level: Tensor,
    decay: Tensor,
    sustain: Tensor,
    modulation: Tensor,
    carrier: Tensor,
    voices: Voices,
) -> Tensor:
    """`play` as tensor operations, on any device."""
    rate, span, dtype = voices.sample_rate, voices.span, carrier.dtype
    time = knobs["since"].double()[:, None] + torch.arange(span, dtype=torch.float64, device=carrier.device) / rate
    attack, release = knobs["attack"].to(dtype), knobs["release"].to(dtype)
    sounding: dict[int, Tensor] = {}
    audio = torch.zeros_like(time, dtype=dtype)
    for number in range(OPERATORS, 0, -1):
        index = number - 1
        fall, rest = decay[:, index].to(dtype), sustain[:, index].to(dtype)
        envelope = adsr(knobs["since"], knobs["duration"], attack, fall, rest, release, rate, span)
        turns = frequency.double()[:, index, None] * time
        phase = (2.0 * math.pi * (turns - turns.detach().round())).to(dtype)
        for pair, (modulator, modulated) in enumerate(PAIRS):
            if modulated == number:
                phase = phase + modulation[:, pair, None].to(dtype) * sounding[modulator]
        if number == OPERATORS:
            phase = kepler(phase, knobs["feedback"].to(dtype)[:, None] * envelope)
        sounding[number] = level[:, index, None].to(dtype) * envelope * torch.sin(phase)
        audio = audio + carrier[:, index, None] * sounding[number]
    return audio


def kepler(phase: Tensor, feedback: Tensor) -> Tensor:
    """u of u = phase + feedback sin u, feedback from 0 to below 1; phase within half a turn. Differentiable in both."""
    with torch.no_grad():
        u = phase + 0.85 * feedback * torch.sign(phase)  # (J. M. A. Danby, Fundamentals of Celestial Mechanics)
        for _ in range(HALLEY):
            bent, slope = feedback * torch.sin(u), 1.0 - feedback * torch.cos(u)
            off = u - bent - phase
            u = u - off / (slope - 0.5 * off * bent / slope)
        slope = 1.0 - feedback * torch.cos(u)
    return u - (u - feedback * torch.sin(u) - phase) / slope


class _Play(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, count: Tensor, step: float, span: int, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(table, count)
        ctx.step = step
        audio = torch.zeros(len(table), span, dtype=dtype)
        over_rows(_compiled().forward, len(table), _array(table), _array(count), step, audio.numpy())
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        table, count = ctx.saved_tensors
        gradient = torch.zeros_like(table)
        arrays = (_array(table), _array(count), ctx.step, _array(upstream), gradient.numpy())
        over_rows(_compiled().backward, len(table), *arrays)
        return gradient, None, None, None, None


def _compiled() -> Any:
    from hitchain.blocks.dsp import fm_voice_kernels  # slow to load, hence not before it is needed

    return fm_voice_kernels


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
