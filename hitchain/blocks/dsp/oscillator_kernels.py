"""The inner loops of the oscillators, compiled. Imported only when first used, since numba is slow to load.

Each voice is worked through by one thread in a fixed order, so results do not depend on the number of threads.
Reassociation is allowed (sums in vector lanes, fused multiply-add): the compiler decides it once, so it repeats.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import float32, njit, prange, types
from numba.extending import overload

FAST = {"reassoc", "contract", "nsz"}
SILENT = 1e-25  # a partial that has decayed this far is left out: it is far below rounding, and subnormals are slow
RESTART = 64  # samples after which a rotation starts anew from its closed form, so that rounding does not grow


def _sine_quarter(x):
    """sin(2 pi x) for |x| <= 1/4."""
    return math.sin(2.0 * math.pi * x)


@overload(_sine_quarter, inline="always")
def _overload_sine_quarter(x):
    """Odd polynomials: degree 9, least maximum error (4e-9), in single precision; Taylor's degree 21 in double."""
    if x == types.float32:
        c1, c3, c5 = float32(6.28318516009), float32(-41.3416550313), float32(81.6010040634)
        c7, c9 = float32(-76.5497820433), float32(39.5367040056)

        def single(x):
            square = x * x
            return x * (c1 + square * (c3 + square * (c5 + square * (c7 + square * c9))))

        return single
    t = [(-1.0) ** n * (2.0 * math.pi) ** (2 * n + 1) / math.factorial(2 * n + 1) for n in range(11)]
    t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10 = t

    def double(x):
        s = x * x
        high = t5 + s * (t6 + s * (t7 + s * (t8 + s * (t9 + s * t10))))
        return x * (t0 + s * (t1 + s * (t2 + s * (t3 + s * (t4 + s * high)))))

    return double


@njit(cache=True, fastmath=FAST)
def _frame(phase, offset, hop, frame, weight, turned):
    """Prepare the samples of one frame: their place between the frame's ends, and their turns since its first sample.

    Returns (first sample, how many, turns at the first sample). Only this base is in double precision: within a frame
    single precision is good to 2e-6 turns.
    """
    first = max(0, int(np.ceil((frame - offset) * hop)))
    last = min(phase.shape[0], int(np.ceil((frame + 1 - offset) * hop)))
    if first >= last:
        return 0, 0, 0.0
    base = phase[first]
    for i in range(last - first):
        weight[i] = offset - frame + (first + i) / hop
        turned[i] = phase[first + i] - base
    return first, last - first, base


@njit(parallel=True, cache=True, fastmath=FAST)
def bank_forward(phase, ratio, amplitude, decay, offset, hop, top, audio):
    """audio[v, n] = sum over k of the partial's level at n * sin(2 pi ratio[v, k] * phase[v, n])."""
    half = amplitude.dtype.type(0.5)
    for v in prange(phase.shape[0]):
        weight, turned = np.empty(hop + 1, amplitude.dtype), np.empty(hop + 1, amplitude.dtype)
        total = np.empty(hop + 1, amplitude.dtype)
        frame = int(np.floor(offset[v]))
        level, fall = amplitude[v] * np.exp(-decay[v] * frame), np.exp(-decay[v])
        first, count = 0, 1
        while count > 0:
            first, count, base = _frame(phase[v], offset[v], hop, frame, weight, turned)
            total[:] = 0
            for k in range(top[v]):
                if abs(level[k]) < SILENT:
                    continue
                begin = ratio[v, k] * base
                start = amplitude.dtype.type(begin - np.floor(begin))
                r = amplitude.dtype.type(ratio[v, k])
                left = amplitude.dtype.type(level[k])
                rise = amplitude.dtype.type(level[k] * (fall[k] - 1.0))
                for i in range(count):
                    x = start + r * turned[i]
                    x -= np.floor(x + half)
                    size = abs(x)
                    sine = _sine_quarter(min(size, half - size))
                    total[i] += (sine if x >= 0 else -sine) * (left + rise * weight[i])
                level[k] *= fall[k]
            for i in range(count):
                audio[v, first + i] = total[i]
            frame += 1


@njit(parallel=True, cache=True, fastmath=FAST)
def bank_backward(
    phase, ratio, amplitude, decay, offset, hop, top, upstream, d_phase, d_ratio, d_amplitude, d_decay, d_offset
):
    """The adjoint of `bank_forward`. The gradients must come in as zeros."""
    zero, quarter, half = amplitude.dtype.type(0.0), amplitude.dtype.type(0.25), amplitude.dtype.type(0.5)
    for v in prange(phase.shape[0]):
        weight, turned = np.empty(hop + 1, amplitude.dtype), np.empty(hop + 1, amplitude.dtype)
        pull, push = np.empty(hop + 1, amplitude.dtype), np.empty(hop + 1, amplitude.dtype)
        frame = int(np.floor(offset[v]))
        swell, fall = np.exp(-decay[v] * frame), np.exp(-decay[v])
        shift = 0.0
        first, count = 0, 1
        while count > 0:
            first, count, base = _frame(phase[v], offset[v], hop, frame, weight, turned)
            for i in range(count):
                pull[i] = upstream[v, first + i]
                push[i] = 0
            for k in range(top[v]):
                if swell[k] < SILENT:
                    continue
                begin = ratio[v, k] * base
                start = amplitude.dtype.type(begin - np.floor(begin))
                r = amplitude.dtype.type(ratio[v, k])
                level = amplitude[v, k] * swell[k]
                left = amplitude.dtype.type(level)
                rise = amplitude.dtype.type(level * (fall[k] - 1.0))
                total, right, slopes, paced = zero, zero, zero, zero
                for i in range(count):
                    x = start + r * turned[i]
                    x -= np.floor(x + half)
                    size = abs(x)
                    sine = _sine_quarter(min(size, half - size))
                    swing = pull[i] * (sine if x >= 0 else -sine)
                    total += swing
                    right += swing * weight[i]
                    slope = pull[i] * (left + rise * weight[i]) * _sine_quarter(quarter - size)
                    push[i] += r * slope
                    slopes += slope
                    paced += slope * turned[i]
                d_ratio[v, k] += (paced + base * slopes) * (2.0 * math.pi)
                at_left, at_right = (total - right) * swell[k], right * swell[k] * fall[k]
                d_amplitude[v, k] += at_left + at_right
                d_decay[v, k] -= (at_left * frame + at_right * (frame + 1)) * amplitude[v, k]
                shift += level * (fall[k] - 1.0) * total
                swell[k] *= fall[k]
            for i in range(count):
                d_phase[v, first + i] = push[i] * (2.0 * math.pi)
            frame += 1
        d_offset[v] = shift


@njit(parallel=True, cache=True)
def vibrato_forward(since, frequency, depth, rate, onset_rate, step, phase):
    """phase[v, n] = frequency (t + depth * I(t)); see `oscillators.vibrato_phase`."""
    voices, span = phase.shape
    for v in prange(voices):
        p = complex(0.0, 2.0 * math.pi * rate[v])
        q = complex(-onset_rate[v], 2.0 * math.pi * rate[v])
        over_p, over_q, turn_p, turn_q = 1.0 / p, 1.0 / q, np.exp(p * step), np.exp(q * step)
        at_p, at_q = p, q
        for n in range(span):
            time = since[v] + n * step
            if n % RESTART == 0:
                at_p, at_q = np.exp(p * time), np.exp(q * time)
            swing = ((at_p - 1.0) * over_p - (at_q - 1.0) * over_q).imag
            phase[v, n] = frequency[v] * (time + depth[v] * swing)
            at_p *= turn_p
            at_q *= turn_q


@njit(parallel=True, cache=True)
def vibrato_backward(since, frequency, depth, rate, onset_rate, step, upstream, d):
    """The adjoint of `vibrato_forward`: d[:, v] with respect to since, frequency, depth, rate and onset_rate."""
    voices, span = upstream.shape
    for v in prange(voices):
        p = complex(0.0, 2.0 * math.pi * rate[v])
        q = complex(-onset_rate[v], 2.0 * math.pi * rate[v])
        over_p, over_q, turn_p, turn_q = 1.0 / p, 1.0 / q, np.exp(p * step), np.exp(q * step)
        at_p, at_q = p, q
        d_time, d_swing, times, d_rate, d_onset_rate = 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(span):
            time = since[v] + n * step
            if n % RESTART == 0:
                at_p, at_q = np.exp(p * time), np.exp(q * time)
            g = upstream[v, n]
            of_p, of_q = (at_p - 1.0) * over_p, (at_q - 1.0) * over_q
            slope_p, slope_q = (time * at_p - of_p) * over_p, (time * at_q - of_q) * over_q
            d_time += g * (1.0 + depth[v] * (at_p - at_q).imag)
            times += g * time
            d_swing += g * (of_p - of_q).imag
            d_rate += g * (slope_p - slope_q).real
            d_onset_rate += g * slope_q.imag
            at_p *= turn_p
            at_q *= turn_q
        d[0, v] = frequency[v] * d_time
        d[1, v] = times + depth[v] * d_swing
        d[2, v] = frequency[v] * d_swing
        d[3, v] = frequency[v] * depth[v] * d_rate * (2.0 * math.pi)
        d[4, v] = frequency[v] * depth[v] * d_onset_rate


@njit(parallel=True, cache=True)
def lookup_forward(tables, phase, ratio, audio):
    """audio[v, n] += Catmull-Rom interpolation of tables[v] at ratio[v] * phase[v, n] turns. Sizes: powers of two."""
    voices, span = phase.shape
    size = tables.shape[1]
    for v in prange(voices):
        table = tables[v]
        for n in range(span):
            turns = ratio[v] * phase[v, n]
            place = (turns - np.floor(turns)) * size
            i = int(place)
            w = tables.dtype.type(place - i)
            a, b = table[(i - 1) & (size - 1)], table[i & (size - 1)]
            c, d = table[(i + 1) & (size - 1)], table[(i + 2) & (size - 1)]
            m, s = c - a, d - b
            bend = (b - c) * 4 + m + s
            audio[v, n] += b + w * (m + w * ((c - b) * 6 - 2 * m - s + w * bend)) / 2


@njit(parallel=True, cache=True)
def lookup_backward(tables, phase, ratio, upstream, d_tables, d_phase, d_ratio):
    """The adjoint of `lookup_forward`. The gradients must come in as zeros."""
    voices, span = phase.shape
    size = tables.shape[1]
    for v in prange(voices):
        table, d_table = tables[v], d_tables[v]
        turned = 0.0
        for n in range(span):
            turns = ratio[v] * phase[v, n]
            place = (turns - np.floor(turns)) * size
            i = int(place)
            w = tables.dtype.type(place - i)
            ia, ib = (i - 1) & (size - 1), i & (size - 1)
            ic, id_ = (i + 1) & (size - 1), (i + 2) & (size - 1)
            a, b, c, d = table[ia], table[ib], table[ic], table[id_]
            g = upstream[v, n] / 2
            m, s = c - a, d - b
            slope = m + w * (2 * ((c - b) * 6 - 2 * m - s) + 3 * w * ((b - c) * 4 + m + s))
            pull = g * slope * size
            d_phase[v, n] += ratio[v] * pull
            turned += phase[v, n] * pull
            square, cube = w * w, w * w * w
            d_table[ia] += g * (-w + 2 * square - cube)
            d_table[ib] += g * (2 - 5 * square + 3 * cube)
            d_table[ic] += g * (w + 4 * square - 3 * cube)
            d_table[id_] += g * (cube - square)
        d_ratio[v] = turned
