"""`transformer`: attention over patches of the log-mel spectrogram."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hitchain.rater.networks.trunk import INPUTS, Head, HeadSettings, RatingNetwork

PATCH, STEP = 16, 10
LAYERS, ATTENTION_HEADS = 4, 4
SLOPES = (0.5, 0.125, 0.03125, 0.0)
"""How fast each attention head forgets, per patch step (0.2 s): half-lives of about 0.3, 1.1 and 4.4 s; one never."""


class _Layer(nn.Module):
    """Self-attention and a two-layer perceptron, each normalised before and added to what came in."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.outputs = nn.Linear(width, width)
        self.before_dense = nn.LayerNorm(width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        parts = self.inputs(self.before_attention(tokens)).view(batch, count, 3, ATTENTION_HEADS, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        heard = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        tokens = tokens + self.dropout(self.outputs(heard.transpose(1, 2).reshape(batch, count, width)))
        done: Tensor = tokens + self.dropout(self.dense(self.before_dense(tokens)))
        return done


class Transformer(RatingNetwork):
    """Overlapping patches of 16 bands x 16 frames, 10 apart (Gong, Chung and Glass 2021), through a small encoder.

    Where a patch stands in frequency is learnt. In time only distances count, as attention that fades with them, at
    another speed for each head (Press, Smith and Lewis 2022, in both directions): it was shown to carry over to lengths
    never trained on, and it makes the rating independent of where in a song a moment stands.
    """

    def __init__(self, mel_bands: int, width: int, settings: HeadSettings) -> None:
        super().__init__(settings)
        rows = (mel_bands - PATCH) // STEP + 1
        self.patches = nn.Conv2d(INPUTS, width, PATCH, stride=STEP)
        self.frequency = nn.Parameter(0.02 * torch.randn(width, rows, 1))
        self.layers = nn.ModuleList(_Layer(width, settings.dropout / 3) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)
        self.head = Head(width, settings)

    def trunk(self, frames: Tensor) -> Tensor:
        frames = nn.functional.pad(frames, (0, max(0, PATCH - frames.shape[-1])))
        patches = self.patches(frames) + self.frequency
        batch, width, rows, steps = patches.shape
        bias = fading(steps, rows).to(patches.device)
        tokens = patches.permute(0, 3, 2, 1).reshape(batch, steps * rows, width)
        for layer in self.layers:
            tokens = layer(tokens, bias)
        normed: Tensor = self.norm(tokens).view(batch, steps, rows, width).mean(2).transpose(1, 2)
        return normed


def fading(steps: int, rows: int) -> Tensor:
    """What is added to the attention between tokens: (heads, steps * rows, steps * rows), -slope x distance in time."""
    time = torch.arange(steps).repeat_interleave(rows).float()
    distance = (time[:, None] - time[None]).abs()
    return -torch.tensor(SLOPES)[:, None, None] * distance
