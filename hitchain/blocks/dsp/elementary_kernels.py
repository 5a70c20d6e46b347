"""Exponential and logarithm for compiled loops: polynomials, to the last bit or two of float64.

The C library's functions are called for one sample at a time. These are plain arithmetic, which the compiler does for
as many samples at once as the processor's registers hold: some ten times faster.

Not inlined by Numba: a caller may let sums be reordered, which would undo the rounding by adding and subtracting
_ROUND. So compiled apart, they keep their own rules; LLVM inlines them all the same.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

PLAIN = {"contract", "nsz"}
"""What a loop of dynamics may do with its arithmetic: fused multiply-add."""

SUMS = {"contract", "nsz", "reassoc"}
"""Sums in vector lanes as well: their order is fixed when compiled, so results repeat."""

_ROUND = 6755399441055744.0  # 1.5 * 2^52: added, leaves a whole number in the low bits
_ROUND_BITS = 0x4338000000000000
_ROOT_HALF_BITS = 0x3FE6A09E667F3BCD  # of sqrt(1/2)
_MANTISSA = 0xFFFFFFFFFFFFF
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # its first 33 bits, and the rest
_PER_LN2 = 1.0 / math.log(2.0)
_LARGEST = 700.0


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def exp(x: float) -> float:
    """e^x for |x| <= 700, beyond which x is taken as 700: 2^k times the Taylor series of what is left, |r| < 0.35."""
    x = min(max(x, -_LARGEST), _LARGEST)
    shifted = x * _PER_LN2 + _ROUND
    whole = shifted - _ROUND
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    series = 1.0 / 6227020800.0
    series = series * r + 1.0 / 479001600.0
    series = series * r + 1.0 / 39916800.0
    series = series * r + 1.0 / 3628800.0
    series = series * r + 1.0 / 362880.0
    series = series * r + 1.0 / 40320.0
    series = series * r + 1.0 / 5040.0
    series = series * r + 1.0 / 720.0
    series = series * r + 1.0 / 120.0
    series = series * r + 1.0 / 24.0
    series = series * r + 1.0 / 6.0
    series = series * r + 0.5
    series = series * r + 1.0
    series = series * r + 1.0
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return series * power


@njit(fastmath=PLAIN, error_model="numpy", nogil=True, cache=True)
def log(x: float) -> float:
    """ln x for x > 0: k ln 2 + ln m, sqrt(1/2) <= m < sqrt(2), ln m = 2 (s + s^3/3 + ...), s = (m - 1) / (m + 1)."""
    bits = np.float64(x).view(np.int64) - _ROOT_HALF_BITS
    m = np.int64((bits & _MANTISSA) + _ROOT_HALF_BITS).view(np.float64)
    k = np.int64((bits >> 52) + _ROUND_BITS).view(np.float64) - _ROUND
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 1.0 / 21.0
    series = series * z + 1.0 / 19.0
    series = series * z + 1.0 / 17.0
    series = series * z + 1.0 / 15.0
    series = series * z + 1.0 / 13.0
    series = series * z + 1.0 / 11.0
    series = series * z + 1.0 / 9.0
    series = series * z + 1.0 / 7.0
    series = series * z + 1.0 / 5.0
    series = series * z + 1.0 / 3.0
    return k * _LN2_HIGH + (k * _LN2_LOW + 2.0 * (s + s * (z * series)))
