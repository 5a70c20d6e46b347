"""A whole subtractive voice in one pass and its adjoint in another, compiled. Imported only when first used.

A block of samples goes from phase to amplifier in the first-level cache; nothing as long as the note is kept but the
filter's states at the start of each block. The backward pass computes each block again from there.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import float32, njit, types
from numba.extending import overload

from hitchain.blocks.dsp import envelope_kernels as envelope
from hitchain.blocks.dsp import oscillator_kernels as oscillator
from hitchain.blocks.dsp import state_variable_kernels as svf
from hitchain.blocks.dsp.oscillator_kernels import BLOCK, FAST, sine_quarter

LOW_PASS = (0.0, 0.0, 0.0, 1.0)
BUTTERWORTH = math.sqrt(2.0)

# rows of `knobs`, see `subtractive_voice.ROWS`
SINCE, DURATION, FREQUENCY, DEPTH, RATE, ONSET_RATE, RATIO, HISS, CLOSED, OPENED, DAMPING = range(11)
FILTER, AMPLIFIER = 11, 15
"""First of the four rows attack, decay, sustain, release."""
LOW_RATIO = 0.5


def _exp2_block(count, x, bits):
    """x <- 2^x."""
    x[:count] = np.exp2(x[:count])


@overload(_exp2_block)
def _overload_exp2_block(count, x, bits):
    """In single precision Taylor's degree 7 for the fraction (5e-9); the whole part goes into the exponent's bits."""
    if x.dtype == types.float32:
        c = [float32(math.log(2.0) ** n / math.factorial(n)) for n in range(8)]
        c0, c1, c2, c3, c4, c5, c6, c7 = c
        half, bias, unit = float32(0.5), float32(127.0), float32(1 << 23)

        def single(count, x, bits):
            for i in range(count):
                whole = np.floor(x[i] + half)
                f = x[i] - whole
                bits[i] = np.int32((whole + bias) * unit)
                x[i] = c0 + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * (c6 + f * c7))))))
            power = bits.view(np.float32)
            for i in range(count):
                x[i] *= power[i]

        return single

    def double(count, x, bits):
        for i in range(count):
            x[i] = 2.0 ** x[i]

    return double


@njit(cache=True, nogil=True, error_model="numpy")
def _shape(knob, first):
    """What `envelope_kernels` calls the shape: duration, attack, decay, sustain, release."""
    return knob[DURATION], knob[first], knob[first + 1], knob[first + 2], knob[first + 3]


@njit(cache=True, nogil=True, error_model="numpy")
def _edges(knob, first, step, count):
    return envelope.sections(knob[SINCE], knob[DURATION], knob[first], knob[first + 3], step, count)


@njit(cache=True, nogil=True, error_model="numpy")
def _prepare(knob, step, turn, curves):
    """The powers that a voice's envelopes and vibrato need within a block."""
    oscillator.turning(knob[RATE], knob[ONSET_RATE], step, turn)
    for which, first in enumerate((FILTER, AMPLIFIER)):
        envelope.powers(-envelope.CURVE * step / knob[first + 1], curves[2 * which])
        envelope.powers(-envelope.CURVE * step / knob[first + 3], curves[2 * which + 1])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _source(begin, count, knob, step, turn, low, high, phase, index, w, corners, hiss, sound):
    """Both oscillators and the noise, which `hiss` already holds, into `sound`."""
    motion = (knob[FREQUENCY], knob[DEPTH], knob[RATE], knob[ONSET_RATE])
    oscillator.vibrato_block(begin, count, knob[SINCE], motion, step, turn, phase)
    loudness = sound.dtype.type(knob[HISS])
    for i in range(count):
        sound[i] = loudness * hiss[i]
    oscillator.lookup_block(count, low, phase, LOW_RATIO, index[0], w[0], corners[0], sound)
    oscillator.lookup_block(count, high, phase, knob[RATIO], index[1], w[1], corners[1], sound)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _warp(count, knob, step, level, bits, angle, g):
    """From the filter's envelope: the cutoff's angle in turns / 2, and g = tan(2 pi angle)."""
    kind = g.dtype.type
    closed, way, scale, quarter = (
        kind(knob[CLOSED]),
        kind(knob[OPENED] - knob[CLOSED]),
        kind(0.5 * step),
        kind(0.25),
    )
    for i in range(count):
        angle[i] = closed + way * level[i]
    _exp2_block(count, angle, bits)
    for i in range(count):
        angle[i] *= scale
        g[i] = sine_quarter(angle[i]) / sine_quarter(quarter - angle[i])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def forward(first, last, knobs, low, high, white, position, counts, poles, step, kept, audio):
    """See `subtractive_voice.play`. Keeps the filter's states before each block in `kept` (voices, blocks, poles)."""
    kind = audio.dtype
    turn, phase, work, states = np.empty((3, BLOCK)), np.empty(BLOCK), np.empty((5, BLOCK)), np.empty((2, BLOCK))
    curves, corners, w = np.empty((4, BLOCK), kind), np.empty((2, 4, BLOCK), kind), np.empty((2, BLOCK), kind)
    sound, level, hiss, angle = (
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
    )
    g = np.empty(BLOCK, kind)
    index, bits, state = np.empty((2, BLOCK), np.int32), np.empty(BLOCK, np.int32), np.zeros(4)
    for v in range(first, last):
        knob = knobs[v]
        _prepare(knob, step, turn, curves)
        filter_edges, amplifier_edges = _edges(knob, FILTER, step, counts[v]), _edges(knob, AMPLIFIER, step, counts[v])
        state[:] = 0.0
        for begin in range(0, counts[v], BLOCK):
            count = min(BLOCK, counts[v] - begin)
            kept[v, begin // BLOCK] = state[:poles]
            oscillator.noise_block(white, position[v] + begin, count, hiss)
            _source(begin, count, knob, step, turn, low[v], high[v], phase, index, w, corners, hiss, sound)
            envelope.adsr_block(
                begin, count, knob[SINCE], _shape(knob, FILTER), filter_edges, step, curves[0], curves[1], level
            )
            _warp(count, knob, step, level, bits, angle, g)
            svf.states_block(count, sound, g, knob[DAMPING], state[:2], work, states[0], states[1])
            svf.output_block(count, sound, g, knob[DAMPING], LOW_PASS, states[0], states[1], sound)
            if poles == 4:
                svf.states_block(count, sound, g, BUTTERWORTH, state[2:], work, states[0], states[1])
                svf.output_block(count, sound, g, BUTTERWORTH, LOW_PASS, states[0], states[1], sound)
            envelope.adsr_block(
                begin, count, knob[SINCE], _shape(knob, AMPLIFIER), amplifier_edges, step, curves[2], curves[3], level
            )
            for i in range(count):
                audio[v, begin + i] = sound[i] * level[i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def backward(
    first, last, knobs, low, high, white, position, counts, poles, step, kept, upstream, d_knobs, d_low, d_high
):
    """The adjoint of `forward`. The tables' gradients must come in as zeros."""
    kind = upstream.dtype
    turn, phase, work, states = np.empty((3, BLOCK)), np.empty(BLOCK), np.empty((2, 5, BLOCK)), np.empty((4, BLOCK))
    curves, corners, w = np.empty((4, BLOCK), kind), np.empty((2, 4, BLOCK), kind), np.empty((2, BLOCK), kind)
    sound, middle, output, opening = (
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
    )
    level, hiss, angle, g = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    d_sound, d_g, d_level = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    index, bits, d_phase = np.empty((2, BLOCK), np.int32), np.empty(BLOCK, np.int32), np.empty(BLOCK)
    state, adjoint, motion_sums = np.zeros(4), np.empty(4), np.empty(5)
    opening_sums, level_sums = np.empty(8), np.empty(8)
    for v in range(first, last):
        knob, d = knobs[v], d_knobs[v]
        _prepare(knob, step, turn, curves)
        filter_edges, amplifier_edges = _edges(knob, FILTER, step, counts[v]), _edges(knob, AMPLIFIER, step, counts[v])
        d[:], adjoint[:], motion_sums[:], opening_sums[:], level_sums[:] = 0.0, 0.0, 0.0, 0.0, 0.0
        motion = (knob[FREQUENCY], knob[DEPTH], knob[RATE], knob[ONSET_RATE])
        damping, span = knob[DAMPING], kind.type(knob[OPENED] - knob[CLOSED])
        for block in range((counts[v] + BLOCK - 1) // BLOCK - 1, -1, -1):
            begin = block * BLOCK
            count = min(BLOCK, counts[v] - begin)
            oscillator.noise_block(white, position[v] + begin, count, hiss)
            _source(begin, count, knob, step, turn, low[v], high[v], phase, index, w, corners, hiss, sound)
            envelope.adsr_block(
                begin, count, knob[SINCE], _shape(knob, FILTER), filter_edges, step, curves[0], curves[1], opening
            )
            _warp(count, knob, step, opening, bits, angle, g)
            state[:poles] = kept[v, block]
            svf.states_block(count, sound, g, damping, state[:2], work[0], states[0], states[1])
            svf.output_block(count, sound, g, damping, LOW_PASS, states[0], states[1], middle)
            if poles == 4:
                svf.states_block(count, middle, g, BUTTERWORTH, state[2:], work[1], states[2], states[3])
                svf.output_block(count, middle, g, BUTTERWORTH, LOW_PASS, states[2], states[3], output)
            else:
                output[:count] = middle[:count]
            envelope.adsr_block(
                begin, count, knob[SINCE], _shape(knob, AMPLIFIER), amplifier_edges, step, curves[2], curves[3], level
            )

            for i in range(count):
                up = upstream[v, begin + i]
                d_level[i] = up * output[i]
                d_sound[i] = up * level[i]
            envelope.adsr_block_backward(
                begin,
                count,
                knob[SINCE],
                _shape(knob, AMPLIFIER),
                amplifier_edges,
                step,
                curves[2],
                curves[3],
                d_level,
                level_sums,
            )
            d_level[:count] = 0  # from here on the gradient of g by the second stage
            if poles == 4:
                svf.backward_block(
                    count,
                    middle,
                    g,
                    BUTTERWORTH,
                    LOW_PASS,
                    states[2],
                    states[3],
                    d_sound,
                    adjoint[2:],
                    work[1],
                    d_sound,
                    d_level,
                )
            d[DAMPING] += svf.backward_block(
                count, sound, g, damping, LOW_PASS, states[0], states[1], d_sound, adjoint[:2], work[0], d_sound, d_g
            )
            turned = kind.type(2.0 * math.pi * math.log(2.0))
            closed, opened = kind.type(0.0), kind.type(0.0)
            for i in range(count):
                d_octaves = (d_g[i] + d_level[i]) * (1 + g[i] * g[i]) * angle[i] * turned
                closed += d_octaves
                opened += d_octaves * opening[i]
                d_level[i] = d_octaves * span
            d[CLOSED] += closed - opened
            d[OPENED] += opened
            envelope.adsr_block_backward(
                begin,
                count,
                knob[SINCE],
                _shape(knob, FILTER),
                filter_edges,
                step,
                curves[0],
                curves[1],
                d_level,
                opening_sums,
            )
            hissed = kind.type(0.0)
            for i in range(count):
                hissed += d_sound[i] * hiss[i]
                d_phase[i] = 0.0
            d[HISS] += hissed
            oscillator.lookup_block_backward(
                count, phase, LOW_RATIO, index[0], w[0], corners[0], d_sound, d_low[v], d_phase
            )
            d[RATIO] += oscillator.lookup_block_backward(
                count, phase, knob[RATIO], index[1], w[1], corners[1], d_sound, d_high[v], d_phase
            )
            oscillator.vibrato_block_backward(begin, count, knob[SINCE], motion, step, turn, d_phase, motion_sums)
        _gather(knob, motion, motion_sums, opening_sums, level_sums, d)


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(knob, motion, motion_sums, opening_sums, level_sums, d):
    """The sums over time -> the gradients of the voice's knobs."""
    swing = oscillator.vibrato_gradients(motion, motion_sums)
    d[SINCE] = swing[0]
    for i in range(4):
        d[FREQUENCY + i] = swing[1 + i]
    for first, sums in ((FILTER, opening_sums), (AMPLIFIER, level_sums)):
        shaped = envelope.adsr_gradients(_shape(knob, first), sums)
        d[SINCE] += shaped[0]
        d[DURATION] += shaped[1]
        for i in range(4):
            d[first + i] = shaped[2 + i]
