"""A whole additive voice in one pass and its adjoint in another, compiled. Imported only when first used.

Kept for the backward pass is the sound before the envelope; phases, envelopes, sines and noise are computed again.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import numpy as np
from numba import njit

from hitchain.blocks.dsp import envelope_kernels as envelope
from hitchain.blocks.dsp import oscillator_kernels as oscillator
from hitchain.blocks.dsp.oscillator_kernels import BLOCK, FAST

# rows of `knobs`, see `additive_voice.ROWS`
SINCE, FREQUENCY, DEPTH, RATE, ONSET_RATE, HISS, DURATION, ATTACK, DECAY, SUSTAIN, RELEASE = range(11)


@njit(cache=True, nogil=True)
def _shape(knob):
    return knob[DURATION], knob[ATTACK], knob[DECAY], knob[SUSTAIN], knob[RELEASE]


@njit(cache=True, nogil=True)
def _prepare(knob, count, step, turn, curves, phase):
    """A voice's envelope sections, the powers it needs within a block, and its phase."""
    envelope.powers(-envelope.CURVE * step / knob[DECAY], curves[0])
    envelope.powers(-envelope.CURVE * step / knob[RELEASE], curves[1])
    motion = (knob[FREQUENCY], knob[DEPTH], knob[RATE], knob[ONSET_RATE])
    oscillator.turning(knob[RATE], knob[ONSET_RATE], step, turn)
    for begin in range(0, count, BLOCK):
        end = min(begin + BLOCK, count)
        oscillator.vibrato_block(begin, end - begin, knob[SINCE], motion, step, turn, phase[begin:end])
    edges = envelope.sections(knob[SINCE], knob[DURATION], knob[ATTACK], knob[RELEASE], step, count)
    return edges, motion


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _finish(count, loudness, hiss, level, sound, audio):
    """The noise to the partials, and the envelope to both."""
    for i in range(count):
        sound[i] += loudness * hiss[i]
        audio[i] = level[i] * sound[i]


@njit(cache=True, nogil=True)
def forward(first, last, knobs, ratio, amplitude, decay, tables, row, position, counts, top, hop, step, sound, audio):
    """See `additive_voice.play`. `sound` is what the envelope is applied to; it may be `audio`."""
    kind = audio.dtype
    turn, curves, phase = np.empty((3, BLOCK)), np.empty((2, BLOCK), kind), np.empty(audio.shape[1])
    level, hiss = np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    for v in range(first, last):
        knob, count = knobs[v], counts[v]
        edges, _ = _prepare(knob, count, step, turn, curves, phase)
        offset = knob[SINCE] / (step * hop)
        oscillator.bank_voice(phase[:count], ratio[v], amplitude[v], decay[v], offset, hop, top[v], sound[v, :count])
        for begin in range(0, count, BLOCK):
            end = min(begin + BLOCK, count)
            envelope.adsr_block(begin, end - begin, knob[SINCE], _shape(knob), edges, step, curves[0], curves[1], level)
            oscillator.noise_block(tables[row[v]], position[v] + begin, end - begin, hiss)
            loudness = kind.type(knob[HISS])
            _finish(end - begin, loudness, hiss, level, sound[v, begin:end], audio[v, begin:end])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _unfinish(count, loudness, hiss, level, sound, upstream, pull, d_hiss, d_level):
    """The adjoint of `_finish`; returns the gradient of the loudness."""
    total = level.dtype.type(0.0)
    for i in range(count):
        pull[i] = upstream[i] * level[i]
        d_level[i] = upstream[i] * sound[i]
        d_hiss[i] = pull[i] * loudness
        total += pull[i] * hiss[i]
    return total


@njit(cache=True, nogil=True)
def backward(
    first, last, knobs, ratio, amplitude, decay, tables, row, position, counts, top, hop, step, sound, upstream,
    d_knobs, d_ratio, d_amplitude, d_decay, d_hiss,
):  # fmt: skip
    """The adjoint of `forward`. The gradients must come in as zeros, but for that of the noise read, `d_hiss`."""
    kind, span = upstream.dtype, upstream.shape[1]
    turn, curves, phase = np.empty((3, BLOCK)), np.empty((2, BLOCK), kind), np.empty(span)
    level, hiss, d_level = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    pull, d_phase = np.empty(span, kind), np.empty(span, kind)
    level_sums, motion_sums = np.empty(8), np.empty(5)
    for v in range(first, last):
        knob, d, count = knobs[v], d_knobs[v], counts[v]
        edges, motion = _prepare(knob, count, step, turn, curves, phase)
        level_sums[:] = 0.0
        motion_sums[:] = 0.0
        for begin in range(0, count, BLOCK):
            end = min(begin + BLOCK, count)
            envelope.adsr_block(begin, end - begin, knob[SINCE], _shape(knob), edges, step, curves[0], curves[1], level)
            oscillator.noise_block(tables[row[v]], position[v] + begin, end - begin, hiss)
            d[HISS] += _unfinish(
                end - begin, kind.type(knob[HISS]), hiss, level, sound[v, begin:end], upstream[v, begin:end],
                pull[begin:end], d_hiss[v, begin:end], d_level,
            )  # fmt: skip
            envelope.adsr_block_backward(
                begin, end - begin, knob[SINCE], _shape(knob), edges, step, curves[0], curves[1], d_level, level_sums
            )
        shift = oscillator.bank_voice_backward(
            phase[:count], ratio[v], amplitude[v], decay[v], knob[SINCE] / (step * hop), hop, top[v], pull[:count],
            d_phase[:count], d_ratio[v], d_amplitude[v], d_decay[v],
        )  # fmt: skip
        for begin in range(0, count, BLOCK):
            end = min(begin + BLOCK, count)
            oscillator.vibrato_block_backward(
                begin, end - begin, knob[SINCE], motion, step, turn, d_phase[begin:end], motion_sums
            )
        swing = oscillator.vibrato_gradients(motion, motion_sums)
        shaped = envelope.adsr_gradients(_shape(knob), level_sums)
        d[SINCE] = swing[0] + shaped[0] + shift / (step * hop)
        for i in range(4):
            d[FREQUENCY + i] = swing[1 + i]
        for i in range(5):
            d[DURATION + i] = shaped[1 + i]
