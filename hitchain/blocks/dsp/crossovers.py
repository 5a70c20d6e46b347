"""Crossovers: audio in bands whose sum is flat."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hitchain.blocks.dsp import filters
from hitchain.blocks.dsp.section_filter import filter_sections


def linkwitz_riley(audio: Tensor, frequencies: Sequence[Tensor], sample_rate: int) -> list[Tensor]:
    """Audio in bands, by Linkwitz-Riley crossovers of fourth order (24 dB an octave, -6 dB at a crossover).

    Each crossover is a Butterworth low pass and high pass of second order, each twice (S. Linkwitz 1976, "Active
    crossover networks for noncoincident drivers"). The two sides are in phase and add up to the all-pass with the same
    poles, Q = sqrt(1/2); what went past a crossover below goes through that all-pass too, so that all bands stay in
    phase. Their sum has the level of the input at every frequency (its phase turns by 360 degrees past each crossover).

    Args:
        audio: (batch, channels, samples).
        frequencies: crossovers in rising order, each (batch,) [Hz].

    Returns:
        One more band than crossovers, from the lowest, each (batch, channels, samples).
    """
    q = torch.tensor(math.sqrt(0.5), dtype=torch.float64, device=audio.device)
    doubles = [frequency.double() for frequency in frequencies]
    passes = [
        [design(frequency, q, sample_rate) for frequency in doubles]
        for design in (filters.low_pass, filters.high_pass, filters.all_pass)
    ]
    low, high, turned = passes
    bands = []
    for band in range(len(frequencies) + 1):
        chosen = [section for section in high[:band] for _ in range(2)]
        chosen += [section for section in low[band : band + 1] for _ in range(2)]
        chosen += turned[band + 1 :]
        b, a = (torch.stack(part, dim=-2) for part in zip(*chosen, strict=True))
        bands.append(filter_sections(audio, b, a))
    return bands


def crossover_tail(frequency: Tensor) -> float:
    """Seconds for which a crossover sounds, to -100 dB: two pairs of poles decaying by e^(-sqrt(1/2) w t)."""
    slowest = float(frequency.detach().min())
    return 4.0 / 3.0 * (100.0 / 20.0) * math.log(10.0) / (math.sqrt(0.5) * 2.0 * math.pi * slowest)
