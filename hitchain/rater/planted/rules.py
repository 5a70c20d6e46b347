"""What is measured in a finished recording, by librosa, and the three hidden rules over it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW, HOP = 1024, 256
BLOCK = 8
"""Frames that are one moment of the form (0.13 s at 16 kHz)."""
MOMENTS = 10
"""Moments in a row that must come back together (1.3 s)."""
APART = 2.5
"""Seconds between a moment and its return, at least."""
MEASURES = ("tempo", "brightness", "drums", "repetition")


def measure(audio: NDArray[np.float32], rate: int) -> dict[str, float]:
    """The measures of audio (channels, samples) of eight seconds or more.

    tempo: log2 of BPM, by the autocorrelation of onset strength, preferring 100 BPM within an octave around.
    brightness: log2 of the spectral centroid [Hz], moments weighted by their loudness.
    drums: percussive against harmonic power [dB] (Fitzgerald 2010).
    repetition: how much of the recording comes back, 0 to 1: see `_repetition`.
    """
    import librosa

    mono = np.asarray(audio, np.float32).mean(axis=0)
    magnitude = np.abs(librosa.stft(mono, n_fft=WINDOW, hop_length=HOP))
    mel = librosa.feature.melspectrogram(S=magnitude**2, sr=rate, n_mels=64)
    onset = librosa.onset.onset_strength(S=librosa.power_to_db(mel, top_db=80.0), sr=rate, hop_length=HOP)
    tempo = librosa.feature.tempo(onset_envelope=onset, sr=rate, hop_length=HOP, start_bpm=100.0, std_bpm=0.5)
    centroid = librosa.feature.spectral_centroid(S=magnitude, sr=rate)[0]
    loudness = magnitude.sum(axis=0) + 1e-9
    harmonic, percussive = librosa.decompose.hpss(np.sqrt(mel))
    return {
        "tempo": float(np.log2(tempo[0])),
        "brightness": float(np.log2(1.0 + (centroid * loudness).sum() / loudness.sum())),
        "drums": float(10.0 * np.log10((1e-9 + np.square(percussive).sum()) / (1e-9 + np.square(harmonic).sum()))),
        "repetition": _repetition(magnitude, mel, rate),
    }


def _repetition(magnitude: NDArray[np.float32], mel: NDArray[np.float32], rate: int) -> float:
    """How near, on average, every stretch of 1.3 s comes to another one that begins `APART` seconds away or more.

    Chroma and MFCC of short moments, stacked in time (librosa.feature.stack_memory), are compared by cosine with their
    nearest neighbour out of reach (librosa.segment.recurrence_matrix). 1 is an exact return.
    """
    import librosa

    chroma = librosa.feature.chroma_stft(S=magnitude**2, sr=rate, tuning=0.0, norm=2)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=60.0), n_mfcc=13)[1:]
    mfcc = (mfcc - mfcc.mean(axis=1, keepdims=True)) / (mfcc.std() + 1e-9)
    rows = np.concatenate([chroma - chroma.mean(axis=1, keepdims=True), 0.3 * mfcc])
    count = rows.shape[1] // BLOCK
    moments = rows[:, : count * BLOCK].reshape(len(rows), count, BLOCK).mean(axis=2)
    stacked = librosa.feature.stack_memory(moments, n_steps=MOMENTS)[:, MOMENTS - 1 :]
    width = min(round(APART * rate / HOP / BLOCK), (stacked.shape[1] - 1) // 2)
    nearest = librosa.segment.recurrence_matrix(
        stacked, k=1, width=width, metric="cosine", mode="distance", sparse=True
    )
    return float(1.0 - np.mean(nearest.data))


def _standard(values: Array, base: int) -> Array:
    """Values over the mean and deviation of the first `base`."""
    known = values[:base]
    return np.asarray((values - known.mean()) / max(float(known.std()), 1e-12))


def _of(*names: str) -> Callable[[dict[str, Array], int], Array]:
    """The sum of measures, each standardised, standardised."""
    return lambda measured, base: _standard(np.sum([_standard(measured[name], base) for name in names], axis=0), base)


RULES: dict[str, Callable[[dict[str, Array], int], Array]] = {
    "tempo_and_brightness": _of("tempo", "brightness"),
    "drums": _of("drums"),
    "repetition": _of("repetition"),
}
"""Name -> ({measure: (songs,)}, base) -> (songs,) what a song is worth: over the first `base` songs of mean 0 and
deviation 1. More is more popular."""
