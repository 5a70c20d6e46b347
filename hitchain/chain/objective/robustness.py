"""Transformation robustness: a rating that must hold when the audio is cropped, turned down, equalised or coded."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hitchain.chain.optimizers.settings import setting

SHORTEST = 1.0
"""[s] A copy is never cropped shorter than this: raters need as much."""
CURVE_KNOTS = 9


@dataclass(frozen=True)
class Robustness:
    """Altered copies of what is rated (after Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017).

    All candidates are altered alike in a step, and another way in the next.

    Attributes:
        copies: how many are rated beside the audio itself.
        crop: largest share that is cut off, from both ends together.
        level_db: largest change of level either way, and of a fade across the copy.
        equaliser_db: standard deviation of a smooth random curve over frequency.
        noise_db: level of white noise under the audio; -120 for none.
        codec: whether every other copy goes through Ogg Vorbis; its gradient passes straight through.
    """

    copies: int = setting(2, 1, 64)
    crop: float = setting(0.3, 0.0, 0.9)
    level_db: float = setting(6.0, 0.0, 40.0)
    equaliser_db: float = setting(2.0, 0.0, 24.0)
    noise_db: float = setting(-55.0, -120.0, 0.0)
    codec: bool = False

    def copies_of(self, audio: Tensor, sample_rate: int, draw: int) -> Iterator[Tensor]:
        """The altered copies of audio (batch, channels, samples), drawn from a number; differentiable."""
        for index in range(self.copies):
            generator = torch.Generator().manual_seed(draw * 131 + index)
            copy = self._cropped(audio, sample_rate, generator)
            copy = self._equalised(copy, sample_rate, generator)
            copy = self._levelled(copy, generator)
            if self.noise_db > -120.0:
                copy = copy + self._noise(copy, generator)
            if self.codec and index % 2:
                copy = copy + (_coded(copy.detach(), sample_rate) - copy.detach())
            yield copy

    def _cropped(self, audio: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        samples = audio.shape[-1]
        share, place = torch.rand(2, generator=generator).tolist()
        kept = max(min(samples, math.ceil(SHORTEST * sample_rate)), round(samples * (1.0 - share * self.crop)))
        first = round(place * (samples - kept))
        return audio[..., first : first + kept]

    def _equalised(self, audio: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
        """Gains at knots equally far apart in octaves from 30 Hz up, joined by straight lines; zero phase."""
        if self.equaliser_db == 0.0:
            return audio
        samples = audio.shape[-1]
        gains = self.equaliser_db * torch.randn(CURVE_KNOTS, generator=generator)
        frequencies = torch.fft.rfftfreq(samples, 1.0 / sample_rate).clamp_min(30.0)
        octaves = torch.log2(frequencies / 30.0)
        place = (octaves * (CURVE_KNOTS - 1) / math.log2(sample_rate / 60.0)).clamp(0.0, CURVE_KNOTS - 1.001)
        below = place.floor().long()
        decibels = torch.lerp(gains[below], gains[below + 1], place - below)
        curve = (10.0 ** (decibels / 20.0)).to(audio)
        shaped: Tensor = torch.fft.irfft(torch.fft.rfft(audio) * curve, n=samples)
        return shaped

    def _levelled(self, audio: Tensor, generator: torch.Generator) -> Tensor:
        begin, end = (self.level_db * (2.0 * torch.rand(2, generator=generator) - 1.0)).tolist()
        ramp = torch.linspace(begin, end, audio.shape[-1], dtype=audio.dtype, device=audio.device)
        faded: Tensor = audio * 10.0 ** (ramp / 20.0)
        return faded

    def _noise(self, audio: Tensor, generator: torch.Generator) -> Tensor:
        level = audio.detach().square().mean(dim=(1, 2), keepdim=True).sqrt() * 10.0 ** (self.noise_db / 20.0)
        hiss: Tensor = torch.randn(audio.shape[1:], generator=generator).to(audio) * level
        return hiss


def _coded(audio: Tensor, sample_rate: int) -> Tensor:
    """Through Ogg Vorbis at a middling quality and back, of the same length."""
    import numpy as np
    import soundfile

    coded = []
    for item in audio.cpu():
        buffer = io.BytesIO()
        peak = max(1.0, float(item.abs().max()))
        soundfile.write(
            buffer, (item / peak).numpy().T, sample_rate, format="OGG", subtype="VORBIS", compression_level=0.7
        )
        buffer.seek(0)
        data = soundfile.read(buffer, dtype="float32", always_2d=True)[0].T * peak
        samples = item.shape[-1]
        data = np.pad(data[:, :samples], ((0, 0), (0, max(0, samples - data.shape[1]))))
        coded.append(torch.from_numpy(np.ascontiguousarray(data)))
    return torch.stack(coded).to(audio)
