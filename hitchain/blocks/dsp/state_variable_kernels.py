"""The state-variable filter's recursion and its adjoint, compiled. Imported only when first used.

With s the two integrators' states, a sample takes s1 to q s1 - p s2 + p x and s2 to p s1 + w s2 + g p x, where
d = 1 / (1 + g (g + k)), p = 2 g d, q = 2 d - 1, w = 1 - g p. Only these four products wait for the sample before; what
leads to them and from them is done a block of `BLOCK` samples at a time, in vectors. States are held in float64
(in float32, w would lose what a low cutoff adds). The backward pass computes a block's states again from those at its
start, which are all that is kept.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 256
FAST = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def states_block(count, x, g, damping, state, work, one, two):
    """The states before each sample, into `one` and `two`; moves `state` (2,) on. `work` is float64 (5, BLOCK)."""
    p, q, w, first, second = work[0], work[1], work[2], work[3], work[4]
    for i in range(count):
        gain = float(g[i])
        inverse = 1.0 / (1.0 + gain * (gain + damping))
        p[i] = 2.0 * gain * inverse
        q[i] = 2.0 * inverse - 1.0
        w[i] = 1.0 - gain * p[i]
        first[i] = p[i] * x[i]
        second[i] = gain * first[i]
    s1, s2 = state[0], state[1]
    for i in range(count):
        one[i] = s1
        two[i] = s2
        s1, s2 = q[i] * s1 + (first[i] - p[i] * s2), p[i] * s1 + (w[i] * s2 + second[i])
    state[0], state[1] = s1, s2


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def output_block(count, x, g, damping, mix, one, two, output):
    """The filter's output from its states. `output` may be `x`."""
    direct, band, low = mix[0], mix[1] + mix[2] * damping, mix[3]
    for i in range(count):
        gain = float(g[i])
        v1 = (one[i] + gain * (x[i] - two[i])) / (1.0 + gain * (gain + damping))
        output[i] = direct * x[i] + band * v1 + low * (two[i] + gain * v1)


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def backward_block(count, x, g, damping, mix, one, two, upstream, adjoint, work, d_x, d_g):
    """Back through a block: `adjoint` (2,), the gradient of the states after it, becomes that of those before it.

    Args:
        work: as `states_block` left it; overwritten.
        d_x: may be `upstream`.

    Returns:
        The gradient of the damping.
    """
    direct, damped, low = mix[0], mix[2], mix[3]
    band = mix[1] + damped * damping
    p, q, w, later1, later2 = work[0], work[1], work[2], work[3], work[4]
    for i in range(count):
        inverse = 0.5 * (1.0 + q[i])
        later1[i] = inverse * (band + g[i] * low) * upstream[i]
        later2[i] = low * upstream[i] - g[i] * later1[i]
    l1, l2 = adjoint[0], adjoint[1]
    for i in range(count - 1, -1, -1):
        before1, before2 = q[i] * l1 + (p[i] * l2 + later1[i]), w[i] * l2 + (later2[i] - p[i] * l1)
        later1[i], later2[i] = l1, l2
        l1, l2 = before1, before2
    adjoint[0], adjoint[1] = l1, l2
    total = 0.0
    for i in range(count):
        gain, up = float(g[i]), float(upstream[i])
        inverse = 0.5 * (1.0 + q[i])
        v3 = x[i] - two[i]
        v1 = (one[i] + gain * v3) * inverse
        d_v2 = low * up + 2.0 * later2[i]
        d_numerator = (band * up + 2.0 * later1[i] + gain * d_v2) * inverse
        d_denominator = -d_numerator * v1
        total += d_denominator * gain + damped * v1 * up
        d_g[i] = v1 * d_v2 + d_numerator * v3 + d_denominator * (2.0 * gain + damping)
        d_x[i] = d_numerator * gain + direct * up
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def filter_forward(first, last, audio, g, k, mix, output, kept):
    """See `state_variable.state_variable_filter`. Keeps the states before each block in `kept`."""
    work, one, two, state = np.empty((5, BLOCK)), np.empty(BLOCK), np.empty(BLOCK), np.empty(2)
    samples = audio.shape[1]
    for row in range(first, last):
        state[:] = 0.0
        for begin in range(0, samples, BLOCK):
            end = min(begin + BLOCK, samples)
            x, gain = audio[row, begin:end], g[row, begin:end]
            kept[row, begin // BLOCK] = state
            states_block(end - begin, x, gain, float(k[row]), state, work, one, two)
            output_block(end - begin, x, gain, float(k[row]), mix, one, two, output[row, begin:end])


@njit(cache=True, nogil=True, error_model="numpy")
def filter_backward(first, last, audio, g, k, mix, kept, upstream, d_audio, d_g, d_k):
    """The adjoint recursion, from the last block to the first."""
    work, one, two = np.empty((5, BLOCK)), np.empty(BLOCK), np.empty(BLOCK)
    state, adjoint = np.empty(2), np.empty(2)
    samples = audio.shape[1]
    for row in range(first, last):
        adjoint[:] = 0.0
        total = 0.0
        for block in range((samples + BLOCK - 1) // BLOCK - 1, -1, -1):
            begin, end = block * BLOCK, min((block + 1) * BLOCK, samples)
            x, gain, up = audio[row, begin:end], g[row, begin:end], upstream[row, begin:end]
            state[:] = kept[row, block]
            states_block(end - begin, x, gain, float(k[row]), state, work, one, two)
            to_x, to_g = d_audio[row, begin:end], d_g[row, begin:end]
            total += backward_block(end - begin, x, gain, float(k[row]), mix, one, two, up, adjoint, work, to_x, to_g)
        d_k[row] = total
