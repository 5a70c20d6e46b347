"""The inner loops of the oscillators, compiled. Imported only when first used, since numba is slow to load.

Each voice is worked through by one thread in a fixed order, so results do not depend on the number of threads.
Reassociation is allowed (sums in vector lanes, fused multiply-add): the compiler decides it once, so it repeats.
Phases and tables are worked through in blocks of `BLOCK` samples that stay in the first-level cache; the kernels of
whole voices call the block functions too.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import float32, njit, types
from numba.extending import overload

FAST = {"reassoc", "contract", "nsz"}
SILENT = 1e-25  # a partial that has decayed this far is left out: it is far below rounding, and subnormals are slow
BLOCK = 256  # samples after which a rotation starts anew from its closed form, so that rounding does not grow


def sine_quarter(x):
    """sin(2 pi x) for |x| <= 1/4."""
    return math.sin(2.0 * math.pi * x)


@overload(sine_quarter, inline="always")
def _overloadsine_quarter(x):
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


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
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


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sine(x):
    """sin(2 pi x), x in turns."""
    half = type(x)(0.5)
    x -= np.floor(x + half)
    size = abs(x)
    height = sine_quarter(min(size, half - size))
    return height if x >= 0 else -height


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _start(top, base, ratio, level, fall, start, left, rise):
    """Each partial at the first sample of a frame: its turns, its level there and how that rises to the frame's end."""
    for k in range(top):
        turns = ratio[k] * base
        start[k] = turns - np.floor(turns)
        left[k] = level[k]
        rise[k] = level[k] * (fall[k] - 1.0)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def bank_voice(phase, ratio, amplitude, decay, offset, hop, top, audio):
    """audio[n] = sum over k of the partial's level at n * sin(2 pi ratio[k] * phase[n]); see `harmonic_bank`.

    Partials are added in pairs: a pair shares what is loaded and stored for each sample.
    """
    kind, room = amplitude.dtype, len(amplitude) + 1
    weight, turned, total = np.empty(hop + 1, kind), np.empty(hop + 1, kind), np.empty(hop + 1, kind)
    start, left, rise, pace = np.zeros(room, kind), np.zeros(room, kind), np.zeros(room, kind), np.zeros(room, kind)
    frame = int(np.floor(offset))
    level, fall = amplitude * np.exp(-decay * frame), np.exp(-decay)
    pace[:-1] = ratio
    first, count = 0, 1
    while count > 0:
        first, count, base = _frame(phase, offset, hop, frame, weight, turned)
        total[:] = 0
        _start(top, base, ratio, level, fall, start, left, rise)
        left[top], rise[top] = 0, 0
        for k in range(0, top, 2):
            if abs(left[k]) < SILENT and abs(left[k + 1]) < SILENT:
                continue
            s0, s1, r0, r1 = start[k], start[k + 1], pace[k], pace[k + 1]
            l0, l1, b0, b1 = left[k], left[k + 1], rise[k], rise[k + 1]
            for i in range(count):
                t, w = turned[i], weight[i]
                total[i] += _sine(s0 + r0 * t) * (l0 + b0 * w) + _sine(s1 + r1 * t) * (l1 + b1 * w)
        level *= fall
        audio[first : first + count] = total[:count]
        frame += 1


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def bank_voice_backward(
    phase, ratio, amplitude, decay, offset, hop, top, upstream, d_phase, d_ratio, d_amplitude, d_decay
):
    """The adjoint of `bank_voice`; adds to `d_ratio`, `d_amplitude` and `d_decay`, returns the offset's gradient.

    For each partial and frame, four sums over the samples: of the upstream gradient times the sine, times its place in
    the frame too, and of that times the slope, times the turns too.
    """
    kind, room = amplitude.dtype, len(amplitude) + 1
    zero, quarter, half = kind.type(0.0), kind.type(0.25), kind.type(0.5)
    weight, turned = np.empty(hop + 1, kind), np.empty(hop + 1, kind)
    pull, push = np.empty(hop + 1, kind), np.empty(hop + 1, kind)
    start, left, rise, pace = np.zeros(room, kind), np.zeros(room, kind), np.zeros(room, kind), np.zeros(room, kind)
    totals, rights, slopes, paced = np.zeros(room), np.zeros(room), np.zeros(room), np.zeros(room)
    frame = int(np.floor(offset))
    swell, fall = np.exp(-decay * frame), np.exp(-decay)
    pace[:-1] = ratio
    shift = 0.0
    first, count = 0, 1
    while count > 0:
        first, count, base = _frame(phase, offset, hop, frame, weight, turned)
        pull[:count] = upstream[first : first + count]
        push[:count] = 0
        _start(top, base, ratio, amplitude * swell, fall, start, left, rise)
        for k in range(top):
            total, right, slope, turning_slope = zero, zero, zero, zero
            if swell[k] >= SILENT:
                begin, r, height, climb = start[k], pace[k], left[k], rise[k]
                for i in range(count):
                    x = begin + r * turned[i]
                    x -= np.floor(x + half)
                    size = abs(x)
                    sine = sine_quarter(min(size, half - size))
                    swing = pull[i] * (sine if x >= 0 else -sine)
                    total += swing
                    right += swing * weight[i]
                    steep = pull[i] * (height + climb * weight[i]) * sine_quarter(quarter - size)
                    push[i] += r * steep
                    slope += steep
                    turning_slope += steep * turned[i]
            totals[k], rights[k], slopes[k], paced[k] = total, right, slope, turning_slope
        for k in range(top):
            d_ratio[k] += (paced[k] + base * slopes[k]) * (2.0 * math.pi)
            at_left, at_right = (totals[k] - rights[k]) * swell[k], rights[k] * swell[k] * fall[k]
            d_amplitude[k] += at_left + at_right
            d_decay[k] -= (at_left * frame + at_right * (frame + 1)) * amplitude[k]
            shift += amplitude[k] * swell[k] * (fall[k] - 1.0) * totals[k]
        swell *= fall
        for i in range(count):
            d_phase[first + i] = push[i] * (2.0 * math.pi)
        frame += 1
    return shift


@njit(cache=True, nogil=True)
def bank_forward(first, last, phase, ratio, amplitude, decay, offset, hop, top, audio):
    """See `oscillators.harmonic_bank`."""
    for v in range(first, last):
        bank_voice(phase[v], ratio[v], amplitude[v], decay[v], offset[v], hop, top[v], audio[v])


@njit(cache=True, nogil=True)
def bank_backward(
    first,
    last,
    phase,
    ratio,
    amplitude,
    decay,
    offset,
    hop,
    top,
    upstream,
    d_phase,
    d_ratio,
    d_amplitude,
    d_decay,
    d_offset,
):
    """The adjoint of `bank_forward`. The gradients must come in as zeros."""
    for v in range(first, last):
        d_offset[v] = bank_voice_backward(
            phase[v],
            ratio[v],
            amplitude[v],
            decay[v],
            offset[v],
            hop,
            top[v],
            upstream[v],
            d_phase[v],
            d_ratio[v],
            d_amplitude[v],
            d_decay[v],
        )


@njit(cache=True, nogil=True, error_model="numpy")
def turning(rate, onset_rate, step, turn):
    """The vibrato's rotation and fade within a block: turn[0] the cosines, turn[1] the sines, turn[2] the fade."""
    angle, fall = 2.0 * math.pi * rate * step, -onset_rate * step
    for begin in range(0, turn.shape[1], 16):
        c, s, e = math.cos(angle * begin), math.sin(angle * begin), math.exp(fall * begin)
        for i in range(16):
            if begin == 0:
                turn[0, i], turn[1, i], turn[2, i] = math.cos(angle * i), math.sin(angle * i), math.exp(fall * i)
            else:
                turn[0, begin + i] = c * turn[0, i] - s * turn[1, i]
                turn[1, begin + i] = s * turn[0, i] + c * turn[1, i]
                turn[2, begin + i] = e * turn[2, i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def vibrato_block(begin, count, since, motion, step, turn, phase):
    """phase[i] = frequency (t + depth * I(t)) of the samples begin + i, i < count; see `oscillators.vibrato_phase`.

    With w the vibrato's angular rate, h its onset rate, e = exp(-h t), c = cos(w t) and s = sin(w t),
    I = (1 - c) / w - (w (1 - e c) - h e s) / (h^2 + w^2).

    Args:
        motion: frequency, depth, rate, onset rate.
        turn: (3, BLOCK) from `turning`.
    """
    frequency, depth, rate, h = motion
    w = 2.0 * math.pi * rate
    over_w, over_q = 1.0 / w, 1.0 / (h * h + w * w)
    start = since + begin * step
    c0, s0, e0 = math.cos(w * start), math.sin(w * start), math.exp(-h * start)
    cosines, sines, fades = turn[0], turn[1], turn[2]
    for i in range(count):
        c, s, e = c0 * cosines[i] - s0 * sines[i], s0 * cosines[i] + c0 * sines[i], e0 * fades[i]
        swing = (1.0 - c) * over_w - (w * (1.0 - e * c) - h * e * s) * over_q
        phase[i] = frequency * (start + i * step + depth * swing)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def vibrato_block_backward(begin, count, since, motion, step, turn, upstream, sums):
    """Add the block's part to the five sums over time from which `vibrato_gradients` makes the gradients."""
    _, depth, rate, h = motion
    w = 2.0 * math.pi * rate
    over_w, over_q = 1.0 / w, 1.0 / (h * h + w * w)
    start = since + begin * step
    c0, s0, e0 = math.cos(w * start), math.sin(w * start), math.exp(-h * start)
    cosines, sines, fades = turn[0], turn[1], turn[2]
    d_time, times, d_swing, d_w, d_h = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        c, s, e = c0 * cosines[i] - s0 * sines[i], s0 * cosines[i] + c0 * sines[i], e0 * fades[i]
        g, t = float(upstream[i]), start + i * step
        steady, fading = (1.0 - c) * over_w, (w * (1.0 - e * c) - h * e * s) * over_q
        d_time += g * (1.0 + depth * s * (1.0 - e))
        times += g * t
        d_swing += g * (steady - fading)
        of_w = (1.0 - e * c) + t * e * (w * s - h * c) - 2.0 * w * fading
        d_w += g * ((t * s - steady) * over_w - of_w * over_q)
        d_h -= g * (e * (t * (w * c + h * s) - s) - 2.0 * h * fading) * over_q
    sums[0] += d_time
    sums[1] += times
    sums[2] += d_swing
    sums[3] += d_w
    sums[4] += d_h


@njit(cache=True, nogil=True, error_model="numpy")
def vibrato_gradients(motion, sums):
    """With respect to since, frequency, depth, rate and onset rate."""
    frequency, depth = motion[0], motion[1]
    return (
        frequency * sums[0],
        sums[1] + depth * sums[2],
        frequency * sums[2],
        frequency * depth * sums[3] * (2.0 * math.pi),
        frequency * depth * sums[4],
    )


@njit(cache=True, nogil=True, error_model="numpy")
def vibrato_forward(first, last, since, frequency, depth, rate, onset_rate, step, phase):
    """See `oscillators.vibrato_phase`."""
    span = phase.shape[1]
    turn = np.empty((3, BLOCK))
    for v in range(first, last):
        motion = (frequency[v], depth[v], rate[v], onset_rate[v])
        turning(rate[v], onset_rate[v], step, turn)
        for begin in range(0, span, BLOCK):
            end = min(begin + BLOCK, span)
            vibrato_block(begin, end - begin, since[v], motion, step, turn, phase[v, begin:end])


@njit(cache=True, nogil=True, error_model="numpy")
def vibrato_backward(first, last, since, frequency, depth, rate, onset_rate, step, upstream, d):
    """The adjoint of `vibrato_forward`: d[:, v] with respect to since, frequency, depth, rate and onset_rate."""
    span = upstream.shape[1]
    turn, sums = np.empty((3, BLOCK)), np.empty(5)
    for v in range(first, last):
        motion = (frequency[v], depth[v], rate[v], onset_rate[v])
        turning(rate[v], onset_rate[v], step, turn)
        sums[:] = 0.0
        for begin in range(0, span, BLOCK):
            end = min(begin + BLOCK, span)
            vibrato_block_backward(begin, end - begin, since[v], motion, step, turn, upstream[v, begin:end], sums)
        gradients = vibrato_gradients(motion, sums)
        for i in range(5):
            d[i, v] = gradients[i]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def lookup_block(count, table, phase, ratio, index, w, corners, audio):
    """audio[i] += Catmull-Rom interpolation of the table at ratio * phase[i] turns. Its size is a power of two.

    Leaves the places in `index` (int32) and `w`, and the four points round each in `corners` (4, BLOCK), for
    `lookup_block_backward`.
    """
    size = len(table)
    kind = table.dtype.type
    for i in range(count):
        turns = ratio * phase[i]
        place = (turns - np.floor(turns)) * size
        index[i] = np.int32(place)
        w[i] = kind(place - index[i])
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    for i in range(count):
        at = index[i]
        a[i], b[i] = table[(at - 1) & (size - 1)], table[at & (size - 1)]
        c[i], d[i] = table[(at + 1) & (size - 1)], table[(at + 2) & (size - 1)]
    two, six, half = kind(2.0), kind(6.0), kind(0.5)
    for i in range(count):
        rise, m, s = c[i] - b[i], c[i] - a[i], d[i] - b[i]
        bend = m + s - (two + two) * rise
        audio[i] += b[i] + w[i] * (m + w[i] * (rise * six - two * m - s + w[i] * bend)) * half


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def lookup_block_backward(count, phase, ratio, index, w, corners, upstream, d_table, d_phase):
    """Add to the gradients of the table and of the phase; returns that of the ratio. Overwrites the corners."""
    size = len(d_table)
    kind = d_table.dtype.type
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    two, three, six, half = kind(2.0), kind(3.0), kind(6.0), kind(0.5)
    turned = 0.0
    for i in range(count):
        x, g = w[i], upstream[i] * half
        rise, m, s = c[i] - b[i], c[i] - a[i], d[i] - b[i]
        bend = m + s - (two + two) * rise
        pull = float(g * (m + x * (two * (rise * six - two * m - s) + three * x * bend))) * size
        d_phase[i] += ratio * pull
        turned += phase[i] * pull
        square = x * x
        cube = square * x
        a[i] = g * (two * square - x - cube)
        b[i] = g * (two - (two + three) * square + three * cube)
        c[i] = g * (x + (two + two) * square - three * cube)
        d[i] = g * (cube - square)
    for i in range(count):
        at = index[i]
        d_table[(at - 1) & (size - 1)] += a[i]
        d_table[at & (size - 1)] += b[i]
        d_table[(at + 1) & (size - 1)] += c[i]
        d_table[(at + 2) & (size - 1)] += d[i]
    return turned


@njit(cache=True, nogil=True, error_model="numpy")
def lookup_forward(first, last, tables, phase, ratio, audio):
    """See `oscillators.lookup`. The audio must come in as zeros."""
    span = phase.shape[1]
    index, w, corners = np.empty(BLOCK, np.int32), np.empty(BLOCK, tables.dtype), np.empty((4, BLOCK), tables.dtype)
    for v in range(first, last):
        for begin in range(0, span, BLOCK):
            end = min(begin + BLOCK, span)
            turns, block = phase[v, begin:end], audio[v, begin:end]
            lookup_block(end - begin, tables[v], turns, ratio[v], index, w, corners, block)


@njit(cache=True, nogil=True, error_model="numpy")
def lookup_backward(first, last, tables, phase, ratio, upstream, d_tables, d_phase, d_ratio):
    """The adjoint of `lookup_forward`. The gradients must come in as zeros."""
    span = phase.shape[1]
    index, w, corners = np.empty(BLOCK, np.int32), np.empty(BLOCK, tables.dtype), np.empty((4, BLOCK), tables.dtype)
    discarded = np.empty(BLOCK, tables.dtype)
    for v in range(first, last):
        for begin in range(0, span, BLOCK):
            end = min(begin + BLOCK, span)
            turns, up, to_phase = phase[v, begin:end], upstream[v, begin:end], d_phase[v, begin:end]
            lookup_block(end - begin, tables[v], turns, ratio[v], index, w, corners, discarded)
            d_ratio[v] += lookup_block_backward(
                end - begin, turns, ratio[v], index, w, corners, up, d_tables[v], to_phase
            )


@njit(cache=True, nogil=True)
def noise_block(table, place, count, out):
    """A stretch of a table read in a circle; no longer than the table."""
    period = len(table)
    place %= period
    run = min(count, period - place)
    out[:run] = table[place : place + run]
    out[run:count] = table[: count - run]
