"""A whole FM voice in one pass and its adjoint in another, compiled. Imported only when first used.

Nothing is kept for the backward pass: it computes a block of samples again before it takes their gradients.
Phases are counted in turns.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hitchain.blocks.dsp import envelope_kernels as envelope
from hitchain.blocks.dsp.oscillator_kernels import sine_quarter

FAST = {"reassoc", "contract", "nsz"}
BLOCK = envelope.BLOCK
HALLEY = 5

# columns of the table, see `fm_voice.play`
SINCE, DURATION, ATTACK, RELEASE, FEEDBACK = range(5)
FREQUENCY, LEVEL, DECAY, SUSTAIN, MODULATION, CARRIER = 5, 9, 13, 17, 21, 27


@njit(cache=True, nogil=True, error_model="numpy")
def _shape(knob, i):
    return knob[DURATION], knob[ATTACK], knob[DECAY + i], knob[SUSTAIN + i], knob[RELEASE]


@njit(cache=True, nogil=True, error_model="numpy")
def _prepare(knob, step, count, curves):
    """The powers of each operator's decay and of the release, and the edges of their envelopes."""
    for i in range(4):
        envelope.powers(-envelope.CURVE * step / knob[DECAY + i], curves[i])
    envelope.powers(-envelope.CURVE * step / knob[RELEASE], curves[4])
    return envelope.sections(knob[SINCE], knob[DURATION], knob[ATTACK], knob[RELEASE], step, count)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _turns(begin, count, since, frequency, step, phase):
    start = frequency * (since + begin * step)
    pace = frequency * step
    for i in range(count):
        turns = start + pace * i
        phase[i] = turns - np.floor(turns + 0.5)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _swing(count, phase, sine, cosine):
    """sin and cos of 2 pi phase."""
    kind = phase.dtype.type
    half, quarter = kind(0.5), kind(0.25)
    for i in range(count):
        x = phase[i] - np.floor(phase[i] + half)
        size = abs(x)
        height = sine_quarter(min(size, half - size))
        sine[i] = height if x >= 0 else -height
        cosine[i] = sine_quarter(quarter - size)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _kepler(count, feedback, level, phase, strength):
    """phase <- u of u = phase + b sin(u), b = feedback * level, see `fm_voice.kepler`. Leaves b in `strength`."""
    kind = phase.dtype.type
    half, quarter, one, turn = kind(0.5), kind(0.25), kind(1.0), kind(2.0 * math.pi)
    for i in range(count):
        b = feedback * level[i]
        strength[i] = b
        x = phase[i]
        u = x + kind(0.85 / (2.0 * math.pi)) * (b if x >= 0 else -b)
        for _ in range(HALLEY):
            w = u - np.floor(u + half)
            size = abs(w)
            height = sine_quarter(min(size, half - size))
            bent = b * (height if w >= 0 else -height)
            slope = one - b * sine_quarter(quarter - size)
            off = turn * (u - x) - bent
            u -= off / (turn * (slope - half * off * bent / slope))
        phase[i] = u


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _modulate(count, amount, operator, phase):
    for i in range(count):
        phase[i] += amount * operator[i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sound(count, level, shape, sine, operator):
    for i in range(count):
        operator[i] = level * shape[i] * sine[i]


@njit(cache=True, nogil=True)
def _block(begin, count, knob, step, edges, curves, shape, phase, sine, cosine, operator, strength):
    """A block of every operator, from the fourth to the first."""
    kind = phase.dtype.type
    for i in range(3, -1, -1):
        envelope.adsr_block(begin, count, knob[SINCE], _shape(knob, i), edges, step, curves[i], curves[4], shape[i])
        _turns(begin, count, knob[SINCE], knob[FREQUENCY + i], step, phase[i])
        if i == 3:
            _kepler(count, kind(knob[FEEDBACK]), shape[3], phase[3], strength)
        for j in range(i + 1, 4):
            amount = knob[MODULATION + _pair(j, i)]
            if amount != 0.0:
                _modulate(count, kind(amount), operator[j], phase[i])
        _swing(count, phase[i], sine[i], cosine[i])
        _sound(count, kind(knob[LEVEL + i]), shape[i], sine[i], operator[i])


@njit(cache=True, nogil=True)
def _pair(j, i):
    """The column of modulator j to operator i, both from 0, in `fm_voice.PAIRS`."""
    return j - 1 if i == 0 else (j + 1 if i == 1 else 5)


@njit(cache=True, nogil=True)
def forward(first, last, table, counts, step, audio):
    """See `fm_voice.play`. The audio must come in as zeros."""
    kind = audio.dtype
    curves, shape, phase = np.empty((5, BLOCK), kind), np.empty((4, BLOCK), kind), np.empty((4, BLOCK), kind)
    sine, cosine, operator = np.empty((4, BLOCK), kind), np.empty((4, BLOCK), kind), np.empty((4, BLOCK), kind)
    strength = np.empty(BLOCK, kind)
    for v in range(first, last):
        knob, count = table[v], counts[v]
        edges = _prepare(knob, step, count, curves)
        for begin in range(0, count, BLOCK):
            size = min(BLOCK, count - begin)
            _block(begin, size, knob, step, edges, curves, shape, phase, sine, cosine, operator, strength)
            for i in range(4):
                _modulate(size, kind.type(knob[CARRIER + i]), operator[i], audio[v, begin : begin + size])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _dot(count, one, other):
    total = one.dtype.type(0.0)
    for i in range(count):
        total += one[i] * other[i]
    return total


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _unsound(count, level, shape, sine, cosine, pull, d_shape, d_phase):
    """The adjoint of `_sound` and `_swing`; returns the gradient of the level."""
    total = pull.dtype.type(0.0)
    turn = pull.dtype.type(2.0 * math.pi)
    for i in range(count):
        total += pull[i] * shape[i] * sine[i]
        d_shape[i] = pull[i] * level * sine[i]
        d_phase[i] = pull[i] * level * shape[i] * cosine[i] * turn
    return total


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _unkepler(count, feedback, strength, shape, sine, cosine, d_shape, d_phase):
    """The adjoint of `_kepler`: du = (dx + sin u db) / (1 - b cos u); returns the gradient of the feedback."""
    kind = d_phase.dtype.type
    total, one, over_turn = kind(0.0), kind(1.0), kind(0.5 / math.pi)
    for i in range(count):
        d = d_phase[i] / (one - strength[i] * cosine[i])
        d_phase[i] = d
        to_strength = d * sine[i] * over_turn
        total += to_strength * shape[i]
        d_shape[i] += to_strength * feedback
    return total


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _unturn(count, d_phase):
    """The sums of a phase's gradient, and of that times the place in the block."""
    total, late = d_phase.dtype.type(0.0), d_phase.dtype.type(0.0)
    for i in range(count):
        total += d_phase[i]
        late += d_phase[i] * np.float32(i)
    return total, late


@njit(cache=True, nogil=True)
def backward(first, last, table, counts, step, upstream, gradient):
    """The adjoint of `forward`: adds to the table's gradient."""
    kind = upstream.dtype
    curves, shape, phase = np.empty((5, BLOCK), kind), np.empty((4, BLOCK), kind), np.empty((4, BLOCK), kind)
    sine, cosine, operator = np.empty((4, BLOCK), kind), np.empty((4, BLOCK), kind), np.empty((4, BLOCK), kind)
    strength, pull = np.empty(BLOCK, kind), np.empty((4, BLOCK), kind)
    d_shape, d_phase, sums = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty((4, 8))
    for v in range(first, last):
        knob, d, count = table[v], gradient[v], counts[v]
        edges = _prepare(knob, step, count, curves)
        sums[:] = 0.0
        for begin in range(0, count, BLOCK):
            size = min(BLOCK, count - begin)
            _block(begin, size, knob, step, edges, curves, shape, phase, sine, cosine, operator, strength)
            above = upstream[v, begin : begin + size]
            pull[:] = 0
            for i in range(4):
                d[CARRIER + i] += _dot(size, above, operator[i])
                _modulate(size, kind.type(knob[CARRIER + i]), above, pull[i])
                level = kind.type(knob[LEVEL + i])
                d[LEVEL + i] += _unsound(size, level, shape[i], sine[i], cosine[i], pull[i], d_shape, d_phase)
                for j in range(i + 1, 4):
                    pair = MODULATION + _pair(j, i)
                    d[pair] += _dot(size, d_phase, operator[j])
                    _modulate(size, kind.type(knob[pair]), d_phase, pull[j])
                if i == 3:
                    d[FEEDBACK] += _unkepler(
                        size, kind.type(knob[FEEDBACK]), strength, shape[3], sine[3], cosine[3], d_shape, d_phase
                    )
                total, late = _unturn(size, d_phase)
                time = knob[SINCE] + begin * step
                d[FREQUENCY + i] += total * time + late * step
                d[SINCE] += total * knob[FREQUENCY + i]
                envelope.adsr_block_backward(
                    begin, size, knob[SINCE], _shape(knob, i), edges, step, curves[i], curves[4], d_shape, sums[i]
                )
        for i in range(4):
            since, duration, attack, decay, sustain, release = envelope.adsr_gradients(_shape(knob, i), sums[i])
            d[SINCE] += since
            d[DURATION] += duration
            d[ATTACK] += attack
            d[DECAY + i] += decay
            d[SUSTAIN + i] += sustain
            d[RELEASE] += release
