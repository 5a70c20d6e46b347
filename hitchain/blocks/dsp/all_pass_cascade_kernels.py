"""Compiled cascade of all-pass stages in a feedback loop, and its adjoint; see `all_pass_cascade`.

States are held in float64. The backward pass computes a block's states again from those at its start, which are all
that is kept. Imported at first use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
BLOCK = 256
CONTRACT = {"contract"}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=CONTRACT)
def run_block(audio: Array, gain: Array, feedback: Array, step: int, begin: int, state: Array, kept: Array) -> None:
    """Moves `state` (stages + 1: theirs, and the last output) on; `kept` (count, 2 stages + 1) gets, for each sample,
    what goes into each stage, the output, and each stage's state before it."""
    stages = state.size - 1
    for i in range(audio.size):
        signal = audio[i] + feedback[step * (begin + i)] * state[stages]
        g = 2.0 * gain[i]
        for n in range(stages):
            before = state[n]
            kept[i, n] = signal
            kept[i, stages + 1 + n] = before
            after = before + g * (signal - before)
            state[n] = after
            signal = after + before - signal
        kept[i, stages] = signal
        state[stages] = signal


@njit(cache=True, nogil=True, error_model="numpy")
def cascade_forward(
    first: int, last: int, audio: Array, gain: Array, feedback: Array, output: Array, states: Array
) -> None:
    """`feedback` has one column, or one a sample. `states` (rows, blocks, stages + 1): before each block."""
    samples, stages = audio.shape[1], states.shape[2] - 1
    step = int(feedback.shape[1] > 1)
    kept, state = np.empty((BLOCK, 2 * stages + 1)), np.empty(stages + 1)
    for row in range(first, last):
        state[:] = 0.0
        for begin in range(0, samples, BLOCK):
            end = min(begin + BLOCK, samples)
            states[row, begin // BLOCK] = state
            run_block(audio[row, begin:end], gain[row, begin:end], feedback[row], step, begin, state, kept)
            for t in range(begin, end):
                output[row, t] = kept[t - begin, stages]


@njit(cache=True, nogil=True, error_model="numpy")
def cascade_backward(
    first: int,
    last: int,
    audio: Array,
    gain: Array,
    feedback: Array,
    states: Array,
    grad: Array,
    d_audio: Array,
    d_gain: Array,
    d_feedback: Array,
) -> None:
    samples, stages = audio.shape[1], states.shape[2] - 1
    step = int(feedback.shape[1] > 1)
    kept, state, adjoint = np.empty((BLOCK, 2 * stages + 1)), np.empty(stages + 1), np.empty(stages + 1)
    for row in range(first, last):
        adjoint[:] = 0.0
        total = 0.0
        for block in range((samples + BLOCK - 1) // BLOCK - 1, -1, -1):
            begin, end = block * BLOCK, min((block + 1) * BLOCK, samples)
            state[:] = states[row, block]
            run_block(audio[row, begin:end], gain[row, begin:end], feedback[row], step, begin, state, kept)
            for t in range(end - 1, begin - 1, -1):
                i = t - begin
                upstream = grad[row, t] + adjoint[stages]
                g, of_gain = 2.0 * float(gain[row, t]), 0.0
                for n in range(stages - 1, -1, -1):
                    both = adjoint[n] + upstream  # the state after this sample counts for the next, and for the output
                    adjoint[n] = upstream + (1.0 - g) * both
                    of_gain += 2.0 * both * (kept[i, n] - kept[i, stages + 1 + n])
                    upstream = g * both - upstream
                d_audio[row, t] = upstream
                d_gain[row, t] = of_gain
                back = float(feedback[row, step * t])
                before = kept[i - 1, stages] if i > 0 else states[row, block, stages]
                share = upstream * before
                if step:
                    d_feedback[row, t] = share
                total += share
                adjoint[stages] = back * upstream
        if not step:
            d_feedback[row, 0] = total
