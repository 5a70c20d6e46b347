"""Augmentation of training crops on the fly: what may change while the popularity of the song stays what it is.

Each change is a function here with the reason why it keeps the label; each has a key in `AugmentSettings`, 0 is off.
How much of each a crop gets is drawn first, all of it always, so that turning one change off leaves the others as
they were: an ablation compares like with like.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

EQ_POINTS = 6
EQ_LOWEST, EQ_HIGHEST = 60.0, 12_000.0
NOISE_DB = (20.0, 50.0)
"""The level of added noise under the crop's own."""
CODECS = ("MP3", "OGG")


@dataclass(frozen=True)
class AugmentSettings:
    """How far a crop may be moved; 0 turns a change off.

    gain_db: level change and, as the front end ignores a constant one, a fade of up to half as much across the crop.
    pitch_semitones: transposition up or down. stretch: tempo change, 0.1 for 10 % either way.
    crop: 1 takes crops from anywhere in the song, 0 from evenly spaced places, always the same.
    eq_db: a smooth random curve over frequency, up to so much either way.
    noise: share of the crops that get coloured noise, 20 to 50 dB under them.
    codec: share of the crops that go through MP3 or Ogg Vorbis and back.
    """

    gain_db: float = 6.0
    pitch_semitones: float = 1.0
    stretch: float = 0.08
    crop: float = 1.0
    eq_db: float = 0.0
    noise: float = 0.0
    codec: float = 0.0

    @property
    def reach(self) -> float:
        """How much more audio than the crop is needed, as a factor: a faster tempo uses up more."""
        return 1.0 + self.stretch


USUAL = AugmentSettings(gain_db=6.0, pitch_semitones=1.0, stretch=0.08, crop=1.0, eq_db=6.0, noise=0.5, codec=0.2)
"""Every change on, as far as an ablation turns it on."""
OFF = AugmentSettings(gain_db=0.0, pitch_semitones=0.0, stretch=0.0, crop=0.0, eq_db=0.0, noise=0.0, codec=0.0)


@dataclass(frozen=True)
class Draw:
    """What chance gave one crop, whatever the settings: numbers from -1 to 1, or 0 to 1 where so said."""

    place: float  # 0 to 1
    gain: float
    fade: float
    pitch: float
    tempo: float
    curve: NDArray[np.float64]  # (EQ_POINTS,)
    noise: float  # 0 to 1: whether there is noise
    noise_level: float  # 0 to 1
    noise_colour: float  # 0 to 1
    noise_seed: int
    codec: float  # 0 to 1: whether there is a codec
    codec_kind: float  # 0 to 1
    codec_quality: float  # 0 to 1

    @classmethod
    def of(cls, random: np.random.Generator) -> Draw:
        place = random.random()
        gain, fade, pitch, tempo = random.uniform(-1.0, 1.0, 4)
        curve = random.uniform(-1.0, 1.0, EQ_POINTS)
        noise, level, colour, codec, kind, quality = random.random(6)
        return cls(
            place, gain, fade, pitch, tempo, curve, noise, level, colour, int(random.integers(2**31)), codec, kind,
            quality,
        )  # fmt: skip


def augment(audio: Tensor, sample_rate: int, samples: int, settings: AugmentSettings, draw: Draw) -> Tensor:
    """A crop with every change that the settings allow.

    Args:
        audio: (channels, samples * settings.reach or more).
        samples: length of the result.

    Returns:
        (channels, samples); padded with silence where `audio` was too short.
    """
    pitch = 2.0 ** (draw.pitch * settings.pitch_semitones / 12.0)
    tempo = 1.0 + draw.tempo * settings.stretch
    if abs(tempo - 1.0) > 1e-3 or abs(pitch - 1.0) > 1e-3:
        audio = change_tempo_and_pitch(audio, sample_rate, tempo, pitch)
    audio = torch.nn.functional.pad(audio[:, :samples], (0, max(0, samples - audio.shape[-1])))
    if settings.eq_db > 0.0:
        audio = equalise(audio, sample_rate, draw.curve * settings.eq_db)
    if draw.noise < settings.noise:
        audio = add_noise(audio, NOISE_DB[0] + draw.noise_level * (NOISE_DB[1] - NOISE_DB[0]), draw)
    if draw.codec < settings.codec:
        audio = code(audio, sample_rate, CODECS[int(draw.codec_kind * len(CODECS))], draw.codec_quality)
    return change_level(audio, draw.gain * settings.gain_db, draw.fade * settings.gain_db / 4.0)


def change_level(audio: Tensor, gain_db: float, fade_db: float) -> Tensor:
    """Louder by `gain_db`, and by `fade_db` less at the start and more at the end.

    Keeps the label: the level is the listener's volume knob, and streaming services set it anyway; songs fade.
    """
    curve = torch.linspace(gain_db - fade_db, gain_db + fade_db, audio.shape[-1], dtype=audio.dtype)
    return audio * 10.0 ** (curve / 20.0)


def change_tempo_and_pitch(audio: Tensor, sample_rate: int, tempo: float, pitch: float) -> Tensor:
    """Faster by the factor `tempo` and higher by the factor `pitch`, by phase vocoder and resampling.

    Keeps the label while small: a band that plays a song a semitone lower or a few percent slower on another night
    plays the same song. A large change is another recording (nightcore, slowed down), so the ranges are narrow.

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


def equalise(audio: Tensor, sample_rate: int, gains_db: Sequence[float] | NDArray[np.float64]) -> Tensor:
    """A smooth curve over frequency, without delay: `gains_db` at places evenly spaced in octaves from 60 Hz to 12 kHz.

    Keeps the label: every pair of loudspeakers, every room and every tone control bends the spectrum by some decibels
    like that, and a song is as popular on the one as on the other. It does hide what the mastering did to the tonal
    balance: a rater that is to judge that should be trained with little of it.
    """
    frequencies = np.fft.rfftfreq(audio.shape[-1], 1.0 / sample_rate)
    places = np.linspace(np.log(EQ_LOWEST), np.log(EQ_HIGHEST), len(gains_db))
    decibels = np.interp(np.log(np.maximum(frequencies, 1.0)), places, gains_db)
    response = torch.from_numpy(10.0 ** (decibels / 20.0)).to(audio.dtype)
    bent: Tensor = torch.fft.irfft(torch.fft.rfft(audio) * response, n=audio.shape[-1])
    return bent


def add_noise(audio: Tensor, under_db: float, draw: Draw) -> Tensor:
    """Noise, from white to brown, `under_db` under the level of the audio; its own in each channel.

    Keeps the label: the hiss of a tape, a street outside or an old transfer at 20 dB and more under the music is
    heard, and forgiven.
    """
    samples = audio.shape[-1]
    noise = np.random.default_rng(draw.noise_seed).standard_normal((audio.shape[0], samples), dtype=np.float32)
    spectrum = np.fft.rfft(noise)
    bins = np.maximum(np.arange(spectrum.shape[-1]), samples // 2000 + 1)  # level below a few Hz: no drift
    coloured = np.fft.irfft(spectrum * bins ** (-draw.noise_colour), n=samples)
    level = float(audio.square().mean().sqrt()) * 10.0 ** (-under_db / 20.0)
    scaled = coloured * (level / max(float(np.sqrt(np.mean(coloured**2))), 1e-12))
    noisy: Tensor = audio + torch.from_numpy(scaled).to(audio.dtype)
    return noisy


def code(audio: Tensor, sample_rate: int, kind: str, quality: float) -> Tensor:
    """Through a lossy codec and back, in memory.

    Keeps the label: the counts were made by people who heard the song through exactly such codecs, while a collection
    holds each song in one of them; a rater must not learn the container.

    Args:
        audio: (channels, samples).
        kind: "MP3" or "OGG" (Vorbis).
        quality: 0 for the strongest compression, 1 for the least.
    """
    peak = max(1.0, float(audio.abs().max()))
    buffer = io.BytesIO()
    soundfile.write(
        buffer, (audio / peak).T.numpy(), sample_rate, format=kind,
        subtype="MPEG_LAYER_III" if kind == "MP3" else "VORBIS", compression_level=0.9 * (1.0 - quality),
    )  # fmt: skip
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32", always_2d=True)
    result = torch.from_numpy(decoded.T.copy())[:, : audio.shape[-1]] * peak
    padded: Tensor = torch.nn.functional.pad(result, (0, audio.shape[-1] - result.shape[-1]))
    return padded


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
