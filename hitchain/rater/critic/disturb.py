"""What leaves the music of a recording alone, and must not change what the critic thinks of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hitchain.rater.training.augment import code, resample

Disturbance = Callable[[Tensor, int], tuple[Tensor, int]]
"""audio (1, channels, samples), sample rate -> the same, disturbed."""


def _coded(kind: str, quality: float) -> Disturbance:
    return lambda audio, rate: (code(audio[0], rate, kind, quality)[None], rate)


def _resampled(target: int) -> Disturbance:
    return lambda audio, rate: (resample(audio, rate, target), target)


def _louder(gain_db: float) -> Disturbance:
    return lambda audio, rate: (audio * 10.0 ** (gain_db / 20.0), rate)


def _faded(audio: Tensor, rate: int) -> tuple[Tensor, int]:
    length = min(round(0.5 * rate), audio.shape[-1] // 2)
    ramp = torch.linspace(0.0, 1.0, length)
    level = torch.cat([ramp, torch.ones(audio.shape[-1] - 2 * length), ramp.flip(0)])
    return audio * level, rate


def _after_silence(audio: Tensor, rate: int) -> tuple[Tensor, int]:
    return torch.nn.functional.pad(audio, (rate, 0)), rate


def _shorter(audio: Tensor, rate: int) -> tuple[Tensor, int]:
    return audio[..., : 2 * rate], rate


def _mono(audio: Tensor, rate: int) -> tuple[Tensor, int]:
    return audio.mean(dim=1, keepdim=True), rate


def _sixteen_bits(audio: Tensor, rate: int) -> tuple[Tensor, int]:
    return (audio * 32_768).round().clamp(-32_768, 32_767) / 32_768, rate


def _poorest(audio: Tensor, rate: int) -> tuple[Tensor, int]:
    return _resampled(16_000)(*_mono(*_coded("MP3", 0.2)(audio, rate)))


DISTURBANCES: dict[str, Disturbance] = {
    "MP3, good": _coded("MP3", 0.7),
    "MP3, poor": _coded("MP3", 0.2),
    "Ogg Vorbis": _coded("OGG", 0.5),
    "resampled to 32 kHz": _resampled(32_000),
    "resampled to 22 kHz": _resampled(22_050),
    "resampled to 16 kHz": _resampled(16_000),
    "16 bits": _sixteen_bits,
    "12 dB softer": _louder(-12.0),
    "faded in and out": _faded,
    "a second of silence": _after_silence,
    "half as long": _shorter,
    "mono": _mono,
    "poor MP3, mono, 16k": _poorest,
}
"""By name. The last takes away at once whatever a container, a band limit or the width could give away."""
