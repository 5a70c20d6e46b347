"""Compiled response of second-order sections in series, and its gradient, in blocks of bins that stay in cache.

`tasks` count the blocks of all batch items: task = item * blocks + block. A polynomial (p0, p1, p2) has the value
p0 basis[0] + p2 basis[2] + j p1 basis[1]; see `filters.sections_response`. Inner loops run over bins, without branches,
so that the compiler vectorises them. Imported at first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any

BLOCK = 512
"""Bins a task."""


@njit(cache=True, nogil=True)
def response_forward(
    first: int, last: int, numerator: Array, denominator: Array, basis: Array, response: Array
) -> None:
    bins = basis.shape[1]
    blocks = (bins + BLOCK - 1) // BLOCK
    real, imag = np.empty(BLOCK, basis.dtype), np.empty(BLOCK, basis.dtype)
    one = basis.dtype.type(1.0)
    for task in range(first, last):
        item, start = task // blocks, (task % blocks) * BLOCK
        width = min(BLOCK, bins - start)
        real[:] = one
        imag[:] = one - one
        for section in range(numerator.shape[1]):
            n0, n1, n2 = numerator[item, section]
            d0, d1, d2 = denominator[item, section]
            for k in range(width):
                c, s, m = basis[0, start + k], basis[2, start + k], basis[1, start + k]
                nr, ni = n0 * c + n2 * s, n1 * m
                dr, di = d0 * c + d2 * s, d1 * m
                scale = one / (dr * dr + di * di)
                hr, hi = (nr * dr + ni * di) * scale, (ni * dr - nr * di) * scale
                pr, pi = real[k], imag[k]
                real[k], imag[k] = pr * hr - pi * hi, pr * hi + pi * hr
        for k in range(width):
            response[item, start + k] = complex(real[k], imag[k])


@njit(cache=True, nogil=True)
def response_backward(
    first: int, last: int, numerator: Array, denominator: Array, basis: Array, grad: Array, parts: Array
) -> None:
    """parts (tasks, 2, sections, 3): each block's share of the gradient to the numerators and denominators."""
    bins, sections = basis.shape[1], numerator.shape[1]
    blocks = (bins + BLOCK - 1) // BLOCK
    one = basis.dtype.type(1.0)
    h = np.empty((2, sections, BLOCK), basis.dtype)  # each section's response
    inverse = np.empty((2, sections, BLOCK), basis.dtype)  # 1 / denominator
    before = np.empty((2, sections + 1, BLOCK), basis.dtype)  # conj(grad) times the product of the sections so far
    after = np.empty((2, BLOCK), basis.dtype)  # product of the sections to come: a section may be 0, so no division
    for task in range(first, last):
        item, start = task // blocks, (task % blocks) * BLOCK
        width = min(BLOCK, bins - start)
        for k in range(width):
            before[0, 0, k] = grad[item, start + k].real
            before[1, 0, k] = -grad[item, start + k].imag
            after[0, k] = one
            after[1, k] = one - one
        for section in range(sections):
            n0, n1, n2 = numerator[item, section]
            d0, d1, d2 = denominator[item, section]
            for k in range(width):
                c, s, m = basis[0, start + k], basis[2, start + k], basis[1, start + k]
                nr, ni = n0 * c + n2 * s, n1 * m
                dr, di = d0 * c + d2 * s, d1 * m
                scale = one / (dr * dr + di * di)
                ir, ii = dr * scale, -di * scale
                hr, hi = nr * ir - ni * ii, nr * ii + ni * ir
                h[0, section, k], h[1, section, k] = hr, hi
                inverse[0, section, k], inverse[1, section, k] = ir, ii
                br, bi = before[0, section, k], before[1, section, k]
                before[0, section + 1, k], before[1, section + 1, k] = br * hr - bi * hi, br * hi + bi * hr
        for section in range(sections - 1, -1, -1):
            n0 = n1 = n2 = d0 = d1 = d2 = 0.0
            for k in range(width):
                br, bi, ar, ai = before[0, section, k], before[1, section, k], after[0, k], after[1, k]
                rr, ri = br * ar - bi * ai, br * ai + bi * ar
                ir, ii = inverse[0, section, k], inverse[1, section, k]
                tr, ti = rr * ir - ri * ii, rr * ii + ri * ir  # d L / d numerator, as a complex number
                hr, hi = h[0, section, k], h[1, section, k]
                ur, ui = ti * hi - tr * hr, -(tr * hi + ti * hr)  # d L / d denominator
                after[0, k], after[1, k] = ar * hr - ai * hi, ar * hi + ai * hr
                c, s, m = basis[0, start + k], basis[2, start + k], basis[1, start + k]
                n0 += tr * c
                n1 -= ti * m
                n2 += tr * s
                d0 += ur * c
                d1 -= ui * m
                d2 += ur * s
            parts[task, 0, section, 0], parts[task, 0, section, 1], parts[task, 0, section, 2] = n0, n1, n2
            parts[task, 1, section, 0], parts[task, 1, section, 1], parts[task, 1, section, 2] = d0, d1, d2
