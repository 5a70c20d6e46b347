"""Measures that no rater has seen: how noisy, harmonic, regular, tonal and loud a piece of audio is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.blocks.dsp.meter import measure
from hitchain.rater.features import NAMES

UNITS = {
    "spectral flatness": "0 tone, 1 noise",
    "harmonic to noise": "dB",
    "onset regularity": "0 to 1",
    "key clarity": "correlation",
    "loudness": "LUFS",
    "true peak": "dBTP",
    "changed": "dB under the start",
}
LOWEST_PITCH, HIGHEST_PITCH = 60.0, 1000.0


def measures(audio: Tensor, sample_rate: int, start: Tensor, vector: NDArray[np.float64]) -> dict[str, float]:
    """The measures of (1, 2, samples), whose features are `vector`, against what it began from.

    `changed` is the level of the difference from the start, both at one level, under the start's: what a listener
    could hear of the climb if nothing masked it.
    """
    mono = audio[0].mean(dim=0).double().numpy()
    named = dict(zip(NAMES, vector, strict=True))
    meters = measure(audio[0], sample_rate).as_dict()
    return {
        "spectral flatness": spectral_flatness(mono, sample_rate),
        "harmonic to noise": harmonic_to_noise(mono, sample_rate),
        "onset regularity": float(named["tempo.clarity"]),
        "key clarity": float(named["key.clarity"]),
        "loudness": float(meters["integrated"]),
        "true peak": float(meters["true_peak"]),
        "changed": _changed(audio, start),
    }


def spectral_flatness(mono: NDArray[np.float64], sample_rate: int) -> float:
    """Geometric over arithmetic mean of the power spectrum, the mean over frames of 46 ms."""
    frames = _frames(mono, round(0.046 * sample_rate))
    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1)[:, 1:]) ** 2 + 1e-12
    return float(np.mean(np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)))


def harmonic_to_noise(mono: NDArray[np.float64], sample_rate: int) -> float:
    """10 log10(r / (1 - r)) of the highest autocorrelation r at the lag of a pitch (Boersma 1993) [dB].

    The median over frames of 80 ms that are not silent.
    """
    frames = _frames(mono, round(0.08 * sample_rate))
    frames = frames[np.sqrt((frames**2).mean(axis=1)) > 1e-4]
    if len(frames) == 0:
        return -40.0
    window = np.hanning(frames.shape[1])
    size = 2 * frames.shape[1]
    correlation = _autocorrelation((frames - frames.mean(axis=1, keepdims=True)) * window, size)
    correlation = correlation / np.maximum(correlation[:, :1], 1e-12)
    own = _autocorrelation(window[None], size)
    correlation = correlation / np.maximum(own / own[:, :1], 1e-3)  # what the window itself takes away
    first, last = int(sample_rate / HIGHEST_PITCH), min(int(sample_rate / LOWEST_PITCH), frames.shape[1] // 2)
    best = np.clip(correlation[:, first:last].max(axis=1), 1e-4, 1.0 - 1e-4)
    return float(np.median(10.0 * np.log10(best / (1.0 - best))))


def _autocorrelation(frames: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.asarray(np.fft.irfft(np.abs(np.fft.rfft(frames, size, axis=1)) ** 2, size, axis=1)[:, : size // 2])


def _frames(mono: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Frames half a length apart: (frames, length)."""
    return np.lib.stride_tricks.sliding_window_view(mono, length)[:: length // 2]


def _changed(audio: Tensor, start: Tensor) -> float:
    if audio.shape != start.shape:
        return 0.0
    scale = (audio * start).sum() / audio.square().sum().clamp_min(1e-12)
    difference = (audio * scale - start).square().sum()
    return float(10.0 * torch.log10((difference + 1e-12) / (start.square().sum() + 1e-12)))
