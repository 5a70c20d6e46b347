"""Limits, measured on the same machine: the bare cost of what a row cannot do without."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Contender, backward, compare, milliseconds
from hitchain.blocks.dsp import fft
from hitchain.blocks.dsp.threads import over_rows


def time_of(run: Any, repeats: int) -> float:
    """Median seconds of a bare pass."""
    return compare([Contender("limit", run, 1.0)], repeats)["limit"].seconds


def fft_pair(audio: Tensor, n_fft: int, repeats: int) -> float:
    """[s] of a real FFT, a product with a fixed response and the way back, forward and backward."""
    bins = n_fft // 2 + 1
    response = torch.ones(1, 1, bins, dtype=torch.complex64)

    def process(signal: Tensor, _: dict[str, Tensor]) -> Tensor:
        return fft.apply_response(signal, response, n_fft)

    return time_of(backward(process, audio, {}), repeats)


def short_transforms(rows: int, n_fft: int, repeats: int) -> float:
    """[s] of real FFTs of overlapping frames already laid out, forward and backward."""
    frames = torch.randn(rows, n_fft, requires_grad=True)

    def run() -> None:
        spectrum = torch.fft.rfft(frames)
        torch.autograd.grad(spectrum, frames, torch.ones_like(spectrum))

    return time_of(run, repeats)


def memory_pass(audio: Tensor, repeats: int) -> float:
    """[s] to read the audio once and write as much."""
    out = torch.empty_like(audio)
    return time_of(lambda: torch.mul(audio, 0.5, out=out), repeats)


@numba.njit(nogil=True, fastmath=True)
def _branching(first: int, last: int, level: Any, out: Any) -> None:
    for row in range(first, last):
        state = np.float32(0.0)
        for sample in range(level.shape[1]):
            step = level[row, sample] - state
            state += np.float32(0.01) * step if step > 0 else np.float32(0.001) * step
            out[row, sample] = state


def recursion(rows: int, samples: int, repeats: int) -> float:
    """[s] of a bare one-pole that branches, one multiply-add after the other, over every row; rows on all threads."""
    level = np.random.default_rng(0).random((rows, samples), dtype=np.float32)
    out = np.empty_like(level)
    return time_of(lambda: over_rows(_branching, rows, level, out), repeats)


@numba.njit(nogil=True, fastmath=True)
def _rotations(first: int, last: int, cosine: Any, sine: Any, out: Any) -> None:
    partials = cosine.shape[1]
    for row in range(first, last):
        real = np.ones(partials, dtype=np.float32)
        imaginary = np.zeros(partials, dtype=np.float32)
        for sample in range(out.shape[1]):
            total = np.float32(0.0)
            for k in range(partials):
                c, s = cosine[row, k], sine[row, k]
                x, y = real[k], imaginary[k]
                real[k] = c * x - s * y
                imaginary[k] = s * x + c * y
                total += imaginary[k]
            out[row, sample] = total


def sine_bank(voices: int, partials: int, samples: int, repeats: int) -> float:
    """[s] of bare sines by rotation: four multiplications for each partial and sample, voices on all threads."""
    angle = np.random.default_rng(0).random((voices, partials), dtype=np.float32)
    cosine, sine = np.cos(angle), np.sin(angle)
    out = np.empty((voices, samples), dtype=np.float32)
    return time_of(lambda: over_rows(_rotations, voices, cosine, sine, out), repeats)


def nearness(seconds: float, limit: float) -> str:
    """How near a time is to its limit, for people."""
    return f"{seconds / limit:.2g} times the limit of {milliseconds(limit)}"
