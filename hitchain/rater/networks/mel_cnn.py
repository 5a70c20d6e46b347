"""`mel_cnn`, the default: compact two-dimensional convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from hitchain.rater.networks.trunk import INPUTS, Head, HeadSettings, RatingNetwork, channels_last, convolution


class MelCNN(RatingNetwork):
    """Two-dimensional convolutions that shrink time and frequency alike: sees local shapes in the spectrogram."""

    def __init__(self, mel_bands: int, width: int, settings: HeadSettings) -> None:
        super().__init__(settings)
        self.layers, features = mel_convolutions(mel_bands, width)
        self.mix = nn.Sequential(nn.Conv1d(features, 96, 1), nn.SiLU())
        self.head = Head(96, settings)

    def trunk(self, frames: Tensor) -> Tensor:
        mixed: Tensor = self.mix(self.layers(channels_last(frames)).flatten(1, 2))
        return mixed


def mel_convolutions(mel_bands: int, width: int) -> tuple[nn.Sequential, int]:
    """(batch, 2, mel_bands, frames) -> (batch, channels, rows, frames / 8), and how many channels * rows there are."""
    widths = [width, width * 2, width * 3, width * 4]
    layers = nn.Sequential(
        convolution(INPUTS, widths[0], stride=2),
        convolution(widths[0], widths[1], stride=2),
        convolution(widths[1], widths[2], stride=(2, 1)),
        convolution(widths[2], widths[3], stride=2),
    )
    rows = mel_bands
    for _ in range(4):
        rows = (rows + 1) // 2
    return layers, widths[3] * rows
