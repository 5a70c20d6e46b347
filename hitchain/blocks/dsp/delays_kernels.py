"""Compiled response of a feedback delay and its gradient; the equation stands in `delays.echo_response`.

A task is one block of BLOCK bins of one batch item. Imported at first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
BLOCK = 512
SUMS = {"contract", "nsz", "arcp", "reassoc"}  # lets sums be vectorised; their order is fixed when compiled


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def echo(near: Array, far: complex, tangent: float, halves: Array, start: int, width: int, out: Array) -> None:
    """out (2, BLOCK): real and imaginary part of E = e^{-j w m} K C / (K C + j S)."""
    kind = out.dtype.type
    edge, fr, fi = kind(tangent), kind(far.real), kind(far.imag)
    cosine, sine = halves[0, start : start + width], halves[1, start : start + width]
    for k in range(width):
        nr, ni, c, s = near[0, k], near[1, k], edge * cosine[k], sine[k]
        scale = c / (c * c + s * s)
        x, y = (fr * nr - fi * ni) * scale, (fr * ni + fi * nr) * scale
        out[0, k], out[1, k] = x * c + y * s, y * c - x * s


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def write_echoes(once: Array, feedback: float, wet: float, dry: float, width: int, out: Array) -> None:
    """out = dry + wet E / (1 - feedback E)."""
    kind = once.dtype.type
    one, share, gain, direct = kind(1.0), kind(feedback), kind(wet), kind(dry)
    for k in range(width):
        x, y = once[0, k], once[1, k]
        a, b = one - share * x, -share * y
        scale = gain / (a * a + b * b)
        out[k] = complex((x * a + y * b) * scale + direct, (y * a - x * b) * scale)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def echoes_forward(
    first: int,
    last: int,
    tangents: Array,
    feedback: Array,
    wet: Array,
    dry: Array,
    near: Array,
    far: Array,
    halves: Array,
    response: Array,
) -> None:
    blocks, bins = far.shape[1], halves.shape[1]
    once = np.empty((2, BLOCK), halves.dtype)
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * BLOCK
        width = min(BLOCK, bins - start)
        echo(near[item], far[item, block], tangents[item], halves, start, width, once)
        write_echoes(once, feedback[item], wet[item], dry[item], width, response[item, start : start + width])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def direct_sums(once: Array, grad: Array, feedback: float, width: int, pulled: Array) -> tuple[float, float, float]:
    """The gradients of dry, wet / wet and feedback / wet; pulled = conj(grad) E / (1 - feedback E)^2."""
    kind = once.dtype.type
    one, share = kind(1.0), kind(feedback)
    dry, wet, back = kind(0.0), kind(0.0), kind(0.0)
    for k in range(width):
        x, y, g, h = once[0, k], once[1, k], grad[k].real, grad[k].imag
        a, b = one - share * x, -share * y
        scale = one / (a * a + b * b)
        a, b = a * scale, -b * scale  # 1 / (1 - feedback E)
        u, v = x * a - y * b, x * b + y * a
        dry += g
        wet += g * u + h * v
        p, q = g * u + h * v, g * v - h * u
        p, q = p * a - q * b, p * b + q * a
        pulled[0, k], pulled[1, k] = p, q
        back += p * x - q * y
    return float(dry), float(wet), float(back)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def echo_sums(pulled: Array, tangent: float, halves: Array, start: int, step: float, width: int) -> tuple[float, float]:
    """With dE/dm = -j w E and dE/dK = E j S / (K C + j S) / K: the gradients of m and K, each over wet."""
    kind = pulled.dtype.type
    edge, begin, rise = kind(tangent), kind(step * start), kind(step)
    cosine, sine = halves[0, start : start + width], halves[1, start : start + width]
    late, bright = kind(0.0), kind(0.0)
    for k in range(width):
        p, q, c, s = pulled[0, k], pulled[1, k], edge * cosine[k], sine[k]
        late += (begin + rise * kind(k)) * q
        bright += (p * s - q * c) * s / (c * c + s * s)
    return float(late), float(bright) / tangent


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def echoes_backward(
    first: int,
    last: int,
    tangents: Array,
    feedback: Array,
    wet: Array,
    dry: Array,
    near: Array,
    far: Array,
    halves: Array,
    grad: Array,
    step: float,
    parts: Array,
) -> None:
    """parts (tasks, 5): each block's share of the gradients of m, K, feedback, wet and dry."""
    blocks, bins = far.shape[1], halves.shape[1]
    once, pulled = np.empty((2, BLOCK), halves.dtype), np.empty((2, BLOCK), halves.dtype)
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * BLOCK
        width, gain = min(BLOCK, bins - start), wet[item]
        echo(near[item], far[item, block], tangents[item], halves, start, width, once)
        direct, whole, back = direct_sums(once, grad[item, start : start + width], feedback[item], width, pulled)
        late, bright = echo_sums(pulled, tangents[item], halves, start, step, width)
        parts[task, 0], parts[task, 1], parts[task, 2] = gain * late, gain * bright, gain * back
        parts[task, 3], parts[task, 4] = whole, direct
