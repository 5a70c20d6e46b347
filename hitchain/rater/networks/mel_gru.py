"""`mel_gru`: recurrence over slices of time."""

from __future__ import annotations

from torch import Tensor, nn

from hitchain.rater.networks.trunk import INPUTS, Head, HeadSettings, RatingNetwork


class MelGRU(RatingNetwork):
    """Convolution along frequency in short slices of time, then a bidirectional gated recurrent unit over them."""

    def __init__(self, mel_bands: int, width: int, settings: HeadSettings) -> None:
        super().__init__(settings)
        # Seven frames wide, four frames apart: the recurrence runs at 12.5 slices a second.
        self.slices = nn.Sequential(
            nn.Conv2d(INPUTS, 24, (5, 7), stride=(3, 4), padding=(2, 3), bias=False), nn.BatchNorm2d(24), nn.SiLU(),
            nn.Conv2d(24, 32, (3, 1), stride=(2, 1), padding=(1, 0), bias=False), nn.BatchNorm2d(32), nn.SiLU(),
        )  # fmt: skip
        rows = ((mel_bands + 2) // 3 + 1) // 2
        self.mix = nn.Sequential(nn.Conv1d(32 * rows, 96, 1), nn.SiLU(), nn.Dropout(settings.dropout / 2))
        self.recurrence = nn.GRU(96, width, batch_first=True, bidirectional=True)
        self.head = Head(2 * width, settings)

    def trunk(self, frames: Tensor) -> Tensor:
        slices = self.mix(self.slices(frames).flatten(1, 2))
        states, _ = self.recurrence(slices.transpose(1, 2))
        steps: Tensor = states.transpose(1, 2)
        return steps
