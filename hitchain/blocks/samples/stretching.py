"""A recording made longer or shorter at its own pitch, and its formants moved: a phase vocoder.

The short-time spectra of the recording are taken at every hop and put together at other intervals. Between two frames a
peak's phase moves on by its own instantaneous frequency, and the bins around a peak keep their phases relative to it
(identity phase locking: Laroche and Dolson, IEEE Transactions on Speech and Audio Processing 7, 1999). Where the sound
begins anew, phases are taken as they are, so that attacks stay sharp. A spectrum's envelope, for the formants, is its
cepstrum up to just below the pitch period (Oppenheim and Schafer), made to touch the peaks by repetition (Roebel and
Rodet, "Efficient Spectral Envelope Estimation", DAFx 2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

WINDOW = 0.06
"""[s] Length of the analysis window: its power of two nearest."""
OVERLAP = 8
ONSET = 2.0
"""By how much the mean magnitude must grow from one frame to the next to count as a beginning."""
_ENVELOPE_ROUNDS = 12
_DEEPEST = 1e-5
"""Magnitudes below this share of a frame's largest (-100 dB) do not pull its envelope down."""

Array = np.ndarray[Any, Any]


def stretch(audio: Tensor, factor: float, rate: int, formants: float = 1.0, pitch: float = 100.0) -> Tensor:
    """Audio (channels, samples) made `factor` times as long.

    Args:
        formants: by which the frequencies of the spectrum's envelope are divided: what is then read `formants` times
            as fast has its formants where they were.
        pitch: [Hz] of the recording, for telling partials from formants.

    Returns:
        (channels, round(factor * samples)).
    """
    n_fft = 1 << max(8, round(np.log2(WINDOW * rate)))
    hop = n_fft // OVERLAP
    window = np.hanning(n_fft + 1)[:-1]
    samples = audio.shape[-1]
    padded = np.pad(audio.double().numpy(), ((0, 0), (n_fft, 2 * n_fft)))
    frames = int((samples * factor + n_fft) // hop) + 2
    places = np.round(np.arange(frames) * hop / factor).astype(int) + n_fft // 2
    places = np.clip(places, hop, samples + 2 * n_fft)
    spectra = _spectra(padded, places, window)
    before = _spectra(padded, places - hop, window)
    advanced = np.stack([_phases(one, earlier, hop, n_fft) for one, earlier in zip(spectra, before, strict=True)])
    magnitude = np.abs(spectra)
    if formants != 1.0:
        magnitude = magnitude * _moved(magnitude.mean(axis=0), formants, rate / pitch)
    built = np.fft.irfft(magnitude * np.exp(1j * advanced), axis=-1) * window
    result = np.zeros((len(padded), frames * hop + n_fft))
    for frame in range(frames):
        result[:, frame * hop : frame * hop + n_fft] += built[:, frame]
    result /= OVERLAP * np.mean(window**2)
    wanted = round(factor * samples)
    return torch.from_numpy(result[:, n_fft // 2 : n_fft // 2 + wanted].copy()).to(audio.dtype)


def _spectra(padded: Array, places: Array, window: Array) -> Array:
    """(channels, frames, bins), each frame beginning at its place."""
    index = places[:, None] + np.arange(len(window))
    return np.asarray(np.fft.rfft(padded[:, index] * window, axis=-1))


def _phases(spectra: Array, before: Array, hop: int, n_fft: int) -> Array:
    """The phase of every frame and bin when frames follow at `hop`: (frames, bins)."""
    centre = 2.0 * np.pi * np.arange(spectra.shape[1]) * hop / n_fft
    angle = np.angle(spectra)
    turned = angle - np.angle(before) - centre
    advance = centre + turned - 2.0 * np.pi * np.round(turned / (2.0 * np.pi))
    loudness = np.abs(spectra).mean(axis=1)
    phases = angle.copy()
    for frame in range(1, len(spectra)):
        if loudness[frame] > ONSET * loudness[frame - 1]:
            continue  # a beginning: phases as recorded
        peaks = _peaks(np.abs(spectra[frame]))
        region = peaks[_nearest(peaks, spectra.shape[1])]
        moved = phases[frame - 1] + advance[frame]
        phases[frame] = moved[region] + angle[frame] - angle[frame][region]
    return phases


def _peaks(magnitude: Array) -> Array:
    """Bins that are larger than two neighbours to either side."""
    padded = np.pad(magnitude, 2, constant_values=-1.0)
    around = np.max([padded[:-4], padded[1:-3], padded[3:-1], padded[4:]], axis=0)
    found = np.flatnonzero(magnitude > around)
    return found if len(found) else np.array([0])


def _nearest(peaks: Array, bins: int) -> Array:
    edges = (peaks[1:] + peaks[:-1]) / 2.0
    return np.asarray(np.searchsorted(edges, np.arange(bins)))


def _moved(magnitude: Array, formants: float, period: float) -> Array:
    """What takes each frame's envelope E(f) to E(f formants): (frames, bins)."""
    bins = magnitude.shape[1]
    envelope = _envelope(magnitude, period)
    place = np.minimum(np.arange(bins) * formants, bins - 1.0)
    low = np.minimum(place.astype(int), bins - 2)
    wanted = envelope[:, low] + (place - low) * (envelope[:, low + 1] - envelope[:, low])
    return np.asarray(np.exp(np.clip(wanted - envelope, -6.0, 6.0)))


def _envelope(magnitude: Array, period: float) -> Array:
    """The logarithm of each frame's true envelope: (frames, bins)."""
    size = 2 * (magnitude.shape[1] - 1)
    floor = _DEEPEST * magnitude.max(axis=1, keepdims=True) + 1e-9
    spectrum = np.log(np.maximum(magnitude, floor))
    order = int(np.clip(0.5 * period, 8, size // 4))
    lifter = np.zeros(size)
    taper = 0.5 * (1.0 + np.cos(np.pi * np.arange(order + 1) / (order + 1)))
    lifter[: order + 1] = taper
    lifter[-order:] = taper[:0:-1]
    target, smooth = spectrum, spectrum
    for _ in range(_ENVELOPE_ROUNDS):
        smooth = np.fft.rfft(np.fft.irfft(target, n=size, axis=-1) * lifter, axis=-1).real
        target = np.maximum(spectrum, smooth)
    return np.asarray(smooth)
