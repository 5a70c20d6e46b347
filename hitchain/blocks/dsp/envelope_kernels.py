"""The inner loops of the envelopes, compiled. Imported only when first used, since numba is slow to load."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

from numba import njit, prange

CURVE = math.log(100.0)
RESTART = 64  # samples after which a running exponential starts anew from its closed form, so that rounding cannot grow


@njit(cache=True)
def _sections(since, duration, attack, release, step, span):
    """The first samples after the onset, the attack, the note's end and the release, in that order."""
    ends = (0.0, min(attack, duration), duration, duration + release)
    onset, peak, end, silence = [min(max(math.ceil((at - since) / step), 0), span) for at in ends]
    return onset, max(peak, onset), max(end, onset), max(silence, onset)


@njit(cache=True)
def _held(time, attack, decay, sustain):
    """The level of a held note, and exp(-CURVE (time - attack) / decay), which is 1 during the attack."""
    if time < attack:
        return time / attack, 1.0
    fallen = math.exp(-CURVE * (time - attack) / decay)
    return sustain + (1.0 - sustain) * fallen, fallen


@njit(parallel=True, cache=True)
def adsr_forward(since, duration, attack, decay, sustain, release, step, level):
    """See `envelopes.adsr`."""
    voices, span = level.shape
    for v in prange(voices):
        onset, peak, end, silence = _sections(since[v], duration[v], attack[v], release[v], step, span)
        level[v, :onset] = 0.0
        level[v, silence:] = 0.0
        for n in range(onset, peak):
            level[v, n] = (since[v] + n * step) / attack[v]
        fall, fallen = math.exp(-CURVE * step / decay[v]), 0.0
        for n in range(peak, end):
            if (n - peak) % RESTART == 0:
                fallen = math.exp(-CURVE * (since[v] + n * step - attack[v]) / decay[v])
            level[v, n] = sustain[v] + (1.0 - sustain[v]) * fallen
            fallen *= fall
        at_end = _held(duration[v], attack[v], decay[v], sustain[v])[0]
        fall = math.exp(-CURVE * step / release[v])
        for n in range(end, silence):
            if (n - end) % RESTART == 0:
                fallen = math.exp(-CURVE * (since[v] + n * step - duration[v]) / release[v])
            level[v, n] = at_end * (fallen - 0.01) / 0.99
            fallen *= fall


@njit(parallel=True, cache=True)
def adsr_backward(since, duration, attack, decay, sustain, release, step, upstream, d):
    """The adjoint of `adsr_forward`: d[:, v] with respect to since, duration, attack, decay, sustain, release."""
    voices, span = upstream.shape
    for v in prange(voices):
        onset, peak, end, silence = _sections(since[v], duration[v], attack[v], release[v], step, span)
        a, s = attack[v], sustain[v]
        rising, risen, falling, aged, full = 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(onset, peak):
            rising += upstream[v, n]
            risen += upstream[v, n] * (since[v] + n * step)
        fall, fallen = math.exp(-CURVE * step / decay[v]), 0.0
        for n in range(peak, end):
            age = since[v] + n * step - a
            if (n - peak) % RESTART == 0:
                fallen = math.exp(-CURVE * age / decay[v])
            full += upstream[v, n]
            falling += upstream[v, n] * fallen
            aged += upstream[v, n] * fallen * age
            fallen *= fall
        fall = math.exp(-CURVE * step / release[v])
        left, slope, stretched = 0.0, 0.0, 0.0
        for n in range(end, silence):
            age = since[v] + n * step - duration[v]
            if (n - end) % RESTART == 0:
                fallen = math.exp(-CURVE * age / release[v])
            left += upstream[v, n] * (fallen - 0.01) / 0.99
            slope += upstream[v, n] * fallen
            stretched += upstream[v, n] * fallen * age
            fallen *= fall
        at_end, fallen = _held(duration[v], a, decay[v], s)
        pace = -CURVE / decay[v]
        if duration[v] < a:  # the release takes over from the attack
            at_end_time, at_end_attack, at_end_decay, at_end_sustain = 1.0 / a, -at_end / a, 0.0, 0.0
        else:
            at_end_time = (1.0 - s) * fallen * pace
            at_end_attack = -at_end_time
            at_end_decay = -at_end_time * (duration[v] - a) / decay[v]
            at_end_sustain = 1.0 - fallen
        moving = at_end * slope * (-CURVE / 0.99) / release[v]
        d[0, v] = rising / a + (1.0 - s) * pace * falling + moving
        d[1, v] = at_end_time * left - moving
        d[2, v] = -risen / (a * a) - (1.0 - s) * pace * falling + at_end_attack * left
        d[3, v] = -(1.0 - s) * pace * aged / decay[v] + at_end_decay * left
        d[4, v] = full - falling + at_end_sustain * left
        d[5, v] = at_end * stretched * (CURVE / 0.99) / (release[v] * release[v])
