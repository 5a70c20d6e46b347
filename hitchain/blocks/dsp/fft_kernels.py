"""Compiled: the products of a filter's backward pass, in one pass over its spectra. Imported at first use.

Complex arrays come as real ones with a last axis of 2, so that the loops vectorise.
"""

from __future__ import annotations

from typing import Any

from numba import njit

Array = Any

BLOCK = 4096
"""Bins a task."""


@njit(cache=True, nogil=True, fastmath={"contract"})
def filter_backward(
    first: int, last: int, outcome: Array, response: Array, spectrum: Array, grad_response: Array, scale: float
) -> None:
    """outcome (batch, channels, bins, 2) times conj(response), in place; and its product with conj(spectrum), scaled.

    response and grad_response: (batch, channels or 1, bins, 2); where 1, the product is summed over the channels.
    """
    channels, bins = outcome.shape[1], outcome.shape[2]
    blocks = (bins + BLOCK - 1) // BLOCK
    factor = outcome.dtype.type(scale)
    for task in range(first, last):
        item, start = task // blocks, (task % blocks) * BLOCK
        stop = min(start + BLOCK, bins)
        for channel in range(channels):
            own = channel if response.shape[1] > 1 else 0
            gradient, filtered = grad_response[item, own, start:stop], response[item, own, start:stop]
            result, signal = outcome[item, channel, start:stop], spectrum[item, channel, start:stop]
            if channel == own:
                for k in range(stop - start):
                    gr, gi, sr, si = result[k, 0], result[k, 1], signal[k, 0], signal[k, 1]
                    gradient[k, 0] = (gr * sr + gi * si) * factor
                    gradient[k, 1] = (gi * sr - gr * si) * factor
            else:
                for k in range(stop - start):
                    gr, gi, sr, si = result[k, 0], result[k, 1], signal[k, 0], signal[k, 1]
                    gradient[k, 0] += (gr * sr + gi * si) * factor
                    gradient[k, 1] += (gi * sr - gr * si) * factor
            for k in range(stop - start):
                gr, gi, hr, hi = result[k, 0], result[k, 1], filtered[k, 0], filtered[k, 1]
                result[k, 0] = gr * hr + gi * hi
                result[k, 1] = gi * hr - gr * hi
