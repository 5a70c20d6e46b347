"""Pooling over time: what makes a network fit any length."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentiveStatistics(nn.Module):
    """Attention-weighted mean and standard deviation over time (Okabe, Koshinaka and Shinoda, Interspeech 2018).

    Shape:
        - input: (batch, features, frames)
        - output: (batch, 2 * features)
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.outputs = 2 * features
        self.score = nn.Sequential(nn.Conv1d(features, 32, 1), nn.Tanh(), nn.Conv1d(32, features, 1))

    def forward(self, frames: Tensor) -> Tensor:
        weight = torch.softmax(self.score(frames), dim=-1)
        mean = (weight * frames).sum(-1)
        variance = (weight * (frames - mean.unsqueeze(-1)).square()).sum(-1)
        return torch.cat([mean, torch.sqrt(variance + 1e-4)], dim=-1)


class GeneralisedMean(nn.Module):
    """mean(y^e)^(1/e) over time of y = softplus(x), an exponent e for each feature (Radenovic, Tolias and Chum 2018).

    e = 1 is the mean, e -> infinity the maximum; it is learnt and stays above 1. Computed as
    exp((logsumexp(e log y) - log n) / e), which neither overflows nor divides by zero, whatever e and y.

    Shape:
        - input: (batch, features, frames)
        - output: (batch, features)
    """

    def __init__(self, features: int, exponent: float = 3.0) -> None:
        super().__init__()
        self.outputs = features
        above = torch.tensor(exponent - 1.0)
        self.excess = nn.Parameter(torch.log(torch.expm1(above)).repeat(features))  # softplus of it is `above`

    def exponent(self) -> Tensor:
        """(features,), each above 1."""
        return 1.0 + nn.functional.softplus(self.excess)

    def forward(self, frames: Tensor) -> Tensor:
        exponent = self.exponent()
        # log(softplus(x)) tends to x for x -> -infinity, where softplus itself would round to 0, its log to -infinity.
        low = frames < -15.0
        level = torch.where(low, frames, torch.log(nn.functional.softplus(torch.where(low, 0.0, frames))))
        total = torch.logsumexp(level * exponent[:, None], dim=-1)
        return torch.exp((total - torch.log(torch.tensor(float(frames.shape[-1])))) / exponent)


POOLINGS: dict[str, type[AttentiveStatistics] | type[GeneralisedMean]] = {
    "attention": AttentiveStatistics,
    "gem": GeneralisedMean,
}
