"""What a mastering engineer's meters read: loudness, range, peaks, stereo image and spectrum of a recording."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks.dsp import loudness

_DECADE = (25, 31.5, 40, 50, 63, 80, 100, 125, 160, 200)
_NOMINAL = [f"{name * factor:g}" for factor in (1, 10, 100) for name in _DECADE]
BANDS = {name: 1000.0 * 10.0 ** (index / 10.0) for name, index in zip(_NOMINAL, range(-16, 14), strict=True)}
"""Third-octave bands, 25 Hz to 20 kHz: nominal name and exact base-ten centre [Hz] (IEC 61260-1)."""

_FAINTEST = -200.0
_FRAME_SECONDS = 0.7


@dataclass(frozen=True)
class Meters:
    """The readings of one recording.

    Attributes:
        seconds: its length.
        integrated: programme loudness of BS.1770-4 [LUFS].
        momentary, short_term: the highest in 400 ms and in 3 s (EBU Tech 3341) [LUFS].
        loudness_range: EBU Tech 3342 [LU].
        sample_peak [dBFS], true_peak [dBTP]: the highest of all channels.
        peak_to_loudness: true peak less integrated loudness (PLR) [LU].
        peak_to_short_term: the least of true peak less short-term loudness (PSR), of the loudest window [LU].
        correlation: of left and right, -1 to 1; 1 for mono, 0 where a side is silent.
        balance: level of the left less that of the right [dB].
        side: level of the side signal against the mid [dB].
        offset: the largest mean of a channel, of full scale.
        clipped: samples at or above full scale that have a neighbour there as well.
        bands: power in each third-octave band against the whole [dB], by its nominal centre in Hz.
    """

    seconds: float
    integrated: float
    momentary: float
    short_term: float
    loudness_range: float
    sample_peak: float
    true_peak: float
    peak_to_loudness: float
    peak_to_short_term: float
    correlation: float
    balance: float
    side: float
    offset: float
    clipped: int
    bands: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, rounded to what the meters can tell."""
        rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}
        return {**rounded, "bands": {centre: round(level, 2) for centre, level in self.bands.items()}}


@torch.no_grad()
def measure(audio: Tensor, sample_rate: int) -> Meters:
    """Read all meters.

    Args:
        audio: (channels, samples), channels 1 or 2.
        sample_rate: [Hz].
    """
    batch = audio.double().unsqueeze(0)
    integrated = float(loudness.integrated_loudness(batch, sample_rate))
    short_term = float(loudness.short_term_loudness(batch, sample_rate).max())
    peak = float(loudness.true_peak(batch, sample_rate))
    left, right = batch[0, 0], batch[0, -1]
    return Meters(
        seconds=audio.shape[-1] / sample_rate,
        integrated=integrated,
        momentary=float(loudness.momentary_loudness(batch, sample_rate).max()),
        short_term=short_term,
        loudness_range=float(loudness.loudness_range(batch, sample_rate)),
        sample_peak=_decibels(float(batch.abs().max()) ** 2),
        true_peak=peak,
        peak_to_loudness=peak - integrated,
        peak_to_short_term=peak - short_term,
        correlation=_correlation(left, right),
        balance=_decibels(_power(left)) - _decibels(_power(right)),
        side=max(_decibels(_power(left - right)) - _decibels(_power(left + right)), _FAINTEST),
        offset=float(batch.mean(dim=-1).abs().max()),
        clipped=_clipped(batch[0]),
        bands=_bands(batch[0], sample_rate),
    )


def _power(signal: Tensor) -> float:
    return float(signal.square().mean())


def _decibels(power: float) -> float:
    return max(10.0 * math.log10(max(power, 1e-30)), _FAINTEST)


def _correlation(left: Tensor, right: Tensor) -> float:
    norm = math.sqrt(_power(left) * _power(right))
    return float((left * right).mean()) / norm if norm > 1e-20 else 0.0


def _clipped(audio: Tensor) -> int:
    full = audio.abs() >= 1.0 - 2.0**-15
    before = torch.nn.functional.pad(full[:, :-1], (1, 0))
    after = torch.nn.functional.pad(full[:, 1:], (0, 1))
    return int((full & (before | after)).sum())


def _bands(audio: Tensor, sample_rate: int) -> dict[str, float]:
    """Power of each third-octave band, from the mean of Hann-windowed periodograms (Welch), against all bands."""
    n_fft = 1 << round(math.log2(_FRAME_SECONDS * sample_rate))
    padded = torch.nn.functional.pad(audio, (0, max(0, n_fft - audio.shape[-1])))
    power = torch.zeros(n_fft // 2 + 1, dtype=audio.dtype)
    window = torch.hann_window(n_fft, dtype=audio.dtype)
    starts = range(0, padded.shape[-1] - n_fft + 1, n_fft // 2)
    for start in starts:
        spectrum = torch.fft.rfft(padded[:, start : start + n_fft] * window)
        power += (spectrum.real.square() + spectrum.imag.square()).sum(dim=0)
    hertz = torch.arange(len(power), dtype=audio.dtype) * (sample_rate / n_fft)
    total = float(power.sum())
    levels: dict[str, float] = {}
    for name, centre in BANDS.items():
        low, high = centre * 10.0**-0.05, centre * 10.0**0.05
        if high <= sample_rate / 2:
            share = _share(power, hertz, low, high)
            levels[name] = max(_decibels(share) - _decibels(total), _FAINTEST)
    return levels


def _share(power: Tensor, hertz: Tensor, low: float, high: float) -> float:
    """The power between two frequencies, bins at the edges by the part of them that lies inside."""
    width = float(hertz[1])
    inside = (torch.minimum(hertz + width / 2, torch.tensor(high)) - (hertz - width / 2).clamp_min(low)) / width
    return float((power * inside.clamp(0.0, 1.0)).sum())
