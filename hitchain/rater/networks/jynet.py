"""`jynet`: the shallow baseline, after the networks of Yang et al. (ICASSP 2017, arXiv 1704.01280).

What is kept: a log-mel spectrogram in, one-dimensional convolutions over time whose first filters span all bands,
rectifiers and max pooling between them, then layers of width one (fully convolutional) and pooling over the whole song.
JYnet itself (Liu and Yang, ACM Multimedia 2016) is such a network trained to tag music, whose tags the paper then
regresses popularity on; here the tags are label heads (`heads`) learnt together with popularity.

What differs: the input is our front end (80 bands of mid and side, level-normalised, 20 ms apart), not 128 bands of the
mono signal; batch normalisation; attentive statistics or a generalised mean where the paper averages; and no tags from
another collection come with it. The sizes are ours: small enough for a few hundred songs.
"""

from __future__ import annotations

from torch import Tensor, nn

from hitchain.rater.networks.trunk import INPUTS, Head, HeadSettings, RatingNetwork


def _layer(inputs: int, outputs: int, frames: int) -> list[nn.Module]:
    return [
        nn.Conv1d(inputs, outputs, frames, padding=frames // 2, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(),
    ]  # fmt: skip


class JYnet(RatingNetwork):
    """Two convolutions over time with filters as tall as the spectrogram, then two of width one."""

    def __init__(self, mel_bands: int, width: int, settings: HeadSettings) -> None:
        super().__init__(settings)
        self.early = nn.Sequential(
            *_layer(INPUTS * mel_bands, width, 5),
            nn.MaxPool1d(4, ceil_mode=True),
            *_layer(width, width, 5),
            nn.MaxPool1d(4, ceil_mode=True),
        )
        self.late = nn.Sequential(
            *_layer(width, 2 * width, 1), nn.Dropout(settings.dropout), *_layer(2 * width, width, 1)
        )
        self.head = Head(width, settings)

    def trunk(self, frames: Tensor) -> Tensor:
        late: Tensor = self.late(self.early(frames.flatten(1, 2)))
        return late
