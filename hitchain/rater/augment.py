"""Augmentation of training crops: amplitude, pitch and time. Everything random comes from a generator passed in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torchaudio
from torch import Tensor


@dataclass(frozen=True)
class AugmentSettings:
    """How far a crop may be moved; 0 turns a change off.

    gain_db: level change and, as the front end ignores a constant one, a fade of up to half as much across the crop.
    pitch_semitones: transposition up or down. stretch: tempo change, 0.1 for 10 % either way.
    """

    gain_db: float = 6.0
    pitch_semitones: float = 1.0
    stretch: float = 0.08

    @property
    def reach(self) -> float:
        """How much more audio than the crop is needed, as a factor: a faster tempo uses up more."""
        return 1.0 + self.stretch


def augment(
    audio: Tensor, sample_rate: int, samples: int, settings: AugmentSettings, random: np.random.Generator
) -> Tensor:
    """A crop at a new level, pitch and tempo.

    Args:
        audio: (channels, samples * settings.reach or more).
        samples: length of the result.

    Returns:
        (channels, samples); padded with silence where `audio` was too short.
    """
    gain = random.uniform(-1.0, 1.0) * settings.gain_db
    fade = random.uniform(-0.25, 0.25) * settings.gain_db
    pitch = 2.0 ** (random.uniform(-1.0, 1.0) * settings.pitch_semitones / 12.0)
    tempo = 1.0 + random.uniform(-1.0, 1.0) * settings.stretch
    if abs(tempo - 1.0) > 1e-3 or abs(pitch - 1.0) > 1e-3:
        audio = change_tempo_and_pitch(audio, sample_rate, tempo, pitch)
    audio = torch.nn.functional.pad(audio[:, :samples], (0, max(0, samples - audio.shape[-1])))
    curve = torch.linspace(gain - fade, gain + fade, samples, dtype=audio.dtype)
    return audio * 10.0 ** (curve / 20.0)


def change_tempo_and_pitch(audio: Tensor, sample_rate: int, tempo: float, pitch: float) -> Tensor:
    """Faster by the factor `tempo` and higher by the factor `pitch`, by phase vocoder and resampling.

    The phase vocoder (Flanagan and Golden 1966; torchaudio's) changes tempo alone by tempo / pitch; playing the
    result `pitch` times as fast then changes both by `pitch`.

    Shape:
        - audio: (channels, samples)
        - output: (channels, about samples / tempo)
    """
    n_fft = 2048 if sample_rate > 16_000 else 1024
    hop = n_fft // 4
    window = torch.hann_window(n_fft, dtype=audio.dtype)
    spectrum = torch.stft(audio, n_fft, hop, window=window, return_complex=True)
    advance = torch.linspace(0.0, torch.pi * hop, n_fft // 2 + 1, dtype=audio.dtype)[:, None]
    stretched = torchaudio.functional.phase_vocoder(spectrum, tempo / pitch, advance)
    length = round(audio.shape[-1] * pitch / tempo)
    result = torch.istft(stretched, n_fft, hop, window=window, length=length)
    steps = round(pitch * 100)  # hundredths keep the resampling kernel small; a step is 17 cents
    return resample(result, steps, 100)


def resample(audio: Tensor, source: int, target: int) -> Tensor:
    """Sinc resampling from one rate to another."""
    if source == target:
        return audio
    kernel = _resampler(source, target)
    result: Tensor = kernel(audio)
    return result


@lru_cache(maxsize=128)
def _resampler(source: int, target: int) -> torchaudio.transforms.Resample:
    return torchaudio.transforms.Resample(source, target)
