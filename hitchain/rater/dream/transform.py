"""Random alterations that a dream must survive, and the band it is kept in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hitchain.rater.dream.settings import DreamSettings


def transformed(audio: Tensor, sample_rate: int, settings: DreamSettings, step: int) -> Tensor:
    """The audio, altered as this step draws it; the very same tensor where every alteration is off.

    Shape:
        - audio: (batch, channels, samples)
        - output: (batch, channels, samples), differentiable; fewer samples where it is played faster
    """
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    place, pitch, begin, end = (2.0 * torch.rand(4, generator=generator) - 1.0).tolist()
    if settings.jitter_ms:
        audio = audio.roll(round(place * settings.jitter_ms * sample_rate / 1000.0), dims=-1)
    if settings.shift_semitones:
        audio = _played_at(audio, 2.0 ** (pitch * settings.shift_semitones / 12.0))
    if settings.gain_db:
        ramp = torch.linspace(begin, end, audio.shape[-1], dtype=audio.dtype, device=audio.device)
        audio = audio * 10.0 ** (settings.gain_db * ramp / 20.0)
    if settings.noise_db > -120.0:
        level = audio.detach().square().mean(dim=(1, 2), keepdim=True).sqrt() * 10.0 ** (settings.noise_db / 20.0)
        audio = audio + level * torch.randn(audio.shape[1:], generator=generator).to(audio)
    return audio


def _played_at(audio: Tensor, speed: float) -> Tensor:
    """Played faster (speed over 1) or slower, by straight lines between samples: pitch and time move together."""
    samples = int((audio.shape[-1] - 1) / max(speed, 1.0))
    place = torch.arange(samples, dtype=torch.float64, device=audio.device) * speed
    below = place.floor().long().clamp_max(audio.shape[-1] - 2)
    return torch.lerp(audio[..., below], audio[..., below + 1], (place - below).to(audio.dtype))


def band_limited(audio: Tensor, sample_rate: int, low_hz: float, high_hz: float) -> Tensor:
    """The audio without what lies outside the band; its edges fall over a third of an octave. 0 is no limit."""
    if not low_hz and not high_hz:
        return audio
    frequencies = torch.fft.rfftfreq(audio.shape[-1], 1.0 / sample_rate, device=audio.device).clamp_min(1e-3)
    gain = torch.ones_like(frequencies)
    if low_hz:
        gain = gain * _ramp(torch.log2(frequencies / low_hz))
    if high_hz:
        gain = gain * _ramp(torch.log2(high_hz / frequencies))
    limited: Tensor = torch.fft.irfft(torch.fft.rfft(audio) * gain.to(audio.dtype), n=audio.shape[-1])
    return limited


def _ramp(octaves: Tensor) -> Tensor:
    """0 a third of an octave under 0, 1 from 0 on, half a cosine between."""
    return 0.5 - 0.5 * torch.cos(math.pi * (3.0 * octaves + 1.0).clamp(0.0, 1.0))
