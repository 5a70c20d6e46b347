"""Compiled response of a feedback delay network and its gradient; the equations stand in `feedback_network`.

A task is one block of BLOCK bins of one batch item: what it works on stays in the cache. Complex values are split: an
array (2, BLOCK) holds real parts, then imaginary parts. Inner loops run over bins, without branches and with few arrays
each, so that the compiler vectorises them. Imported at first use.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

Array = Any
BLOCK = 512
FAST = {"contract", "nsz", "arcp", "reassoc"}  # lets sums be vectorised; their order is fixed when compiled


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def split(source: Array, width: int, out: Array) -> None:
    """A complex array, in two parts."""
    for k in range(width):
        out[0, k], out[1, k] = source[k].real, source[k].imag


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def multiply(values: Array, factor: Array, width: int) -> None:
    """values = values factor. In place: for an array that is also given as the result, there are no vectors."""
    for k in range(width):
        a, b, x, y = values[0, k], values[1, k], factor[0, k], factor[1, k]
        values[0, k], values[1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def square(values: Array, width: int) -> None:
    for k in range(width):
        a, b = values[0, k], values[1, k]
        values[0, k], values[1, k] = a * a - b * b, (a + a) * b


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def scale(values: Array, factor: complex, width: int) -> None:
    kind = values.dtype.type
    a, b = kind(factor.real), kind(factor.imag)
    for k in range(width):
        x, y = values[0, k], values[1, k]
        values[0, k], values[1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def scaled(source: Array, factor: complex, width: int, out: Array) -> None:
    kind = out.dtype.type
    a, b = kind(factor.real), kind(factor.imag)
    for k in range(width):
        x, y = source[0, k], source[1, k]
        out[0, k], out[1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def invert(source: Array, factor: float, width: int, out: Array) -> None:
    """1 / (1 + factor source)."""
    kind = out.dtype.type
    one, share = kind(1.0), kind(factor)
    for k in range(width):
        x, y = one + share * source[0, k], share * source[1, k]
        inverse = one / (x * x + y * y)
        out[0, k], out[1, k] = x * inverse, -y * inverse


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def first_order(tangent: float, cosine: Array, sine: Array, width: int, out: Array) -> None:
    """K C / (K C + j S), the low-pass of `delays.first_order_response`."""
    kind = out.dtype.type
    one, edge = kind(1.0), kind(tangent)
    for k in range(width):
        c, s = edge * cosine[k], sine[k]
        inverse = one / (c * c + s * s)
        out[0, k], out[1, k] = c * c * inverse, -c * s * inverse


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def furthest(below: Array, width: int) -> float:
    """How far a crossover's low-pass is at most from where it is in the middle of the block.

    It runs along a semicircle in one direction, so that it is furthest at one of the ends.
    """
    middle, end = width // 2, width - 1
    first = math.hypot(below[0, 0] - below[0, middle], below[1, 0] - below[1, middle])
    last = math.hypot(below[0, end] - below[0, middle], below[1, end] - below[1, middle])
    return max(first, last)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def attenuate(
    rates: Array, below_low: Array, below_high: Array, width: int, loss: Array, change: Array
) -> tuple[complex, float]:
    """loss = A from the rates of decay (low, mid, high) and the two crossovers.

    Its value in the middle of the block, change = how A differs from that, and a bound of |change|.
    """
    kind = loss.dtype.type
    low, middle, top = kind(rates[0] - rates[1]), kind(rates[1] - rates[2]), kind(rates[2])
    for k in range(width):
        loss[0, k] = top + middle * below_high[0, k] + low * below_low[0, k]
        loss[1, k] = middle * below_high[1, k] + low * below_low[1, k]
    real, imag = loss[0, width // 2], loss[1, width // 2]
    for k in range(width):
        change[0, k], change[1, k] = loss[0, k] - real, loss[1, k] - imag
    return complex(real, imag), abs(low) * furthest(below_low, width) + abs(middle) * furthest(below_high, width)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def series_step(factor: float, change: Array, width: int, out: Array) -> None:
    """out = 1 + factor change out, a step of Horner's scheme for the exponential."""
    kind = out.dtype.type
    one, step = kind(1.0), kind(factor)
    for k in range(width):
        r, i, x, y = out[0, k], out[1, k], change[0, k], change[1, k]
        out[0, k], out[1, k] = one + step * (r * x - i * y), step * (r * y + i * x)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def exponential(factor: float, change: Array, spread: float, width: int, out: Array) -> bool:
    """out = exp(factor change), to rounding, where |change| <= spread. False if that is 1 and out was left as it was.

    A Taylor series of a part of it, then squared. Written out because a library call would not be vectorised.
    """
    size, squarings = abs(factor) * spread, 0
    while size > 1.0:
        size *= 0.5
        factor *= 0.5
        squarings += 1
    terms, left = 0, size
    while left > (3e-8 if out.itemsize == 4 else 1e-17):
        terms += 1
        left *= size / (terms + 1)
    if terms == 0:
        return False
    out[0, :width], out[1, :width] = out.dtype.type(1.0), out.dtype.type(0.0)
    for term in range(terms, 0, -1):
        series_step(factor / term, change, width, out)
    for _ in range(squarings):
        square(out, width)
    return True


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def lines_through(
    lengths: Array,
    middle: complex,
    change: Array,
    spread: float,
    near: Array,
    far: Array,
    block: int,
    width: int,
    out: Array,
) -> None:
    """D (lines, 2, BLOCK) = e^{-j w m - m A} of one item, with A = middle + change, |change| <= spread.

    near (lines + 1, 2, BLOCK) and far (lines + 1, blocks) are the factors of e^{-j w m}.
    """
    for line in range(len(lengths)):
        length = lengths[line]
        angle = -length * middle.imag
        common = far[line, block] * math.exp(-length * middle.real) * complex(math.cos(angle), math.sin(angle))
        if exponential(-length, change, spread, width, out[line]):
            multiply(out[line], near[line], width)
            scale(out[line], common, width)
        else:
            scaled(near[line], common, width, out[line])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def first_turn_of_two(through: Array, line: int, width: int, carried: Array, product: Array) -> None:
    one = through.dtype.type(1.0)
    for k in range(width):
        a, b, c, d = through[line, 0, k], through[line, 1, k], through[line + 1, 0, k], through[line + 1, 1, k]
        x, y = carried[0, k] + one, carried[1, k]
        x, y = a * x - b * y + one, a * y + b * x
        carried[0, k], carried[1, k] = c * x - d * y, c * y + d * x
        x, y = product[0, k], product[1, k]
        x, y = a * x - b * y, a * y + b * x
        product[0, k], product[1, k] = c * x - d * y, c * y + d * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def line_state(through: Array, line: int, before: int, width: int, states: Array) -> None:
    """s_i = D_i (s_{i-1} + 1)."""
    one = through.dtype.type(1.0)
    for k in range(width):
        a, b = through[line, 0, k], through[line, 1, k]
        x, y = states[before, 0, k] + one, states[before, 1, k]
        states[line, 0, k], states[line, 1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def solve_ring(through: Array, width: int, product: Array, turn: Array, states: Array) -> None:
    """states (lines, 2, BLOCK): s_i = D_i (s_{i-1} + 1) round the ring; turn = 1 / (1 - the product of all D).

    The ring cut open, first; its last state over 1 - product is what comes round; then the turn that counts.
    """
    lines, last = len(through), states[len(through) - 1]
    last[:, :width] = through.dtype.type(0.0)
    product[0, :width], product[1, :width] = through.dtype.type(1.0), through.dtype.type(0.0)
    for pair in range(lines // 2):
        first_turn_of_two(through, 2 * pair, width, last, product)
    invert(product, -1.0, width, turn)
    multiply(last, turn, width)
    for line in range(lines):
        line_state(through, line, line - 1 if line > 0 else lines - 1, width, states)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def add_two(states: Array, line: int, first: float, second: float, width: int, out: Array) -> None:
    for k in range(width):
        out[0, k] += first * states[line, 0, k] + second * states[line + 1, 0, k]
        out[1, k] += first * states[line, 1, k] + second * states[line + 1, 1, k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def combine(weights: Array, states: Array, width: int, out: Array) -> None:
    """The states' weighted sum."""
    out[:, :width] = out.dtype.type(0.0)
    for pair in range(len(states) // 2):
        add_two(states, 2 * pair, weights[2 * pair], weights[2 * pair + 1], width, out)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def write_output(source: Array, factor: Array, direct: float, width: int, out: Array) -> None:
    """out = source factor + direct, as complex numbers."""
    dry = source.dtype.type(direct)
    for k in range(width):
        a, b, x, y = source[0, k], source[1, k], factor[0, k], factor[1, k]
        out[k] = complex(a * x - b * y + dry, a * y + b * x)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def send(feed: Array, near: Array, far: Array, block: int, width: int, out: Array) -> None:
    """What goes before the network: feed e^{-j w delay}, without the gain."""
    lines = len(near) - 1
    split(feed, width, out)
    multiply(out, near[lines], width)
    scale(out, far[lines, block], width)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def network_forward(
    first: int,
    last: int,
    lengths: Array,
    rates: Array,
    tangents: Array,
    mixing: Array,
    near: Array,
    far: Array,
    signs: Array,
    halves: Array,
    feed: Array,
    response: Array,
) -> None:
    """response (batch, 2, bins), complex. mixing (batch, 2): wet and dry."""
    blocks, bins, lines = far.shape[2], halves.shape[1], lengths.shape[1]
    through, states = np.empty((lines, 2, BLOCK), halves.dtype), np.empty((lines, 2, BLOCK), halves.dtype)
    work = np.empty((5, 2, BLOCK), halves.dtype)
    low, high, loss, a, b = work[0], work[1], work[2], work[3], work[4]
    ones = np.ones(lines, halves.dtype)
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * BLOCK
        end = min(start + BLOCK, bins)
        width = end - start
        first_order(tangents[item, 0], halves[0, start:end], halves[1, start:end], width, low)
        first_order(tangents[item, 1], halves[0, start:end], halves[1, start:end], width, high)
        middle, spread = attenuate(rates[item], low, high, width, loss, a)
        lines_through(lengths[item], middle, a, spread, near[item], far[item], block, width, through)
        solve_ring(through, width, a, b, states)
        combine(ones, states, width, a)
        invert(a, 2.0 / lines, width, loss)
        send(feed[start:end], near[item], far[item], block, width, b)
        multiply(b, loss, width)
        scale(b, complex(mixing[item, 0], 0.0), width)
        for output in range(2):
            combine(signs[output], states, width, a)
            write_output(a, b, mixing[item, 1], width, response[item, output, start:end])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def conjugate_times(grad: Array, factor: Array, width: int, out: Array) -> float:
    """out = conj(grad) factor; the sum of grad's real parts."""
    split(grad, width, out)
    total = factor.dtype.type(0.0)
    for k in range(width):
        total += out[0, k]
    for k in range(width):
        a, b, x, y = out[0, k], out[1, k], factor[0, k], factor[1, k]
        out[0, k], out[1, k] = a * x + b * y, a * y - b * x
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def add_product(left: Array, right: Array, width: int, out: Array) -> None:
    for k in range(width):
        a, b, x, y = left[0, k], left[1, k], right[0, k], right[1, k]
        out[0, k] += a * x - b * y
        out[1, k] += a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def sums_over(values: Array, begin: float, step: float, width: int) -> tuple[float, float]:
    """Sum of Re values, and of Im values times their frequency, which grows by `step` from `begin`."""
    kind = values.dtype.type
    origin, rise = kind(begin), kind(step)
    plain, turned = kind(0.0), kind(0.0)
    for k in range(width):
        plain += values[0, k]
        turned += values[1, k] * (origin + rise * kind(k))
    return float(plain), float(turned)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def drive(left: Array, right: Array, back: Array, signs: Array, line: int, width: int, out: Array) -> None:
    """r_i = sign_left_i g_left + sign_right_i g_right - (2/N) (what every line takes from the others)."""
    a, b = signs[0, line], signs[1, line]
    for k in range(width):
        out[line, 0, k] = a * left[0, k] + b * right[0, k] - back[0, k]
        out[line, 1, k] = a * left[1, k] + b * right[1, k] - back[1, k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def line_worth(through: Array, line: int, drives: Array, width: int, carried: Array) -> None:
    """p_i = D_i (p_{i+1} + r_i)."""
    for k in range(width):
        a, b = through[line, 0, k], through[line, 1, k]
        x, y = carried[0, k] + drives[line, 0, k], carried[1, k] + drives[line, 1, k]
        carried[0, k], carried[1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def line_gradient(
    worth: Array, states: Array, before: int, slope: Array, length: float, width: int, total: Array
) -> float:
    """Share of one line in the gradients: h = p_i (s_{i-1} + 1); -Re(h slope) summed; total -= length h."""
    kind = worth.dtype.type
    one, along, size = kind(1.0), kind(0.0), kind(length)
    for k in range(width):
        p, q, u, v = worth[0, k], worth[1, k], states[before, 0, k] + one, states[before, 1, k]
        x, y = p * u - q * v, p * v + q * u
        along += y * slope[1, k] - x * slope[0, k]
        total[0, k] -= size * x
        total[1, k] -= size * y
    return float(along)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def moments(total: Array, below: Array, width: int) -> tuple[float, float]:
    """Sums of Re(t L) and Re(t L (1 - L)), L the crossover's low-pass."""
    kind = total.dtype.type
    one, first, second = kind(1.0), kind(0.0), kind(0.0)
    for k in range(width):
        u, v, x, y = total[0, k], total[1, k], below[0, k], below[1, k]
        p, q = u * x - v * y, u * y + v * x
        first += p
        second += p * (one - x) + q * y
    return float(first), float(second)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def slope_of_lines(loss: Array, inverse: Array, begin: float, step: float, width: int, out: Array) -> None:
    """(A + j w) / (1 + (2/N) sum s)."""
    kind = loss.dtype.type
    origin, rise = kind(begin), kind(step)
    for k in range(width):
        a, b, x, y = loss[0, k], loss[1, k] + (origin + rise * kind(k)), inverse[0, k], inverse[1, k]
        out[0, k], out[1, k] = a * x - b * y, a * y + b * x


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def gradient_of_outputs(
    grad: Array,
    start: int,
    before: Array,
    inverse: Array,
    states: Array,
    signs: Array,
    width: int,
    worth: Array,
    work: Array,
    back: Array,
) -> float:
    """worth[c] = conj(g_c) before; back = the sum over c of worth[c] H_c; the sum of the gradients' real parts."""
    back[:, :width] = back.dtype.type(0.0)
    total = 0.0
    for output in range(2):
        total += conjugate_times(grad[output, start : start + width], before, width, worth[output])
        combine(signs[output], states, width, work)
        add_product(worth[output], work, width, back)
    multiply(back, inverse, width)
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def network_backward(
    first: int,
    last: int,
    lengths: Array,
    rates: Array,
    tangents: Array,
    mixing: Array,
    near: Array,
    far: Array,
    signs: Array,
    halves: Array,
    feed: Array,
    grad: Array,
    step: float,
    parts: Array,
) -> None:
    """parts (tasks, lines + 8): each block's share of the gradients, in the order of `feedback_network._gradients`.

    `step` is the angle from bin to bin. The forward pass is worked out again: that is cheaper than to keep it.
    """
    blocks, bins, lines = far.shape[2], halves.shape[1], lengths.shape[1]
    through, states = np.empty((lines, 2, BLOCK), halves.dtype), np.empty((lines, 2, BLOCK), halves.dtype)
    drives, worth = np.empty((lines, 2, BLOCK), halves.dtype), np.empty((2, 2, BLOCK), halves.dtype)
    work = np.empty((8, 2, BLOCK), halves.dtype)
    low, high, loss, turn = work[0], work[1], work[2], work[3]
    inverse, a, b, back = work[4], work[5], work[6], work[7]
    ones = np.ones(lines, halves.dtype)
    share = 2.0 / lines
    for task in range(first, last):
        item, block = task // blocks, task % blocks
        start = block * BLOCK
        end = min(start + BLOCK, bins)
        width, begin, wet = end - start, step * start, mixing[item, 0]
        first_order(tangents[item, 0], halves[0, start:end], halves[1, start:end], width, low)
        first_order(tangents[item, 1], halves[0, start:end], halves[1, start:end], width, high)
        middle, spread = attenuate(rates[item], low, high, width, loss, a)
        lines_through(lengths[item], middle, a, spread, near[item], far[item], block, width, through)
        solve_ring(through, width, a, turn, states)
        combine(ones, states, width, a)
        invert(a, share, width, inverse)
        send(feed[start:end], near[item], far[item], block, width, b)
        parts[task, lines + 7] = gradient_of_outputs(
            grad[item], start, b, inverse, states, signs, width, worth, a, back
        )
        parts[task, lines + 5], parts[task, lines + 6] = sums_over(back, begin, step, width)
        scale(back, complex(share, 0.0), width)
        for line in range(lines):
            drive(worth[0], worth[1], back, signs, line, width, drives)
        a[:, :width] = a.dtype.type(0.0)
        for line in range(lines - 1, -1, -1):  # the transposed ring cut open, then the turn that counts
            line_worth(through, line, drives, width, a)
        multiply(a, turn, width)
        slope_of_lines(loss, inverse, begin, step, width, turn)
        b[:, :width] = b.dtype.type(0.0)
        for line in range(lines - 1, -1, -1):
            line_worth(through, line, drives, width, a)
            before = line - 1 if line > 0 else lines - 1
            parts[task, line] = wet * line_gradient(a, states, before, turn, lengths[item, line], width, b)
        multiply(b, inverse, width)
        scale(b, complex(wet, 0.0), width)
        parts[task, lines], _ = sums_over(b, 0.0, 0.0, width)
        parts[task, lines + 1], parts[task, lines + 2] = moments(b, low, width)
        parts[task, lines + 3], parts[task, lines + 4] = moments(b, high, width)
