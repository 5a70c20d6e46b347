"""`inception`: the deep baseline, after the inception network of Yang et al. (ICASSP 2017, arXiv 1704.01280).

What is kept: the module of Szegedy et al. (CVPR 2015) on the mel spectrogram, that is, filters of several sizes side by
side, so that short and long events are described at once; a deep stack of them; pooling over the whole song.

What differs: our front end for input; batch normalisation after every convolution (Ioffe and Szegedy 2015), which the
original module came without; two 3 x 3 layers in place of one of 5 x 5; no auxiliary classifiers; and a fifth of the
width of the network for images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hitchain.rater.networks.trunk import INPUTS, Head, HeadSettings, RatingNetwork, channels_last, convolution


class _Module(nn.Module):
    """Points, 3 x 3, 5 x 5 (as two 3 x 3) and pooled neighbours, side by side: (batch, inputs, ...) -> outputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        quarter, eighth = outputs // 4, outputs // 8
        self.points = convolution(inputs, quarter, size=1)
        self.middle = nn.Sequential(convolution(inputs, quarter, size=1), convolution(quarter, outputs // 2))
        self.wide = nn.Sequential(
            convolution(inputs, eighth, size=1), convolution(eighth, eighth), convolution(eighth, eighth)
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution(inputs, eighth, size=1))

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([self.points(image), self.middle(image), self.wide(image), self.pooled(image)], dim=1)


class Inception(RatingNetwork):
    """A stem, six inception modules with max pooling between them, 16 convolutions deep."""

    def __init__(self, mel_bands: int, width: int, settings: HeadSettings) -> None:
        super().__init__(settings)
        width = -(-width // 8) * 8  # a module divides its outputs by eight
        self.stem = nn.Sequential(
            convolution(INPUTS, width // 2, stride=2), convolution(width // 2, width), nn.MaxPool2d(2, ceil_mode=True)
        )
        self.modules_ = nn.Sequential(
            _Module(width, 2 * width), _Module(2 * width, 2 * width), nn.MaxPool2d((2, 1), ceil_mode=True),
            _Module(2 * width, 3 * width), _Module(3 * width, 3 * width), nn.MaxPool2d(2, ceil_mode=True),
            _Module(3 * width, 4 * width), _Module(4 * width, 4 * width),
        )  # fmt: skip
        rows = mel_bands
        for _ in range(4):
            rows = (rows + 1) // 2
        self.mix = nn.Sequential(nn.Conv1d(4 * width * rows, 96, 1), nn.SiLU())
        self.head = Head(96, settings)

    def trunk(self, frames: Tensor) -> Tensor:
        image = self.modules_(self.stem(channels_last(frames)))
        mixed: Tensor = self.mix(image.flatten(1, 2))
        return mixed
