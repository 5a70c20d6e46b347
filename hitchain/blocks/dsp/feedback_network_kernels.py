"""Compiled response of a feedback delay network and its gradient; the equations stand in `feedback_network`.

A task is one block of bins of one batch item; a block is as long as the table of near phasors, so that each has one far
phasor a line. Inner loops run over bins, without branches, so that the compiler vectorises them. Imported at first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any


@njit(cache=True, nogil=True)
def exponential(
    real: Array, imag: Array, factor: float, largest: float, width: int, out_real: Array, out_imag: Array
) -> None:
    """exp(factor (real + j imag)) elementwise, to rounding: a Taylor series of a part of it, then squared.

    `largest` bounds |real| and |imag|: from it follow how small a part and how many terms. Written out because a
    library call would not be vectorised.
    """
    kind = real.dtype.type
    one = kind(1.0)
    size = abs(factor) * largest * 1.5
    squarings = 0
    while size > 1.0:
        size *= 0.5
        factor *= 0.5
        squarings += 1
    terms, left = 1, size
    while left > (1e-8 if real.itemsize == 4 else 1e-17):
        terms += 1
        left *= size / terms
    out_real[:width] = one
    out_imag[:width] = kind(0.0)
    for term in range(terms, 0, -1):
        step = kind(factor / term)
        for k in range(width):
            r, i, x, y = out_real[k], out_imag[k], real[k], imag[k]
            out_real[k] = one + step * (r * x - i * y)
            out_imag[k] = step * (r * y + i * x)
    for _ in range(squarings):
        for k in range(width):
            r, i = out_real[k], out_imag[k]
            out_real[k] = r * r - i * i
            out_imag[k] = (r + r) * i


@njit(cache=True, nogil=True)
def lines_through(
    lengths: Array, attenuation: Array, near: Array, far: Array, start: int, width: int, block: int, out: Array
) -> None:
    """D (2, lines, block): real and imaginary part of e^{-j w m - m A} of one item."""
    real, imag = np.empty(width, out.dtype), np.empty(width, out.dtype)
    largest = 0.0
    for k in range(width):
        real[k], imag[k] = attenuation[start + k].real, attenuation[start + k].imag
        largest = max(largest, abs(real[k]), abs(imag[k]))
    for line in range(len(lengths)):
        exponential(real, imag, -float(lengths[line]), largest, width, out[0, line], out[1, line])
        fr, fi = far[line, block].real, far[line, block].imag
        for k in range(width):
            nr, ni = near[line, k].real, near[line, k].imag
            pr, pi = fr * nr - fi * ni, fr * ni + fi * nr
            r, i = out[0, line, k], out[1, line, k]
            out[0, line, k], out[1, line, k] = r * pr - i * pi, r * pi + i * pr


@njit(cache=True, nogil=True)
def solve_ring(through: Array, width: int, states: Array) -> None:
    """states (2, lines, block): s_i = D_i (s_{i-1} + 1) round the ring."""
    lines = through.shape[1]
    one = through.dtype.type(1.0)
    product = np.empty((2, width), through.dtype)
    product[0, :] = one
    product[1, :] = one - one
    states[:, lines - 1, :width] = one - one
    for turn in range(2):
        for line in range(lines):
            before = line - 1 if line > 0 else lines - 1
            for k in range(width):
                dr, di = through[0, line, k], through[1, line, k]
                xr, xi = states[0, before, k] + one, states[1, before, k]
                states[0, line, k], states[1, line, k] = dr * xr - di * xi, dr * xi + di * xr
                if turn == 0:
                    pr, pi = product[0, k], product[1, k]
                    product[0, k], product[1, k] = pr * dr - pi * di, pr * di + pi * dr
        if turn == 0:  # what comes round: the last state of the ring cut open, over 1 - product
            for k in range(width):
                xr, xi = states[0, lines - 1, k], states[1, lines - 1, k]
                er, ei = one - product[0, k], -product[1, k]
                scale = one / (er * er + ei * ei)
                states[0, lines - 1, k] = (xr * er + xi * ei) * scale
                states[1, lines - 1, k] = (xi * er - xr * ei) * scale


@njit(cache=True, nogil=True)
def solve_network(through: Array, width: int, states: Array, total: Array) -> None:
    """states (2, lines, block) of the whole network, total (2, block): their sum."""
    lines = through.shape[1]
    one = through.dtype.type(1.0)
    share = through.dtype.type(2.0 / lines)
    solve_ring(through, width, states)
    total[:, :width] = one - one
    for line in range(lines):
        for k in range(width):
            total[0, k] += states[0, line, k]
            total[1, k] += states[1, line, k]
    inverse = np.empty((2, width), through.dtype)
    for k in range(width):
        er, ei = one + share * total[0, k], share * total[1, k]
        scale = one / (er * er + ei * ei)
        ir, ii = er * scale, -ei * scale
        inverse[0, k], inverse[1, k] = ir, ii
        tr, ti = total[0, k], total[1, k]
        total[0, k], total[1, k] = tr * ir - ti * ii, tr * ii + ti * ir
    for line in range(lines):
        for k in range(width):
            sr, si, ir, ii = states[0, line, k], states[1, line, k], inverse[0, k], inverse[1, k]
            states[0, line, k], states[1, line, k] = sr * ir - si * ii, sr * ii + si * ir


@njit(cache=True, nogil=True)
def network_forward(
    first: int,
    last: int,
    lengths: Array,
    attenuation: Array,
    signs: Array,
    near: Array,
    far: Array,
    response: Array,
) -> None:
    size, blocks, bins, lines = near.shape[2], far.shape[2], attenuation.shape[1], lengths.shape[1]
    through, states = np.empty((2, lines, size), signs.dtype), np.empty((2, lines, size), signs.dtype)
    total = np.empty((2, size), signs.dtype)
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * size
        width = min(size, bins - start)
        lines_through(lengths[item], attenuation[item], near[item], far[item], start, width, block, through)
        solve_network(through, width, states, total)
        for output in range(len(signs)):
            total[:, :width] = signs.dtype.type(0.0)
            for line in range(lines):
                sign = signs[output, line]
                for k in range(width):
                    total[0, k] += sign * states[0, line, k]
                    total[1, k] += sign * states[1, line, k]
            for k in range(width):
                response[item, output, start + k] = complex(total[0, k], total[1, k])


@njit(cache=True, nogil=True)
def worth_of_states(signs: Array, grad: Array, start: int, width: int, states: Array, worth: Array) -> None:
    """worth (2, lines, block): what drives the transposed network, sum_c conj(g_c) (sign_ci - (2/N) H_c)."""
    lines = signs.shape[1]
    zero = states.dtype.type(0.0)
    share = states.dtype.type(2.0 / lines)
    back = np.zeros((2, width), states.dtype)
    worth[:, :, :width] = zero
    for output in range(len(signs)):
        for line in range(lines):
            sign = signs[output, line]
            for k in range(width):
                gr, gi = sign * grad[output, start + k].real, -sign * grad[output, start + k].imag
                worth[0, line, k] += gr
                worth[1, line, k] += gi
                sr, si = states[0, line, k], states[1, line, k]
                back[0, k] += gr * sr - gi * si
                back[1, k] += gr * si + gi * sr
    for line in range(lines):
        for k in range(width):
            worth[0, line, k] -= share * back[0, k]
            worth[1, line, k] -= share * back[1, k]


@njit(cache=True, nogil=True)
def solve_transposed_ring(through: Array, width: int, values: Array) -> None:
    """values (2, lines, block), in place: from r to p_i = D_i (p_{i+1} + r_i) round the ring."""
    lines = through.shape[1]
    one = through.dtype.type(1.0)
    carried, product = np.zeros((2, width), through.dtype), np.empty((2, width), through.dtype)
    product[0, :] = one
    product[1, :] = one - one
    for line in range(lines - 1, -1, -1):
        for k in range(width):
            dr, di = through[0, line, k], through[1, line, k]
            xr, xi = carried[0, k] + values[0, line, k], carried[1, k] + values[1, line, k]
            carried[0, k], carried[1, k] = dr * xr - di * xi, dr * xi + di * xr
            pr, pi = product[0, k], product[1, k]
            product[0, k], product[1, k] = pr * dr - pi * di, pr * di + pi * dr
    for k in range(width):
        xr, xi = carried[0, k], carried[1, k]
        er, ei = one - product[0, k], -product[1, k]
        scale = one / (er * er + ei * ei)
        carried[0, k], carried[1, k] = (xr * er + xi * ei) * scale, (xi * er - xr * ei) * scale
    for line in range(lines - 1, -1, -1):
        for k in range(width):
            dr, di = through[0, line, k], through[1, line, k]
            xr, xi = carried[0, k] + values[0, line, k], carried[1, k] + values[1, line, k]
            carried[0, k], carried[1, k] = dr * xr - di * xi, dr * xi + di * xr
            values[0, line, k], values[1, line, k] = carried[0, k], carried[1, k]


@njit(cache=True, nogil=True)
def network_backward(
    first: int,
    last: int,
    lengths: Array,
    attenuation: Array,
    signs: Array,
    near: Array,
    far: Array,
    grad: Array,
    step: float,
    parts: Array,
    grad_attenuation: Array,
) -> None:
    """parts (tasks, lines): each block's share of the gradient to the lengths; `step` is the angle from bin to bin."""
    size, blocks, bins, lines = near.shape[2], far.shape[2], attenuation.shape[1], lengths.shape[1]
    through, states = np.empty((2, lines, size), signs.dtype), np.empty((2, lines, size), signs.dtype)
    worth, total = np.empty((2, lines, size), signs.dtype), np.empty((2, size), signs.dtype)
    one = signs.dtype.type(1.0)
    share = signs.dtype.type(2.0 / lines)
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * size
        width = min(size, bins - start)
        lines_through(lengths[item], attenuation[item], near[item], far[item], start, width, block, through)
        solve_network(through, width, states, total)
        worth_of_states(signs, grad[item], start, width, states, worth)
        solve_transposed_ring(through, width, worth)
        sum_real, sum_imag = np.zeros(width, signs.dtype), np.zeros(width, signs.dtype)
        for line in range(lines):
            before = line - 1 if line > 0 else lines - 1
            length = signs.dtype.type(lengths[item, line])
            along = 0.0
            for k in range(width):
                ur = states[0, before, k] + one - share * total[0, k]
                ui = states[1, before, k] - share * total[1, k]
                pr, pi = worth[0, line, k], worth[1, line, k]
                hr, hi = pr * ur - pi * ui, pr * ui + pi * ur
                sum_real[k] -= length * hr
                sum_imag[k] -= length * hi
                ar, ai = attenuation[item, start + k].real, attenuation[item, start + k].imag
                along += hi * (ai + step * (start + k)) - hr * ar
            parts[task, line] = along
        for k in range(width):
            grad_attenuation[item, start + k] = complex(sum_real[k], -sum_imag[k])
