"""Peak equalisers whose gain follows the level in their band."""

from __future__ import annotations

import torch
from torch import Tensor

from hitchain.blocks.dsp import dynamics, filters
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.dsp.section_filter import filter_sections

SOFTNESS = 3.0
"""[dB] Of the bend at a threshold."""

HALF = 6.0
"""[dB] Over a threshold at which half of a range is used."""


def share(amount: Tensor) -> Tensor:
    """From decibels over a threshold to the share of a range that is used: amount / (amount + 6 dB), in [0, 1)."""
    return amount / (amount + HALF)


def moving_peaks(
    audio: Tensor,
    frequency: Tensor,
    q: Tensor,
    threshold: Tensor,
    span: Tensor,
    attack: Tensor,
    release: Tensor,
    sample_rate: int,
    key: Tensor | None = None,
) -> Tensor:
    """Bands side by side, each a fixed band pass B with a gain that moves:

        y = x + sum over bands of (10^(gain / 20) - 1) B x
        gain = span share(overshoot of the level of B x above the threshold, through attack and release)

    Where a gain G stands still, 1 + (G - 1) B is the peak filter of P. Regalia and S. Mitra (1987, "Tunable digital
    frequency response equalization filters"): (s^2 + G s/Q + 1) / (s^2 + s/Q + 1).

    Args:
        audio: (batch, channels, samples).
        frequency [Hz], q, threshold [dB], span [dB]: (batch, bands).
        attack, release: time constants [ms], (batch, bands).
        key: audio whose level counts instead.

    Returns:
        (batch, channels, samples).
    """
    batch, bands = frequency.shape
    b, a = (part.flatten(0, 1).unsqueeze(1) for part in filters.band_pass(frequency.double(), q.double(), sample_rate))

    def split(signal: Tensor) -> Tensor:
        return filter_sections(signal.repeat_interleave(bands, dim=0), b, a)

    parts = split(audio)
    level = dynamics.peak_level(parts if key is None else split(key))
    over = dynamics.soft_overshoot(level, threshold.flatten(), SOFTNESS)
    rise, fall = (dynamics.time_coefficient(time.flatten(), sample_rate) for time in (attack, release))
    gain = to_gain(span.flatten().unsqueeze(-1) * share(ballistics(over, rise, fall)))
    moved = (gain - 1.0).unsqueeze(1) * parts
    return audio + moved.view(batch, bands, *audio.shape[1:]).sum(dim=1)


def peaks_tail(frequency: Tensor, q: Tensor, sample_rate: int) -> float:
    """Seconds for which the slowest band rings, to -100 dB."""
    _, a = filters.band_pass(frequency.detach().double(), q.detach().double(), sample_rate)
    return float(torch.as_tensor(filters.ring_time(a, decay=100.0)).max()) / sample_rate
