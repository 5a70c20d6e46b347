"""Filters that ring for longer than the audio lasts, at transforms twice as long as the audio.

A response H sampled at n points of the unit circle wraps what rings longer than n samples around to the start. Sampled
on a circle of radius r > 1 it is the transform of h[t] r^-t, which dies away however slowly h does; so the input is
damped by r^-t, filtered there, and undamped by r^t (the exponential window of numerical transform inversion; Wilcox
1978, "Numerical Laplace transformation and inversion"). What wraps around returns r^-n times as loud.

What decays slower than r^-t would grow instead: a fractional delay must not ring for long. So one is rolled off at the
top by the edge of `resampling`, continued analytically off the unit circle, which leaves 128 samples of ringing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.dsp import fft, linear
from hitchain.blocks.dsp.delays import delay_response

DAMPING = {torch.float32: 95.0, torch.float64: 120.0}
"""By how many dB what wraps around is damped. Half of it, at the end of the audio, multiplies rounding errors."""

SHORTEST = 4096
"""Samples: on shorter transforms the circle would be too large for the edge's series."""

EDGE_CENTRE, EDGE_WIDTH = 0.475, 0.025 / 3.1


class Circle(NamedTuple):
    """Where a response is wanted: z = radius e^{2 pi j k / n_fft}, k = 0 .. n_fft // 2."""

    n_fft: int
    radius: float = 1.0

    def step(self, like: Tensor) -> Tensor:
        """1 / z: complex (bins,)."""
        return _step(self.n_fft, self.radius, like.dtype.to_complex(), like.device)

    def delay(self, samples: Tensor, dtype: torch.dtype) -> Tensor:
        """z^-samples, ideal where it is a fraction: (...) -> complex (..., bins). `samples` is float64."""
        delayed = delay_response(samples, self.n_fft, dtype)
        if self.radius == 1.0:
            return delayed
        return delayed * (self.radius**-samples).to(dtype).unsqueeze(-1)

    def edge(self, like: Tensor) -> Tensor:
        """1 up to 0.45 sample_rate, nothing at 0.5: complex (bins,)."""
        return _edge(self.n_fft, self.radius, like.dtype.to_complex(), like.device)

    def low_pass(self, tangent: Tensor) -> Tensor:
        """A first-order low-pass, K (1 + 1/z) / (1 + K - (1 - K) / z): (..., 1) -> complex (..., bins).

        Args:
            tangent: K = tan(pi f / sample_rate).
        """
        step = self.step(tangent)
        return tangent * (1.0 + step) / ((1.0 + tangent) - (1.0 - tangent) * step)


@lru_cache(maxsize=8)
def _step(n_fft: int, radius: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        one = torch.ones((), dtype=torch.float64, device=device)
        return (delay_response(one, n_fft) / radius).to(dtype)


@lru_cache(maxsize=8)
def _edge(n_fft: int, radius: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """erfc(x - j y) / 2 with x as in `resampling.edge` and y = log(radius) / (2 pi width), by its Taylor series."""
    with torch.inference_mode(False):
        position = torch.arange(n_fft // 2 + 1, dtype=torch.float64, device=device) / n_fft
        x, y = (position - EDGE_CENTRE) / EDGE_WIDTH, math.log(radius) / (2.0 * math.pi * EDGE_WIDTH)
        bell = torch.exp(-x.square()) / math.sqrt(math.pi)
        real = 0.5 * torch.erfc(x) - y**2 * x * bell
        imaginary = (y - y**3 * (2.0 * x.square() - 1.0) / 3.0) * bell
        return torch.complex(real, imaginary).to(dtype)


def filtered(audio: Tensor, response: Callable[[Circle], Tensor], tail: int) -> Tensor:
    """Audio through a filter, cut to its own length.

    Args:
        audio: (batch, channels, samples).
        response: complex (batch or 1, channels or 1, bins) at the points of a circle.
        tail: samples until it has decayed by 90 dB.

    Returns:
        (batch, channels, samples), where one channel meets two the result has two.
    """
    samples = audio.shape[-1]
    if tail <= samples or samples > linear.LONGEST_WHOLE:
        plain = linear.Response(lambda n_fft: response(Circle(n_fft)), tail)
        return linear.apply_responses(audio, [plain])
    n_fft = fft.fast_length(max(2 * samples, SHORTEST))
    radius = 10.0 ** (DAMPING[audio.dtype] / 20.0 / n_fft)
    time = torch.arange(samples, dtype=torch.float64, device=audio.device)
    damped = audio * (radius**-time).to(audio.dtype)
    result = fft.apply_response(damped, response(Circle(n_fft, radius)), n_fft)
    undamped: Tensor = result * (radius**time).to(audio.dtype)
    return undamped
