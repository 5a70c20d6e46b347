"""Pitch and loudness of a recording, at the decoder's frames."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hitchain.blocks.ddsp.decoder import FRAME_RATE
from hitchain.blocks.dsp.resampling import resample

TRACKING_RATE = 22_050
LOWEST, HIGHEST = 32.7, 2093.0
"""[Hz] C1 to C7: where the pitch tracker looks."""
WINDOW = 0.046
"""[s] over which loudness is taken."""
FLOOR = -100.0
"""[dB] what silence reads."""


def pitch(audio: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Mono audio (samples,) -> pitch [MIDI semitones], held where there is none, and whether there is: (frames,) each.

    By pYIN (Mauch and Dixon, 2014) in librosa. Where nothing is pitched, 60 throughout.
    """
    import librosa

    slow = resample(audio, sample_rate, TRACKING_RATE).numpy()
    hop = round(TRACKING_RATE / FRAME_RATE)
    hertz, voiced, _ = librosa.pyin(
        slow, fmin=LOWEST, fmax=HIGHEST, sr=TRACKING_RATE, frame_length=2048, hop_length=hop, resolution=0.2
    )
    voiced = voiced & np.isfinite(hertz)
    frames = np.arange(len(hertz))
    if not voiced.any():
        return torch.full((len(frames),), 60.0), torch.zeros(len(frames), dtype=torch.bool)
    midi = 69.0 + 12.0 * np.log2(np.where(voiced, hertz, 440.0) / 440.0)
    held = np.interp(frames, frames[voiced], midi[voiced])
    return torch.from_numpy(held).float(), torch.from_numpy(voiced)


def loudness(audio: Tensor, sample_rate: int, frames: int) -> Tensor:
    """Mono audio (samples,) -> A-weighted level [dB] at each frame: (frames,). A full-scale sine at 1 kHz reads -3."""
    window = torch.hann_window(round(WINDOW * sample_rate), dtype=torch.float64)
    places = (torch.arange(frames, dtype=torch.float64) / FRAME_RATE * sample_rate).round().long()
    padded = torch.nn.functional.pad(audio.double(), (len(window) // 2, len(window) + sample_rate))
    hertz = torch.fft.rfftfreq(len(window), 1.0 / sample_rate, dtype=torch.float64)
    weight = a_weighting(hertz)
    levels = []
    for group in torch.split(places.clamp_max(audio.shape[-1]), 1024):
        stretches = padded[group[:, None] + torch.arange(len(window))] * window
        power = (torch.fft.rfft(stretches).abs().square() * weight).sum(dim=1)
        levels.append(2.0 * power / (len(window) * window.square().sum()))
    return (10.0 * torch.log10(torch.cat(levels) + 10.0 ** (FLOOR / 10.0))).float()


def a_weighting(hertz: Tensor) -> Tensor:
    """The A curve of IEC 61672-1 as a power gain, 1 at 1 kHz."""
    square = hertz.square()
    a = 12194.0**2 * square.square()
    b = (square + 20.6**2) * (square + 12194.0**2) * torch.sqrt((square + 107.7**2) * (square + 737.9**2))
    gain: Tensor = (a / b).square() * 10.0 ** (2.0 / 10.0)
    return gain


def seconds(frames: int) -> float:
    """How long so many frames last."""
    return frames / FRAME_RATE


def frames_of(samples: int, sample_rate: int) -> int:
    """How many frames begin within so many samples, and one more to end the last."""
    return math.ceil(samples * FRAME_RATE / sample_rate) + 1
