"""The inner loops of the envelopes, compiled. Imported only when first used, since numba is slow to load.

A voice is worked through in blocks of `BLOCK` samples that stay in the first-level cache. Within a block an exponential
is one library call at its start times a table of its powers: pure arithmetic, which the compiler vectorises, and
rounding that cannot grow with the length of the note. Other instruments' kernels call the block functions.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import njit

CURVE = math.log(100.0)
BLOCK = 256
FAST = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy")
def powers(rate, table):
    """table[i] = exp(rate i), as products of exp(rate (i mod 16)) and exp(rate (i - i mod 16))."""
    for i in range(16):
        table[i] = math.exp(rate * i)
    for begin in range(16, len(table), 16):
        start = table.dtype.type(math.exp(rate * begin))
        for i in range(16):
            table[begin + i] = start * table[i]


@njit(cache=True, nogil=True, error_model="numpy")
def sections(since, duration, attack, release, step, span):
    """The first samples after the onset, the attack, the note's end and the release, in that order."""
    onset = min(max(math.ceil((0.0 - since) / step), 0), span)
    peak = min(max(math.ceil((min(attack, duration) - since) / step), onset), span)
    end = min(max(math.ceil((duration - since) / step), onset), span)
    silence = min(max(math.ceil((duration + release - since) / step), onset), span)
    return onset, peak, end, silence


@njit(cache=True, nogil=True, error_model="numpy")
def _within(begin, count, edges):
    """The edges counted from a block's first sample, and no further than its ends."""
    onset, peak, end, silence = edges
    return (
        min(max(onset - begin, 0), count),
        min(max(peak - begin, 0), count),
        min(max(end - begin, 0), count),
        min(max(silence - begin, 0), count),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def held(time, attack, decay, sustain):
    """The level of a held note, and exp(-CURVE (time - attack) / decay), which is 1 during the attack."""
    if time < attack:
        return time / attack, 1.0
    fallen = math.exp(-CURVE * (time - attack) / decay)
    return sustain + (1.0 - sustain) * fallen, fallen


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def adsr_block(begin, count, since, shape, edges, step, falls, leaves, level):
    """level[i] of the samples begin + i, i < count; see `envelopes.adsr`.

    Args:
        shape: duration, attack, decay, sustain, release.
        edges: from `sections`.
        falls, leaves: powers of the decay's and of the release's fall in a sample.
    """
    duration, attack, decay, sustain, release = shape
    onset, peak, end, silence = _within(begin, count, edges)
    kind = level.dtype.type
    level[:onset] = 0
    level[silence:count] = 0
    time = since + begin * step
    for i in range(onset, peak):
        level[i] = (time + i * step) / attack
    if peak < end:
        rest, way = kind(sustain), kind((1.0 - sustain) * math.exp(-CURVE * (time + peak * step - attack) / decay))
        for i in range(peak, end):
            level[i] = rest + way * falls[i - peak]
    if end < silence:
        at_end = held(duration, attack, decay, sustain)[0] / 0.99
        way = kind(at_end * math.exp(-CURVE * (time + end * step - duration) / release))
        rest = kind(at_end * 0.01)
        for i in range(end, silence):
            level[i] = way * leaves[i - end] - rest


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def adsr_block_backward(begin, count, since, shape, edges, step, falls, leaves, upstream, sums):
    """Add the block's part to the eight sums over time from which `adsr_gradients` makes the gradients."""
    duration, attack, decay, _, release = shape
    onset, peak, end, silence = _within(begin, count, edges)
    kind = falls.dtype.type
    time = since + begin * step
    if onset < peak:
        plain = aged = 0.0
        for i in range(onset, peak):
            plain += upstream[i]
            aged += upstream[i] * (time + i * step)
        sums[0] += plain
        sums[1] += aged
    if peak < end:
        all_of, bent, late = kind(0.0), kind(0.0), kind(0.0)
        for i in range(peak, end):
            sloping = upstream[i] * falls[i - peak]
            all_of += upstream[i]
            bent += sloping
            late += sloping * kind(i - peak)
        age = time + peak * step - attack
        fallen = math.exp(-CURVE * age / decay)
        sums[2] += all_of
        sums[3] += fallen * bent
        sums[4] += fallen * (age * bent + step * late)
    if end < silence:
        all_of, bent, late = kind(0.0), kind(0.0), kind(0.0)
        for i in range(end, silence):
            sloping = upstream[i] * leaves[i - end]
            all_of += upstream[i]
            bent += sloping
            late += sloping * kind(i - end)
        age = time + end * step - duration
        fallen = math.exp(-CURVE * age / release)
        sums[5] += (fallen * bent - 0.01 * all_of) / 0.99
        sums[6] += fallen * bent
        sums[7] += fallen * (age * bent + step * late)


@njit(cache=True, nogil=True, error_model="numpy")
def adsr_gradients(shape, sums):
    """With respect to since, duration, attack, decay, sustain and release."""
    duration, attack, decay, sustain, release = shape
    rising, risen, full, falling, aged, left, slope, stretched = sums
    at_end, fallen = held(duration, attack, decay, sustain)
    pace = -CURVE / decay
    if duration < attack:  # the release takes over from the attack
        at_end_time, at_end_attack, at_end_decay, at_end_sustain = 1.0 / attack, -at_end / attack, 0.0, 0.0
    else:
        at_end_time = (1.0 - sustain) * fallen * pace
        at_end_attack = -at_end_time
        at_end_decay = -at_end_time * (duration - attack) / decay
        at_end_sustain = 1.0 - fallen
    moving = at_end * slope * (-CURVE / 0.99) / release
    return (
        rising / attack + (1.0 - sustain) * pace * falling + moving,
        at_end_time * left - moving,
        -risen / (attack * attack) - (1.0 - sustain) * pace * falling + at_end_attack * left,
        -(1.0 - sustain) * pace * aged / decay + at_end_decay * left,
        full - falling + at_end_sustain * left,
        at_end * stretched * (CURVE / 0.99) / (release * release),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def adsr_forward(first, last, since, duration, attack, decay, sustain, release, step, level):
    """See `envelopes.adsr`."""
    falls, leaves = np.empty(BLOCK, level.dtype), np.empty(BLOCK, level.dtype)
    span = level.shape[1]
    for v in range(first, last):
        shape = (duration[v], attack[v], decay[v], sustain[v], release[v])
        edges = sections(since[v], duration[v], attack[v], release[v], step, span)
        powers(-CURVE * step / decay[v], falls)
        powers(-CURVE * step / release[v], leaves)
        for begin in range(0, span, BLOCK):
            count = min(BLOCK, span - begin)
            block = level[v, begin : begin + count]
            adsr_block(begin, count, since[v], shape, edges, step, falls, leaves, block)


@njit(cache=True, nogil=True, error_model="numpy")
def adsr_backward(first, last, since, duration, attack, decay, sustain, release, step, upstream, d):
    """The adjoint of `adsr_forward`: d[:, v] with respect to since, duration, attack, decay, sustain, release."""
    falls, leaves = np.empty(BLOCK, upstream.dtype), np.empty(BLOCK, upstream.dtype)
    sums = np.empty(8)
    span = upstream.shape[1]
    for v in range(first, last):
        shape = (duration[v], attack[v], decay[v], sustain[v], release[v])
        edges = sections(since[v], duration[v], attack[v], release[v], step, span)
        powers(-CURVE * step / decay[v], falls)
        powers(-CURVE * step / release[v], leaves)
        sums[:] = 0.0
        for begin in range(0, span, BLOCK):
            count = min(BLOCK, span - begin)
            block = upstream[v, begin : begin + count]
            adsr_block_backward(begin, count, since[v], shape, edges, step, falls, leaves, block, sums)
        gradients = adsr_gradients(shape, sums)
        for i in range(6):
            d[i, v] = gradients[i]
