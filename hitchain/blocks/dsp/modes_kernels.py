"""The inner loops of banks of decaying modes, compiled. Imported only when first used.

Modes are worked through four at a time, which share what is loaded and stored for each sample. Within a block of
samples exp(rate t) is a table of powers times its value at the block's start, a number in double precision.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz"}
BLOCK = 256
FOUR = 4
SILENT = 1e-10


@njit(cache=True, nogil=True, error_model="numpy")
def _prepare(k, top, since, rate, step, start, turn, real, imaginary):
    """Four modes from `k` on: exp(rate t) at the first sample, over a block, and at each sample of a block."""
    low, high = np.empty(16, np.complex128), np.empty(BLOCK // 16, np.complex128)
    for m in range(FOUR):
        if k + m >= top:
            start[m], turn[m] = 0.0, 0.0
            real[m, :], imaginary[m, :] = 0, 0
            continue
        pace = rate[k + m]
        start[m], turn[m] = np.exp(pace * since), np.exp(pace * (step * BLOCK))
        for i in range(16):
            low[i] = np.exp(pace * (step * i))
            high[i] = np.exp(pace * (step * 16 * i))
        for i in range(16):
            for j in range(16):
                power = high[i] * low[j]
                real[m, 16 * i + j], imaginary[m, 16 * i + j] = power.real, power.imag


@njit(cache=True, nogil=True, error_model="numpy")
def _alive(start):
    return max(max(abs(start[0]), abs(start[1])), max(abs(start[2]), abs(start[3]))) >= SILENT


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _add(count, c0, c1, c2, c3, real, imaginary, audio):
    kind = audio.dtype.type
    a0, a1, a2, a3 = kind(c0.real), kind(c1.real), kind(c2.real), kind(c3.real)
    b0, b1, b2, b3 = kind(c0.imag), kind(c1.imag), kind(c2.imag), kind(c3.imag)
    r0, r1, r2, r3 = real[0], real[1], real[2], real[3]
    i0, i1, i2, i3 = imaginary[0], imaginary[1], imaginary[2], imaginary[3]
    for i in range(count):
        one = a0 * r0[i] - b0 * i0[i] + a1 * r1[i] - b1 * i1[i]
        audio[i] += one + a2 * r2[i] - b2 * i2[i] + a3 * r3[i] - b3 * i3[i]


@njit(cache=True, nogil=True)
def forward(first, last, since, amplitude, rate, counts, top, step, audio):
    """See `modes.ring`."""
    real, imaginary = np.empty((FOUR, BLOCK), audio.dtype), np.empty((FOUR, BLOCK), audio.dtype)
    start, turn, c = np.empty(FOUR, np.complex128), np.empty(FOUR, np.complex128), np.zeros(FOUR, np.complex128)
    for v in range(first, last):
        count = counts[v]
        audio[v] = 0
        for k in range(0, top[v], FOUR):
            _prepare(k, top[v], since[v], rate[v], step, start, turn, real, imaginary)
            for begin in range(0, count, BLOCK):
                if not _alive(start):
                    break
                for m in range(min(FOUR, top[v] - k)):
                    c[m] = amplitude[v, k + m] * start[m]
                for m in range(top[v] - k, FOUR):
                    c[m] = 0.0
                end = min(begin + BLOCK, count)
                _add(end - begin, c[0], c[1], c[2], c[3], real, imaginary, audio[v, begin:end])
                start *= turn


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _sums(count, real, imaginary, upstream, late):
    """Of the upstream gradient times the table, and of that times the place in the block."""
    zero = upstream.dtype.type(0.0)
    a, b, c, d = zero, zero, zero, zero
    for i in range(count):
        a += upstream[i] * real[i]
        b += upstream[i] * imaginary[i]
        c += late[i] * real[i]
        d += late[i] * imaginary[i]
    return complex(a, b), complex(c, d)


@njit(cache=True, nogil=True)
def backward(first, last, since, amplitude, rate, counts, top, step, upstream, plain, timed):
    """The sums over time of which `modes._Ring` makes the gradients; they must come in as zeros."""
    kind = upstream.dtype
    real, imaginary, late = np.empty((FOUR, BLOCK), kind), np.empty((FOUR, BLOCK), kind), np.empty(BLOCK, kind)
    place = np.arange(BLOCK).astype(kind)
    start, turn = np.empty(FOUR, np.complex128), np.empty(FOUR, np.complex128)
    for v in range(first, last):
        count = counts[v]
        for k in range(0, top[v], FOUR):
            _prepare(k, top[v], since[v], rate[v], step, start, turn, real, imaginary)
            for begin in range(0, count, BLOCK):
                if not _alive(start):
                    break
                end = min(begin + BLOCK, count)
                pull = upstream[v, begin:end]
                late[: end - begin] = pull * place[: end - begin]
                time = since[v] + begin * step
                for m in range(min(FOUR, top[v] - k)):
                    z, w = _sums(end - begin, real[m], imaginary[m], pull, late)
                    plain[v, k + m] += start[m] * z
                    timed[v, k + m] += start[m] * (time * z + step * w)
                start *= turn
