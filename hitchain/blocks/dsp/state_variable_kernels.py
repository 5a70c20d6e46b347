"""The state-variable filter's recursion and its adjoint, compiled. Imported only when first used."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

from numba import njit, prange


@njit(parallel=True, cache=True)
def filter_forward(audio, g, k, mix, output, states):
    """See `state_variable.state_variable_filter`. Keeps both integrators' states before each sample in `states`."""
    rows, samples = audio.shape
    for row in prange(rows):
        damping = k[row]
        direct, band, damped, low = mix[0], mix[1], mix[2], mix[3]
        s1 = s2 = audio.dtype.type(0.0)
        for n in range(samples):
            gn = g[row, n]
            states[row, n, 0] = s1
            states[row, n, 1] = s2
            v1 = (s1 + gn * (audio[row, n] - s2)) / (1 + gn * (gn + damping))
            v2 = s2 + gn * v1
            output[row, n] = direct * audio[row, n] + (band + damped * damping) * v1 + low * v2
            s1 = v1 + v1 - s1
            s2 = v2 + v2 - s2


@njit(parallel=True, cache=True)
def filter_backward(audio, g, k, mix, states, upstream, d_audio, d_g, d_k):
    """The adjoint recursion, from the last sample to the first: l1, l2 are the gradients of the states."""
    rows, samples = audio.shape
    for row in prange(rows):
        damping = k[row]
        direct, band, damped, low = mix[0], mix[1], mix[2], mix[3]
        l1 = l2 = total = audio.dtype.type(0.0)
        for n in range(samples - 1, -1, -1):
            gn, up = g[row, n], upstream[row, n]
            s1, s2 = states[row, n, 0], states[row, n, 1]
            v3 = audio[row, n] - s2
            inverse = 1 / (1 + gn * (gn + damping))
            v1 = (s1 + gn * v3) * inverse
            d_v2 = low * up + l2 + l2
            d_v1 = (band + damped * damping) * up + l1 + l1 + gn * d_v2
            d_numerator = d_v1 * inverse
            d_denominator = -d_numerator * v1
            d_g[row, n] = v1 * d_v2 + d_numerator * v3 + d_denominator * (gn + gn + damping)
            total += d_denominator * gn + damped * v1 * up
            d_v3 = d_numerator * gn
            d_audio[row, n] = d_v3 + direct * up
            l1 = d_numerator - l1
            l2 = d_v2 - d_v3 - l2
        d_k[row] = total
