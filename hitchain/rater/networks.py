"""Rating networks: log-mel frames -> one number. Three different architectures, all fit for any length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hitchain.errors import UserError, nearest

INPUTS = 2  # mid and side


class AttentiveStatistics(nn.Module):
    """Attention-weighted mean and standard deviation over time (Okabe, Koshinaka and Shinoda, Interspeech 2018).

    Shape:
        - input: (batch, features, frames)
        - output: (batch, 2 * features)
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Conv1d(features, 32, 1), nn.Tanh(), nn.Conv1d(32, features, 1))

    def forward(self, frames: Tensor) -> Tensor:
        weight = torch.softmax(self.score(frames), dim=-1)
        mean = (weight * frames).sum(-1)
        variance = (weight * (frames - mean.unsqueeze(-1)).square()).sum(-1)
        return torch.cat([mean, torch.sqrt(variance + 1e-4)], dim=-1)


class Head(nn.Module):
    """Pooling over time and two dense layers: (batch, features, frames) -> (batch,)."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.pool = AttentiveStatistics(features)
        self.layers = nn.Sequential(nn.Linear(2 * features, 64), nn.SiLU(), nn.Dropout(dropout), nn.Linear(64, 1))

    def forward(self, frames: Tensor) -> Tensor:
        rating: Tensor = self.layers(self.pool(frames)).squeeze(-1)
        return rating


def _conv2d(inputs: int, outputs: int, stride: int | tuple[int, int] = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


class MelCNN(nn.Module):
    """Two-dimensional convolutions that shrink time and frequency alike: sees local shapes in the spectrogram."""

    def __init__(self, mel_bands: int, width: int, dropout: float) -> None:
        super().__init__()
        widths = [width, width * 2, width * 3, width * 4]
        self.layers = nn.Sequential(
            _conv2d(INPUTS, widths[0], stride=2),
            _conv2d(widths[0], widths[1], stride=2),
            _conv2d(widths[1], widths[2], stride=(2, 1)),
            _conv2d(widths[2], widths[3], stride=2),
        )
        rows = mel_bands
        for _ in range(4):
            rows = (rows + 1) // 2
        self.mix = nn.Sequential(nn.Conv1d(widths[3] * rows, 96, 1), nn.SiLU())
        self.head = Head(96, dropout)

    def forward(self, frames: Tensor) -> Tensor:
        channels_last = frames.contiguous(memory_format=torch.channels_last)  # twice as fast on CPU
        rating: Tensor = self.head(self.mix(self.layers(channels_last).flatten(1, 2)))
        return rating


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


class MelTCN(nn.Module):
    """One-dimensional dilated convolutions (Bai, Kolter and Koltun 2018) over local features: long contexts."""

    def __init__(self, mel_bands: int, width: int, dropout: float) -> None:
        super().__init__()
        self.local = nn.Sequential(
            nn.Conv2d(INPUTS, 12, (5, 3), stride=2, padding=(2, 1), bias=False), nn.BatchNorm2d(12), nn.SiLU(),
            nn.Conv2d(12, 16, (5, 3), stride=2, padding=(2, 1), bias=False), nn.BatchNorm2d(16), nn.SiLU(),
        )  # fmt: skip
        rows = ((mel_bands + 1) // 2 + 1) // 2
        self.stem = nn.Sequential(nn.Conv1d(16 * rows, width, 1), nn.SiLU())
        self.blocks = nn.Sequential(*(_TemporalBlock(width, dilation, dropout / 2) for dilation in (1, 2, 4, 8)))
        self.head = Head(width, dropout)

    def forward(self, frames: Tensor) -> Tensor:
        rating: Tensor = self.head(self.blocks(self.stem(self.local(frames).flatten(1, 2))))
        return rating


class MelGRU(nn.Module):
    """Convolution along frequency in short slices of time, then a bidirectional gated recurrent unit over them."""

    def __init__(self, mel_bands: int, width: int, dropout: float) -> None:
        super().__init__()
        # Seven frames wide, four frames apart: the recurrence runs at 12.5 slices a second.
        self.slices = nn.Sequential(
            nn.Conv2d(INPUTS, 24, (5, 7), stride=(3, 4), padding=(2, 3), bias=False), nn.BatchNorm2d(24), nn.SiLU(),
            nn.Conv2d(24, 32, (3, 1), stride=(2, 1), padding=(1, 0), bias=False), nn.BatchNorm2d(32), nn.SiLU(),
        )  # fmt: skip
        rows = ((mel_bands + 2) // 3 + 1) // 2
        self.mix = nn.Sequential(nn.Conv1d(32 * rows, 96, 1), nn.SiLU(), nn.Dropout(dropout / 2))
        self.recurrence = nn.GRU(96, width, batch_first=True, bidirectional=True)
        self.head = Head(2 * width, dropout)

    def forward(self, frames: Tensor) -> Tensor:
        slices = self.mix(self.slices(frames).flatten(1, 2))
        states, _ = self.recurrence(slices.transpose(1, 2))
        rating: Tensor = self.head(states.transpose(1, 2))
        return rating


ARCHITECTURES: dict[str, type[MelCNN] | type[MelTCN] | type[MelGRU]] = {
    "mel_cnn": MelCNN,
    "mel_tcn": MelTCN,
    "mel_gru": MelGRU,
}


WIDTHS = {"mel_cnn": 16, "mel_tcn": 80, "mel_gru": 56}
DROPOUT = 0.3


def default_options(architecture: str) -> dict[str, Any]:
    """The options of `create` where none are given; they are written into weights files."""
    if architecture not in ARCHITECTURES:
        raise UserError(f"unknown rater architecture {architecture!r}; {nearest(str(architecture), ARCHITECTURES)}")
    return {"width": WIDTHS[architecture], "dropout": DROPOUT}


def create(architecture: str, mel_bands: int, **options: Any) -> nn.Module:
    """A freshly initialised rating network, (batch, 2, mel_bands, frames) -> (batch,).

    Args:
        architecture: "mel_cnn" (the default elsewhere), "mel_tcn" or "mel_gru".
        mel_bands: bands of the front end, 16 to 256.
        options: `width` (8 to 256) and `dropout` (0 to 0.9); left out, the architecture's own.

    Raises:
        UserError: the name, an option or a value is not known.
    """
    defaults = default_options(architecture)
    _in_range("mel_bands", mel_bands, 16, 256, whole=True)
    for name, value in options.items():
        if name not in ("width", "dropout"):
            raise UserError(f"unknown option {name!r} of {architecture}; {nearest(name, ('width', 'dropout'))}")
        low, high = (8, 256) if name == "width" else (0.0, 0.9)
        _in_range(name, value, low, high, whole=name == "width")
    return ARCHITECTURES[architecture](mel_bands, **{**defaults, **options})


def _in_range(name: str, value: Any, low: float, high: float, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise UserError(f"rater network: {name} is {value!r}; it must be {what} from {low:g} to {high:g}.")
