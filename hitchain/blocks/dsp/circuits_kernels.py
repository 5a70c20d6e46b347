"""The compiled loops of the circuits on CPU, for rows or items first <= row < last. Imported at first use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
BLOCK = 512
SUMS = {"contract", "nsz", "arcp", "reassoc"}  # lets sums be vectorised; their order is fixed when compiled


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def band_pass(
    first: int, last: int, source: Array, blocking: float, passing: float, backwards: bool, target: Array
) -> None:
    """A one-pole high-pass and a one-pole low-pass; backwards in time it is its own adjoint. State in float64.

    Four stretches of a row at once, each as if silence went before: the processor would else wait for one sample's
    state before it begins the next. Then what rings on from one stretch into the next is added.
    """
    samples = source.shape[1]
    stretch = samples // 4
    for row in range(first, last):
        origin, step = (samples - 1, -1) if backwards else (0, 1)
        here, there = source[row], target[row]
        slow0, slow1, slow2, slow3, fast0, fast1, fast2, fast3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(stretch):
            t0 = origin + step * i
            t1, t2, t3 = t0 + step * stretch, t0 + 2 * step * stretch, t0 + 3 * step * stretch
            x0, x1, x2, x3 = float(here[t0]), float(here[t1]), float(here[t2]), float(here[t3])
            slow0 += blocking * (x0 - slow0)
            slow1 += blocking * (x1 - slow1)
            slow2 += blocking * (x2 - slow2)
            slow3 += blocking * (x3 - slow3)
            fast0 += passing * (x0 - slow0 - fast0)
            fast1 += passing * (x1 - slow1 - fast1)
            fast2 += passing * (x2 - slow2 - fast2)
            fast3 += passing * (x3 - slow3 - fast3)
            there[t0], there[t1], there[t2], there[t3] = fast0, fast1, fast2, fast3
        slow, fast = ring_on(slow0, fast0, blocking, passing, origin + step * stretch, step, stretch, there)
        slow, fast = slow + slow1, fast + fast1
        slow, fast = ring_on(slow, fast, blocking, passing, origin + 2 * step * stretch, step, stretch, there)
        slow, fast = slow + slow2, fast + fast2
        slow, fast = ring_on(slow, fast, blocking, passing, origin + 3 * step * stretch, step, stretch, there)
        slow, fast = slow + slow3, fast + fast3
        for i in range(4 * stretch, samples):
            level = float(here[origin + step * i])
            slow += blocking * (level - slow)
            fast += passing * (level - slow - fast)
            there[origin + step * i] = fast


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def ring_on(
    slow: float, fast: float, blocking: float, passing: float, begin: int, step: int, samples: int, target: Array
) -> tuple[float, float]:
    """Add what two states ring through `samples` of silence; how much of them is left.

        slow[t] = a^t slow,   fast[t] = b^t fast - passing slow (a^t + a^(t-1) b + ... + a b^(t-1))

    with a = 1 - blocking, b = 1 - passing. From where that is nothing, even in float64, nothing is added.
    """
    kept, passed = 1.0 - blocking, 1.0 - passing
    for i in range(samples):
        if abs(slow) < 1e-24 and abs(fast) < 1e-24:
            return 0.0, 0.0
        slow *= kept
        fast = passed * fast - passing * slow
        target[begin + step * i] += fast
    return slow, fast


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def filter_spectrum(
    first: int,
    last: int,
    spectrum: Array,
    numerator: Array,
    denominator: Array,
    constant: Array,
    step: float,
    turn: float,
    result: Array,
) -> None:
    """result = constant numerator(s) / denominator(s) spectrum, (items, channels, bins), at s = j step k.

    With turn = -1 by the conjugate of that, its adjoint.
    """
    kind = numerator.dtype.type
    one, rise, sign = kind(1.0), kind(step), kind(turn)
    for item in range(first, last):
        n0, n1, n2, n3 = numerator[item, 0], numerator[item, 1], numerator[item, 2], numerator[item, 3]
        d0, d1, d2, d3 = denominator[item, 0], denominator[item, 1], denominator[item, 2], denominator[item, 3]
        for channel in range(spectrum.shape[1]):
            source, target = spectrum[item, channel], result[item, channel]
            for k in range(len(constant)):
                w = rise * kind(k)
                square = w * w
                a, b, c, d = n0 - n2 * square, w * (n1 - n3 * square), d0 - d2 * square, w * (d1 - d3 * square)
                scale = one / (c * c + d * d)
                x, y = (a * c + b * d) * scale, (b * c - a * d) * scale
                c, d = constant[k].real, constant[k].imag
                a, b = x * c - y * d, (x * d + y * c) * sign
                x, y = source[k].real, source[k].imag
                target[k] = complex(x * a - y * b, x * b + y * a)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def coefficient_gradients(
    first: int,
    last: int,
    spectrum: Array,
    numerator: Array,
    denominator: Array,
    constant: Array,
    step: float,
    grad: Array,
    sums: Array,
) -> None:
    """The gradients of the coefficients, numerator's then denominator's: sums (items, 8).

    With P = conj(grad) spectrum constant / denominator(s) and Q = P numerator(s) / denominator(s), these are the sums
    of Re P s^n and of -Re Q s^n.
    """
    kind = numerator.dtype.type
    one, rise, zero = kind(1.0), kind(step), kind(0.0)
    for item in range(first, last):
        n0, n1, n2, n3 = numerator[item, 0], numerator[item, 1], numerator[item, 2], numerator[item, 3]
        d0, d1, d2, d3 = denominator[item, 0], denominator[item, 1], denominator[item, 2], denominator[item, 3]
        for channel in range(spectrum.shape[1]):
            for begin in range(0, len(constant), BLOCK):
                end = min(begin + BLOCK, len(constant))
                source, given, fixed = (
                    spectrum[item, channel, begin:end],
                    grad[item, channel, begin:end],
                    constant[begin:end],
                )
                p0, p1, p2, p3, q0, q1, q2, q3 = zero, zero, zero, zero, zero, zero, zero, zero
                for k in range(end - begin):
                    w = rise * kind(begin + k)
                    square = w * w
                    a, b, c, d = n0 - n2 * square, w * (n1 - n3 * square), d0 - d2 * square, w * (d1 - d3 * square)
                    scale = one / (c * c + d * d)
                    c, d = c * scale, -d * scale  # 1 / denominator
                    x, y = given[k].real, given[k].imag
                    u, v = source[k].real, source[k].imag
                    u, v = x * u + y * v, x * v - y * u
                    x, y = fixed[k].real, fixed[k].imag
                    u, v = u * x - v * y, u * y + v * x
                    u, v = u * c - v * d, u * d + v * c  # P
                    p0 += u
                    p1 -= w * v
                    p2 -= square * u
                    p3 += square * w * v
                    c, d = a * c - b * d, a * d + b * c
                    u, v = u * c - v * d, u * d + v * c  # Q
                    q0 -= u
                    q1 += w * v
                    q2 += square * u
                    q3 -= square * w * v
                for n, value in enumerate((p0, p1, p2, p3, q0, q1, q2, q3)):
                    sums[item, n] += value


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def one_section(coefficients: Array, axis: Array, width: int, ratio: Array, inverse: Array) -> None:
    """ratio (2, BLOCK) = (n0 + n1 s + n2 s^2) / (d0 + d1 s + d2 s^2) at s = j axis; inverse: of the denominator."""
    kind = ratio.dtype.type
    one = kind(1.0)
    n0, n1, n2 = kind(coefficients[0]), kind(coefficients[1]), kind(coefficients[2])
    d0, d1, d2 = kind(coefficients[3]), kind(coefficients[4]), kind(coefficients[5])
    for k in range(width):
        w = axis[k]
        square = w * w
        a, b, c, d = n0 - n2 * square, n1 * w, d0 - d2 * square, d1 * w
        scale = one / (c * c + d * d)
        c, d = c * scale, -d * scale
        inverse[0, k], inverse[1, k] = c, d
        ratio[0, k], ratio[1, k] = a * c - b * d, a * d + b * c


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def product(left: Array, right: Array, width: int, out: Array) -> None:
    for k in range(width):
        a, b, x, y = left[0, k], left[1, k], right[0, k], right[1, k]
        out[0, k], out[1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def sections_before(
    coefficients: Array, axis: Array, width: int, ratios: Array, inverses: Array, products: Array
) -> None:
    """products (sections + 1, 2, BLOCK): of the ratios of all sections before."""
    products[0, 0, :width], products[0, 1, :width] = products.dtype.type(1.0), products.dtype.type(0.0)
    for section in range(len(coefficients)):
        one_section(coefficients[section], axis, width, ratios[section], inverses[section])
        product(products[section], ratios[section], width, products[section + 1])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def sections_forward(first: int, last: int, coefficients: Array, axis: Array, response: Array) -> None:
    """response (items, bins), complex; a task is one block of bins of one item."""
    sections, bins = coefficients.shape[1], len(axis)
    blocks = -(-bins // BLOCK)
    work = np.empty((3, sections + 1, 2, BLOCK), axis.dtype)
    for task in range(first, last):
        item, begin = task // blocks, task % blocks * BLOCK
        end = min(begin + BLOCK, bins)
        sections_before(coefficients[item], axis[begin:end], end - begin, work[0], work[1], work[2])
        whole, target = work[2, sections], response[item, begin:end]
        for k in range(end - begin):
            target[k] = complex(whole[0, k], whole[1, k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def section_sums(pulled: Array, inverse: Array, ratio: Array, axis: Array, width: int, sums: Array) -> None:
    """With P = pulled inverse: sums of Re P s^n, and of -Re P ratio s^n, for n = 0, 1, 2 at s = j axis."""
    zero = pulled.dtype.type(0.0)
    p0, p1, p2, q0, q1, q2 = zero, zero, zero, zero, zero, zero
    for k in range(width):
        a, b, x, y = pulled[0, k], pulled[1, k], inverse[0, k], inverse[1, k]
        u, v, w = a * x - b * y, a * y + b * x, axis[k]
        p0 += u
        p1 -= w * v
        p2 -= w * w * u
        x, y = ratio[0, k], ratio[1, k]
        u, v = u * x - v * y, u * y + v * x
        q0 -= u
        q1 += w * v
        q2 += w * w * u
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5] = p0, p1, p2, q0, q1, q2


@njit(cache=True, nogil=True, error_model="numpy", fastmath=SUMS)
def sections_backward(first: int, last: int, coefficients: Array, axis: Array, grad: Array, parts: Array) -> None:
    """parts (tasks, sections, 6): each block's share in the gradients of the coefficients."""
    sections, bins = coefficients.shape[1], len(axis)
    blocks = -(-bins // BLOCK)
    work = np.empty((3, sections + 1, 2, BLOCK), axis.dtype)
    ratios, inverses, products = work[0], work[1], work[2]
    spare = np.empty((3, 2, BLOCK), axis.dtype)
    for task in range(first, last):
        item, begin = task // blocks, task % blocks * BLOCK
        end = min(begin + BLOCK, bins)
        width, given, here = end - begin, grad[item, begin:end], axis[begin:end]
        sections_before(coefficients[item], here, width, ratios, inverses, products)
        after, pulled = spare[0], spare[2]
        for k in range(width):
            after[0, k], after[1, k] = given[k].real, -given[k].imag
        for section in range(sections - 1, -1, -1):  # conj(grad) times all sections after this one, then all but it
            product(after, products[section], width, pulled)
            section_sums(pulled, inverses[section], ratios[section], here, width, parts[task, section])
            beyond = spare[1] if (sections - section) % 2 == 1 else spare[0]
            product(after, ratios[section], width, beyond)
            after = beyond
