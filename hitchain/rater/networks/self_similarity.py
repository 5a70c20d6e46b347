"""`self_similarity`: convolutions, and what comes back: at which lags a beat does, and how alike a section does."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from hitchain.rater.networks.mel_cnn import mel_convolutions
from hitchain.rater.networks.trunk import INPUTS, Head, HeadSettings, RatingNetwork, channels_last

LOCAL, RHYTHM = 96, 32
"""Features of a moment, and of the rhythm."""
VOICES = 8
SHORTEST, OCTAVES, LAGS_AN_OCTAVE = 10, 4, 16
"""The beat spectrum's lags: from 10 frames (0.2 s), four octaves (to 3.2 s)."""
EARS, DEPTH = 4, 16
"""Embeddings of a moment, and the numbers in each."""
STRETCH = 8
"""Moments in a row that are compared with as many others (1.3 s)."""
APART = (8, 16, 32)
"""Moments between a stretch and its return, at least (1.3, 2.6 and 5.1 s)."""
SHARPNESS = 20.0
"""How near to the maximum the soft maximum over returns comes."""


class BeatSpectrum(nn.Module):
    """Autocorrelation over time of a few learnt voices, at lags evenly spaced in octaves, and a dense layer.

    After the beat spectrum of Foote and Uchihashi (ICME 2001): the mean of the self-similarity matrix along its
    diagonals. A periodic rhythm has its peaks at the beat and its multiples, wherever in the recording it stands.

    Shape:
        - input: (batch, channels, frames)
        - output: (batch, outputs)
    """

    def __init__(self, channels: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.voices = nn.Sequential(
            nn.Conv1d(channels, VOICES, 3, padding=1, bias=False), nn.BatchNorm1d(VOICES), nn.SiLU()
        )
        self.dense = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(VOICES * OCTAVES * LAGS_AN_OCTAVE, outputs), nn.SiLU()
        )

    def forward(self, frames: Tensor) -> Tensor:
        spectrum = autocorrelation(self.voices(frames).float()) @ lag_filters().to(frames.device)
        done: Tensor = self.dense(spectrum.flatten(1))
        return done


def autocorrelation(signal: Tensor) -> Tensor:
    """Autocorrelation over time of (..., frames) around its mean: (..., lags), 1 at lag 0, 0 past the end.

    The sum at a lag is over frames - lag products and is divided by their number, by half of all at least: what few
    products say is not turned up. By FFT (Wiener-Khinchin), in float32.
    """
    frames, lags = signal.shape[-1], len(lag_filters())
    signal = signal - signal.mean(dim=-1, keepdim=True)
    spectrum = torch.fft.rfft(signal, n=2 * frames)
    sums = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), n=2 * frames)[..., : min(frames, lags)]
    products = frames - torch.arange(sums.shape[-1], device=signal.device)
    products = products.clamp_min((frames + 1) // 2)
    found = sums / products / (sums[..., :1] / frames + 1e-6)
    return nn.functional.pad(found, (0, lags - found.shape[-1]))


@lru_cache(maxsize=1)
def lag_filters() -> Tensor:
    """Triangles evenly spaced in octaves, a frame wide or more: (lags, OCTAVES * LAGS_AN_OCTAVE); columns sum to 1."""
    place = SHORTEST * 2.0 ** (torch.arange(OCTAVES * LAGS_AN_OCTAVE) / LAGS_AN_OCTAVE)
    width = (place * (2.0 ** (1.0 / LAGS_AN_OCTAVE) - 1.0)).clamp_min(1.0)
    lag = torch.arange(int(place[-1] + width[-1]) + 1)[:, None]
    filters: Tensor = (1.0 - (lag - place).abs() / width).clamp_min(0.0)
    return filters / filters.sum(0)


class Returns(nn.Module):
    """How alike the most alike stretch is that begins at least so far away, for every moment.

    Stretches of moments are compared by the cosine of learnt embeddings, each around its mean over the recording: the
    self-similarity matrix (Foote 1999), learnt as by Peeters (2023), with a soft maximum over each of its rows.

    Shape:
        - input: (batch, channels, moments)
        - output: (batch, outputs, moments), about -1 to 1; 0 where the recording does not reach so far
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.outputs = EARS * len(APART)
        self.embedding = nn.Conv1d(channels, EARS * DEPTH, 1, bias=False)

    def forward(self, moments: Tensor) -> Tensor:
        similarity = self.similarity(moments)
        count = similarity.shape[-1]
        place = torch.arange(count, device=similarity.device)
        distance = (place[:, None] - place).abs()
        return torch.cat([_nearest(similarity, distance >= apart) for apart in APART], dim=1)

    def similarity(self, moments: Tensor) -> Tensor:
        """The self-similarity matrix of every ear: (batch, EARS, moments, moments), cosines."""
        batch, _, count = moments.shape
        heard = self.embedding(moments).float()
        heard = heard - heard.mean(dim=-1, keepdim=True)
        heard = nn.functional.pad(heard, (STRETCH // 2, STRETCH - 1 - STRETCH // 2)).unfold(-1, STRETCH, 1)
        stretches = heard.reshape(batch, EARS, DEPTH, count, STRETCH).transpose(2, 3).flatten(3)
        level = torch.sqrt(stretches.square().sum(-1, keepdim=True) + 1e-6)
        stretches = stretches / level
        return stretches @ stretches.transpose(-1, -2)


def _nearest(similarity: Tensor, reach: Tensor) -> Tensor:
    """Soft maximum of each row (..., moments, moments) over where `reach` allows; 0 where it allows nothing."""
    weight = torch.softmax((SHARPNESS * similarity).masked_fill(~reach, -1e4), dim=-1)
    return (weight * similarity).sum(-1) * reach.any(-1)


class SelfSimilarity(RatingNetwork):
    """The convolutions of `mel_cnn` for what sounds, a beat spectrum for the rhythm, and returns for the form.

    A convolution and a mean over time hear how varied a song is, not what in it comes back, and a tempo only as far
    as its filters reach; both are plain in the similarity of the recording with itself.
    """

    def __init__(self, mel_bands: int, width: int, settings: HeadSettings) -> None:
        super().__init__(settings)
        self.layers, features = mel_convolutions(mel_bands, width)
        self.mix = nn.Sequential(nn.Conv1d(features, LOCAL, 1), nn.SiLU())
        self.rhythm = BeatSpectrum(INPUTS * mel_bands, RHYTHM, settings.dropout)
        self.returns = Returns(features)
        self.norm = nn.BatchNorm1d(self.returns.outputs)
        self.head = Head(LOCAL + RHYTHM + self.returns.outputs, settings)

    def trunk(self, frames: Tensor) -> Tensor:
        moments = self.layers(channels_last(frames)).flatten(1, 2)
        rhythm = self.rhythm(frames.flatten(1, 2))[..., None].expand(-1, -1, moments.shape[-1])
        returns = self.norm(self.returns(moments))
        return torch.cat([self.mix(moments), rhythm.to(returns.dtype), returns], dim=1)
