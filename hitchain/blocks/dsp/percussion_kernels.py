"""A struck sound in one pass and its adjoint in another, compiled. Imported only when first used.

A hit is worked through in blocks that stay in the first-level cache, and each of its parts no further than it sounds.
Nothing is kept for the backward pass: every block is computed again. Scratch arrays are made one by one: the rows that
unpacking a matrix gives count as strided, and loops over them are not vectorised.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import njit

from hitchain.blocks.dsp.envelope_kernels import powers
from hitchain.blocks.dsp.oscillator_kernels import BLOCK, FAST, sine_quarter

SIXTY = math.log(1000.0)
FLOOR = 10.0**-4.5
SCALE = 1.0 / (1.0 - FLOOR)
"""A decay is (exp(-SIXTY t / seconds) - FLOOR) * SCALE, and 0 from where that is negative: see `percussion.decay`."""


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _decay_block(count, start, falls, level):
    """The decay from where its exponential is `start`."""
    kind = level.dtype.type
    zero, first, drop = kind(0.0), kind(start * SCALE), kind(FLOOR * SCALE)
    for i in range(count):
        level[i] = max(first * falls[i] - drop, zero)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _decay_block_backward(count, start, time, step, seconds, falls, level, upstream):
    """The block's part of the gradients of the time and of the seconds of a decay."""
    kind = level.dtype.type
    zero = kind(0.0)
    plain, late = zero, zero
    for i in range(count):
        sloping = upstream[i] * falls[i] if level[i] > zero else zero
        plain += sloping
        late += sloping * kind(i)
    rate = SIXTY / seconds * SCALE * start
    return -rate * plain, rate / seconds * (time * plain + step * late)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _warped_block(count, time, step, depth, sweep_time, bends, bent, warped):
    """bent = exp(-t / sweep_time) and warped = t + depth sweep_time (1 - bent): a skin's turns for each Hz of pitch."""
    start = math.exp(-time / sweep_time)
    for i in range(count):
        bent[i] = start * bends[i]
        warped[i] = time + i * step + depth * sweep_time * (1.0 - bent[i])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _turns_block(count, pitch, warped, place):
    """The turns less the nearest whole number."""
    for i in range(count):
        turns = pitch * warped[i]
        place[i] = turns - np.floor(turns + 0.5)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sine_block(count, place, sine):
    half = place.dtype.type(0.5)
    for i in range(count):
        size = abs(place[i])
        height = sine_quarter(min(size, half - size))
        sine[i] = height if place[i] >= 0 else -height


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _skin_block(count, pitch, weight, warped, place, sine, sound):
    """The modes of a skin, added up. Leaves each one's turns and sines in `place` and `sine`, (modes, BLOCK)."""
    sound[:count] = 0
    for mode in range(len(pitch)):
        _turns_block(count, pitch[mode], warped, place[mode])
        _sine_block(count, place[mode], sine[mode])
        loudness, wave = sound.dtype.type(weight[mode]), sine[mode]
        for i in range(count):
            sound[i] += loudness * wave[i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _mixed_block(count, tables, used, weights, position, sound):
    """Bands in the given weights, read in a circle."""
    sound[:count] = 0
    period = tables.shape[1]
    position %= period
    run = min(count, period - position)
    for row in range(len(used)):
        if used[row]:
            weight, here, again = weights[row], tables[row, position : position + run], tables[row, : count - run]
            for i in range(run):
                sound[i] += weight * here[i]
            for i in range(count - run):
                sound[run + i] += weight * again[i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _mixed_block_backward(count, tables, used, position, upstream, d_weights):
    period = tables.shape[1]
    position %= period
    run = min(count, period - position)
    for row in range(len(used)):
        if used[row]:
            here, again = tables[row, position : position + run], tables[row, : count - run]
            total = d_weights.dtype.type(0.0)
            for i in range(run):
                total += upstream[i] * here[i]
            for i in range(count - run):
                total += upstream[run + i] * again[i]
            d_weights[row] += total


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _rise(count, time, step, attack, curve, slope):
    """3x^2 - 2x^3 of x = t / attack within 0 to 1, and its derivative with respect to t."""
    for i in range(count):
        x = min(max((time + i * step) / attack, 0.0), 1.0)
        curve[i] = x * x * (3.0 - 2.0 * x)
        slope[i] = 6.0 * x * (1.0 - x) / attack


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def forward(
    first, last, since, pitch, mode_weights, depth, skin_seconds, weights, seconds, positions, used, tables, counts,
    sweep_time, attack, step, audio,
):  # fmt: skip
    """See `percussion.strike`. After a voice's count there is silence."""
    kind = audio.dtype
    layers = used.shape[0]
    falls, skin_falls = np.empty((layers, BLOCK), kind), np.empty(BLOCK, kind)
    bends, bent, warped = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    part, level, curve, slope = (
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
    )
    place, sine = np.empty((pitch.shape[1], BLOCK), kind), np.empty((pitch.shape[1], BLOCK), kind)
    powers(-step / sweep_time, bends)
    for v in range(first, last):
        powers(-SIXTY * step / skin_seconds[v], skin_falls)
        for layer in range(layers):
            powers(-SIXTY * step / seconds[v, layer], falls[layer])
        audio[v, counts[v] :] = 0
        for begin in range(0, counts[v], BLOCK):
            count, time = min(BLOCK, counts[v] - begin), since[v] + begin * step
            sound = audio[v, begin : begin + count]
            sound[:] = 0
            start = math.exp(-SIXTY * time / skin_seconds[v])
            if pitch.shape[1] > 0 and start > FLOOR:
                _decay_block(count, start, skin_falls, level)
                _warped_block(count, time, step, depth[v], sweep_time, bends, bent, warped)
                _skin_block(count, pitch[v], mode_weights[v], warped, place, sine, part)
                for i in range(count):
                    sound[i] += level[i] * part[i]
            for layer in range(layers):
                start = math.exp(-SIXTY * time / seconds[v, layer])
                if start > FLOOR:
                    _decay_block(count, start, falls[layer], level)
                    _mixed_block(count, tables, used[layer], weights[v, layer], positions[v, layer] + begin, part)
                    for i in range(count):
                        sound[i] += level[i] * part[i]
            if time < attack:
                _rise(count, time, step, attack, curve, slope)
                for i in range(count):
                    sound[i] *= curve[i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def backward(
    first, last, since, pitch, mode_weights, depth, skin_seconds, weights, seconds, positions, used, tables, counts,
    sweep_time, attack, step, upstream,
    d_since, d_pitch, d_mode_weights, d_depth, d_skin_seconds, d_weights, d_seconds,
):  # fmt: skip
    """The adjoint of `forward`. The gradients must come in as zeros."""
    kind = upstream.dtype
    layers, modes = used.shape[0], pitch.shape[1]
    falls, skin_falls = np.empty((layers, BLOCK), kind), np.empty(BLOCK, kind)
    bends, bent, warped = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    part, level, curve, slope = (
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
        np.empty(BLOCK, kind),
    )
    total, up, pull = np.empty(BLOCK, kind), np.empty(BLOCK, kind), np.empty(BLOCK, kind)
    place, sine = np.empty((modes, BLOCK), kind), np.empty((modes, BLOCK), kind)
    powers(-step / sweep_time, bends)
    for v in range(first, last):
        powers(-SIXTY * step / skin_seconds[v], skin_falls)
        for layer in range(layers):
            powers(-SIXTY * step / seconds[v, layer], falls[layer])
        for begin in range(0, counts[v], BLOCK):
            count, time = min(BLOCK, counts[v] - begin), since[v] + begin * step
            up[:count] = upstream[v, begin : begin + count]
            rising = time < attack
            if rising:
                _rise(count, time, step, attack, curve, slope)
                total[:count] = 0
                for i in range(count):
                    up[i] *= curve[i]
            start = math.exp(-SIXTY * time / skin_seconds[v])
            if modes > 0 and start > FLOOR:
                _decay_block(count, start, skin_falls, level)
                _warped_block(count, time, step, depth[v], sweep_time, bends, bent, warped)
                _skin_block(count, pitch[v], mode_weights[v], warped, place, sine, part)
                if rising:
                    for i in range(count):
                        total[i] += level[i] * part[i]
                for i in range(count):
                    part[i] *= up[i]
                to_time, to_seconds = _decay_block_backward(
                    count, start, time, step, skin_seconds[v], skin_falls, level, part
                )
                d_skin_seconds[v] += to_seconds
                d_since[v] += to_time
                for i in range(count):
                    pull[i] = up[i] * level[i]
                for mode in range(modes):
                    to_time, to_depth = _mode_backward(
                        count, pitch[v], mode_weights[v], mode, depth[v], sweep_time, bent, warped, pull, place[mode],
                        sine[mode], d_pitch[v], d_mode_weights[v],
                    )  # fmt: skip
                    d_since[v] += to_time
                    d_depth[v] += to_depth
            for layer in range(layers):
                start = math.exp(-SIXTY * time / seconds[v, layer])
                if start > FLOOR:
                    position = positions[v, layer] + begin
                    _decay_block(count, start, falls[layer], level)
                    _mixed_block(count, tables, used[layer], weights[v, layer], position, part)
                    if rising:
                        for i in range(count):
                            total[i] += level[i] * part[i]
                    for i in range(count):
                        part[i] *= up[i]
                        pull[i] = up[i] * level[i]
                    to_time, to_seconds = _decay_block_backward(
                        count, start, time, step, seconds[v, layer], falls[layer], level, part
                    )
                    d_seconds[v, layer] += to_seconds
                    d_since[v] += to_time
                    _mixed_block_backward(count, tables, used[layer], position, pull, d_weights[v, layer])
            if rising:
                for i in range(count):
                    d_since[v] += upstream[v, begin + i] * total[i] * slope[i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _mode_backward(
    count, pitch, weight, mode, depth, sweep_time, bent, warped, pull, place, sine, d_pitch, d_weight
):  # fmt: skip
    """Back through one mode of a skin: adds to its own gradients; returns those of the time and of the depth."""
    kind = place.dtype.type
    quarter, heard = kind(0.25), kind(0.0)
    for i in range(count):
        heard += pull[i] * sine[i]
    d_weight[mode] += heard
    turned, weighted, bending = 0.0, 0.0, 0.0
    for i in range(count):
        slope = float(pull[i] * sine_quarter(quarter - abs(place[i])))
        turned += slope
        weighted += slope * warped[i]
        bending += slope * bent[i]
    scale = 2.0 * math.pi * weight[mode]
    d_pitch[mode] += scale * weighted
    return scale * pitch[mode] * (turned + depth * bending), scale * pitch[mode] * sweep_time * (turned - bending)
