"""The compiled loop of `hitchain.dither`: each sample's error goes into the next ones. Imported at first use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any


@njit(nogil=True, cache=True)
def shaped(scaled: Array, dither: Array, coefficients: Array, steps: int) -> Array:
    """Rounded with error feedback: (channels, samples) in steps -> int32.

    What clipping cuts off is no error to be made up for: only the rounding's is fed back.
    """
    channels, samples = scaled.shape
    taps = len(coefficients)
    out = np.empty((channels, samples), dtype=np.int32)
    for channel in range(channels):
        errors = np.zeros(taps)
        for n in range(samples):
            wanted = scaled[channel, n]
            for k in range(taps):
                wanted -= coefficients[k] * errors[k]
            rounded = np.rint(wanted + dither[channel, n])
            for k in range(taps - 1, 0, -1):
                errors[k] = errors[k - 1]
            errors[0] = rounded - wanted
            out[channel, n] = min(max(rounded, -steps), steps - 1)
    return out
