"""`mel_tcn`: dilated convolutions over time."""

from __future__ import annotations

from torch import Tensor, nn

from hitchain.rater.networks.trunk import INPUTS, Head, HeadSettings, RatingNetwork


class _TemporalBlock(nn.Module):
    """A residual depthwise-separable dilated convolution over time."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation, groups=width, bias=False),
            nn.BatchNorm1d(width),
            nn.Conv1d(width, 2 * width, 1),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Conv1d(2 * width, width, 1),
        )

    def forward(self, frames: Tensor) -> Tensor:
        out: Tensor = frames + self.layers(frames)
        return out


class MelTCN(RatingNetwork):
    """One-dimensional dilated convolutions (Bai, Kolter and Koltun 2018) over local features: long contexts."""

    def __init__(self, mel_bands: int, width: int, settings: HeadSettings) -> None:
        super().__init__(settings)
        self.local = nn.Sequential(
            nn.Conv2d(INPUTS, 12, (5, 3), stride=2, padding=(2, 1), bias=False), nn.BatchNorm2d(12), nn.SiLU(),
            nn.Conv2d(12, 16, (5, 3), stride=2, padding=(2, 1), bias=False), nn.BatchNorm2d(16), nn.SiLU(),
        )  # fmt: skip
        rows = ((mel_bands + 1) // 2 + 1) // 2
        self.stem = nn.Sequential(nn.Conv1d(16 * rows, width, 1), nn.SiLU())
        dropout = settings.dropout / 2
        self.blocks = nn.Sequential(*(_TemporalBlock(width, dilation, dropout) for dilation in (1, 2, 4, 8)))
        self.head = Head(width, settings)

    def trunk(self, frames: Tensor) -> Tensor:
        blocks: Tensor = self.blocks(self.stem(self.local(frames).flatten(1, 2)))
        return blocks
