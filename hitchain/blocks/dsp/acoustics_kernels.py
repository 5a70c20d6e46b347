"""Compiled response of a microphone to several waves and its gradient; the equations stand in `acoustics`.

A task is one block of BLOCK bins of one batch item. Complex values are split: an array (2, BLOCK) holds real parts,
then imaginary parts. Inner loops are short, without branches and with few arrays each, so that the compiler vectorises
them. Imported at first use.

The arrays that both passes take, of each item: waves (4, paths), as `acoustics._amplitudes` gives them; weights
(types,); near (paths, 2, BLOCK) and far (paths, blocks), the factors of the waves' delays. And of all: squares (bins,),
f^2; losses (bins,), the air's [nepers/m]; closeness (2, bins), q; curves (types, 2, bins); sizes (types,), b.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

Array = Any
BLOCK = 512
SUMS = {"contract", "nsz", "arcp", "reassoc"}  # lets sums be vectorised; their order is fixed when compiled


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def series_step(factor: float, losses: Array, middle: float, width: int, out: Array) -> None:
    """out = 1 + factor (losses - middle) out."""
    kind = out.dtype.type
    one, step, centre = kind(1.0), kind(factor), kind(middle)
    for k in range(width):
        out[k] = one + step * (losses[k] - centre) * out[k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def travel(near: Array, far: complex, distance: float, losses: Array, width: int, work: Array, out: Array) -> None:
    """out = e^{-r (loss + j w / c)}: by a table in phase, by the middle's value and a Taylor series in loss."""
    kind = out.dtype.type
    middle = float(losses[width // 2])  # losses grow with frequency: they are furthest from it at an end
    size = distance * max(abs(float(losses[width - 1]) - middle), abs(float(losses[0]) - middle))
    terms, left = 0, size
    while left > (3e-8 if out.itemsize == 4 else 1e-17):
        terms += 1
        left *= size / (terms + 1)
    work[:width] = kind(1.0)
    for term in range(terms, 0, -1):
        series_step(-distance / term, losses, middle, width, work)
    common = far * math.exp(-distance * middle)
    fr, fi = kind(common.real), kind(common.imag)
    for k in range(width):
        x, y = near[0, k], near[1, k]
        out[0, k], out[1, k] = (fr * x - fi * y) * work[k], (fr * y + fi * x) * work[k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def sound(flat: float, close: float, closeness: Array, way: Array, width: int, out: Array) -> None:
    """out = (flat + close q) way."""
    kind = out.dtype.type
    even, rise = kind(flat), kind(close)
    real, imag = closeness[0], closeness[1]
    for k in range(width):
        a, b, x, y = even + rise * real[k], rise * imag[k], way[0, k], way[1, k]
        out[0, k], out[1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def split(source: Array, width: int, out: Array) -> None:
    for k in range(width):
        out[0, k], out[1, k] = source[k].real, source[k].imag


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def add_through_capsule(wave: Array, squares: Array, size: float, width: int, out: Array) -> None:
    """out += wave / (1 + size f^2)."""
    kind = out.dtype.type
    one, large = kind(1.0), kind(size)
    for k in range(width):
        loss = one / (one + large * squares[k])
        out[0, k] += wave[0, k] * loss
        out[1, k] += wave[1, k] * loss


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def add_weighted(weight: float, curve: Array, heard: Array, width: int, out: Array) -> None:
    share = out.dtype.type(weight)
    for k in range(width):
        a, b, x, y = curve[0, k], curve[1, k], heard[0, k], heard[1, k]
        out[0, k] += share * (a * x - b * y)
        out[1, k] += share * (a * y + b * x)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def join(source: Array, width: int, out: Array) -> None:
    for k in range(width):
        out[k] = complex(source[0, k], source[1, k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def heard_forward(
    first: int,
    last: int,
    waves: Array,
    weights: Array,
    diffuse: Array,
    near: Array,
    far: Array,
    squares: Array,
    losses: Array,
    closeness: Array,
    curves: Array,
    sizes: Array,
    response: Array,
) -> None:
    paths, blocks, bins = waves.shape[2], far.shape[2], len(squares)
    work = np.empty((3, 2, BLOCK), squares.dtype)
    way, heard, total = work[0], work[1], work[2]
    arriving = np.empty((paths, 2, BLOCK), squares.dtype)
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * BLOCK
        end = min(start + BLOCK, bins)
        width = end - start
        for path in range(paths):
            flat, close, distance = waves[item, 0, path], waves[item, 1, path], waves[item, 2, path]
            travel(near[item, path], far[item, path, block], distance, losses[start:end], width, heard[0], way)
            sound(flat, close, closeness[:, start:end], way, width, arriving[path])
        total[:, :] = squares.dtype.type(0.0)
        for kind in range(len(sizes)):
            split(diffuse[item, start:end], width, heard)
            for path in range(paths):
                size = sizes[kind] * waves[item, 3, path]
                add_through_capsule(arriving[path], squares[start:end], size, width, heard)
            add_weighted(weights[item, kind], curves[kind, :, start:end], heard, width, total)
        join(total, width, response[item, start:end])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def pull(grad: Array, curve: Array, width: int, out: Array) -> None:
    """out = conj(grad) curve."""
    for k in range(width):
        a, b, x, y = grad[k].real, grad[k].imag, curve[0, k], curve[1, k]
        out[0, k], out[1, k] = a * x + b * y, a * y - b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def real_sum(left: Array, right: Array, width: int) -> float:
    """The sum of Re (left right)."""
    total = left.dtype.type(0.0)
    for k in range(width):
        total += left[0, k] * right[0, k] - left[1, k] * right[1, k]
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def add_scaled(weight: float, source: Array, width: int, out: Array) -> None:
    share = out.dtype.type(weight)
    for k in range(width):
        out[0, k] += share * source[0, k]
        out[1, k] += share * source[1, k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def capsule_back(
    pulled: Array, weight: float, wave: Array, squares: Array, size: float, width: int, worth: Array
) -> float:
    """worth += weight pulled L, L = 1 / (1 + size f^2); the gradient of the size, -Re(weight pulled wave f^2 L^2)."""
    kind = worth.dtype.type
    one, share, large, total = kind(1.0), kind(weight), kind(size), kind(0.0)
    for k in range(width):
        loss = one / (one + large * squares[k])
        x, y = share * pulled[0, k] * loss, share * pulled[1, k] * loss
        worth[0, k] += x
        worth[1, k] += y
        total -= (x * wave[0, k] - y * wave[1, k]) * squares[k] * loss
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def wave_sums(worth: Array, way: Array, closeness: Array, width: int) -> tuple[float, float]:
    """Sums of Re (worth way) and of Re (worth way q)."""
    kind = worth.dtype.type
    even, close = kind(0.0), kind(0.0)
    real, imag = closeness[0], closeness[1]
    for k in range(width):
        a, b, x, y = worth[0, k], worth[1, k], way[0, k], way[1, k]
        x, y = a * x - b * y, a * y + b * x
        even += x
        close += x * real[k] - y * imag[k]
    return float(even), float(close)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def distance_sum(worth: Array, wave: Array, losses: Array, begin: float, step: float, width: int) -> float:
    """The sum of -Re (worth wave (loss + j w / c)); `begin` and `step` are of w / c."""
    kind = worth.dtype.type
    origin, rise, total = kind(begin), kind(step), kind(0.0)
    for k in range(width):
        a, b, x, y = worth[0, k], worth[1, k], wave[0, k], wave[1, k]
        total += (a * y + b * x) * (origin + rise * kind(k)) - (a * x - b * y) * losses[k]
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def heard_backward(
    first: int,
    last: int,
    waves: Array,
    weights: Array,
    diffuse: Array,
    near: Array,
    far: Array,
    squares: Array,
    losses: Array,
    closeness: Array,
    curves: Array,
    sizes: Array,
    grad: Array,
    step: float,
    grad_diffuse: Array,
    parts: Array,
) -> None:
    """grad_diffuse, and parts (tasks, 4 paths + types): each block's share in the gradients of waves and weights.

    `step` is of w / c from bin to bin.
    """
    paths, blocks, bins = waves.shape[2], far.shape[2], len(squares)
    work = np.empty((4, 2, BLOCK), squares.dtype)
    heard, pulled, spread, scratch = work[0], work[1], work[2], work[3]
    ways, arriving = np.empty((paths, 2, BLOCK), squares.dtype), np.empty((paths, 2, BLOCK), squares.dtype)
    worth = np.empty((paths, 2, BLOCK), squares.dtype)
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * BLOCK
        end = min(start + BLOCK, bins)
        width = end - start
        for path in range(paths):
            flat, close, distance = waves[item, 0, path], waves[item, 1, path], waves[item, 2, path]
            travel(near[item, path], far[item, path, block], distance, losses[start:end], width, scratch[0], ways[path])
            sound(flat, close, closeness[:, start:end], ways[path], width, arriving[path])
        worth[:, :, :], spread[:, :] = squares.dtype.type(0.0), squares.dtype.type(0.0)
        parts[task, :] = 0.0
        for kind in range(len(sizes)):
            weight = weights[item, kind]
            pull(grad[item, start:end], curves[kind, :, start:end], width, pulled)
            split(diffuse[item, start:end], width, heard)
            for path in range(paths):
                size = sizes[kind] * waves[item, 3, path]
                add_through_capsule(arriving[path], squares[start:end], size, width, heard)
                parts[task, 3 * paths + path] += sizes[kind] * capsule_back(
                    pulled, weight, arriving[path], squares[start:end], size, width, worth[path]
                )
            parts[task, 4 * paths + kind] = real_sum(pulled, heard, width)
            add_scaled(weight, pulled, width, spread)
        for path in range(paths):
            even, close = wave_sums(worth[path], ways[path], closeness[:, start:end], width)
            parts[task, path], parts[task, paths + path] = even, close
            parts[task, 2 * paths + path] = distance_sum(
                worth[path], arriving[path], losses[start:end], step * start, step, width
            )
        for k in range(width):
            spread[1, k] = -spread[1, k]
        join(spread, width, grad_diffuse[item, start:end])
