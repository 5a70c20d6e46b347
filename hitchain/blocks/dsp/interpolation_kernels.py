"""The inner loops of reading between samples, compiled. Imported only when first used, since numba is slow to load."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (numba infers the types from the arrays)

from __future__ import annotations

import math

import numpy as np
from numba import njit

FAST = {"reassoc", "contract", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def place(begin, step, index, let_go, loop_start, loop_end):
    """Where voice sample `index` reads: within the loop until the key is let go, from there straight on."""
    position = begin + step * index
    size = loop_end - loop_start
    if size > 0.0:
        turning = position if index < let_go else begin + step * let_go
        if turning >= loop_end:
            position -= size * math.floor((turning - loop_start) / size)
    return position


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def read_forward(first, last, source, cubics, begin, step, count, let_go, loop_start, loop_end, audio):
    """audio[voice, channel, n] is the source weighed by what each tap's cubic is at the place between two samples."""
    phases, _, taps = cubics.shape
    length = source.shape[1]
    for voice in range(first, last):
        audio[voice, :, count[voice] :] = 0.0
        for index in range(count[voice]):
            position = place(begin[voice], step[voice], index, let_go[voice], loop_start, loop_end)
            whole = np.int64(math.floor(position))
            left = whole - taps // 2 + 1
            if left < 0 or left + taps > length:
                audio[voice, :, index] = 0.0
                continue
            fine = (position - whole) * phases
            phase = min(np.int64(fine), phases - 1)
            x = source.dtype.type(fine - phase)
            c0, c1, c2, c3 = cubics[phase, 0], cubics[phase, 1], cubics[phase, 2], cubics[phase, 3]
            for channel in range(source.shape[0]):
                stretch = source[channel, left : left + taps]
                total = source.dtype.type(0.0)
                for tap in range(taps):
                    total += (c0[tap] + x * (c1[tap] + x * (c2[tap] + x * c3[tap]))) * stretch[tap]
                audio[voice, channel, index] = total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def read_backward(first, last, source, cubics, begin, step, count, let_go, loop_start, loop_end, upstream, gradients):
    """gradients[0] with respect to `begin`, gradients[1] to `step`."""
    phases, _, taps = cubics.shape
    length = source.shape[1]
    for voice in range(first, last):
        by_begin, by_step = 0.0, 0.0
        for index in range(count[voice]):
            position = place(begin[voice], step[voice], index, let_go[voice], loop_start, loop_end)
            whole = np.int64(math.floor(position))
            left = whole - taps // 2 + 1
            if left < 0 or left + taps > length:
                continue
            fine = (position - whole) * phases
            phase = min(np.int64(fine), phases - 1)
            x = source.dtype.type(fine - phase)
            twice, thrice = 2 * x, 3 * x
            c1, c2, c3 = cubics[phase, 1], cubics[phase, 2], cubics[phase, 3]
            for channel in range(source.shape[0]):
                stretch = source[channel, left : left + taps]
                total = source.dtype.type(0.0)
                for tap in range(taps):
                    total += (c1[tap] + twice * c2[tap] + x * thrice * c3[tap]) * stretch[tap]
                change = phases * total * upstream[voice, channel, index]
                by_begin += change
                by_step += change * index
        gradients[0, voice], gradients[1, voice] = by_begin, by_step
