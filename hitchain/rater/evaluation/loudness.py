"""Integrated loudness (ITU-R BS.1770-4), for the baseline that hears nothing else."""

from __future__ import annotations

import math

import numpy as np
import scipy.signal
from numpy.typing import NDArray

SILENCE = -70.0
"""LUFS, the absolute gate; also said of what is silent."""


def loudness(audio: NDArray[np.floating], sample_rate: int) -> float:
    """The integrated loudness of audio (channels, samples), 1 or 2 channels [LUFS]; `SILENCE` under the gate.

    K-weighting after the standard's two filters, at any sample rate (De Man, "Evaluation of implementations of the
    EBU R128 loudness measurement", 2018); blocks of 0.4 s every 0.1 s, gated at -70 LUFS and 10 LU under the rest.
    """
    weighted = scipy.signal.sosfilt(k_weighting(sample_rate), np.asarray(audio, np.float64), axis=-1)
    block, hop = round(0.4 * sample_rate), round(0.1 * sample_rate)
    energy = np.concatenate([[0.0], np.cumsum((weighted**2).sum(axis=0))])
    starts = np.arange(0, max(1, len(energy) - block), hop)
    ends = np.minimum(starts + block, len(energy) - 1)
    power = (energy[ends] - energy[starts]) / block
    for gate in (SILENCE, None):
        level = gate if gate is not None else _level(power) - 10.0
        power = power[power > 10.0 ** ((level + 0.691) / 10.0)]
        if not len(power):
            return SILENCE
    return max(_level(power), SILENCE)


def _level(power: NDArray[np.float64]) -> float:
    return -0.691 + 10.0 * math.log10(float(power.mean()))


def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """The high shelf and the high pass of BS.1770 as second-order sections (2, 6)."""
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, gain = 0.7071752369554196, 10.0 ** (3.999843853973347 / 20.0)
    bend = gain**0.4996667741545416
    shelf = np.array([
        gain + bend * k / q + k * k, 2.0 * (k * k - gain), gain - bend * k / q + k * k,
        1.0 + k / q + k * k, 2.0 * (k * k - 1.0), 1.0 - k / q + k * k,
    ])  # fmt: skip
    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    norm = 1.0 + k / q + k * k
    high_pass = np.array([1.0, -2.0, 1.0, 1.0, 2.0 * (k * k - 1.0) / norm, (1.0 - k / q + k * k) / norm])
    return np.stack([shelf / shelf[3], high_pass])
