"""The critic's network: log-mel frames -> one logit, with every layer's gain held to one.

Why spectral normalisation and the logistic loss: what is wanted is a log-odds of being real that has a useful slope
everywhere, also where the two kinds are told apart without error. Spectral normalisation (Miyato et al. 2018) bounds
the slope by construction, for one power iteration a step; the penalties on the gradient (Gulrajani et al. 2017; R1 of
Mescheder et al. 2018) need a second derivative, twice the time, and hold only where they were sampled. The hinge loss
that often goes with it is not a proper score: its logit is no log-odds. The logistic loss is, so a slope and an offset
are enough to calibrate it. Of Mescheder et al. the critic keeps the instance noise (see `frames`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (16, 32, 48, 64)
GAIN = 6.0
"""Of the last layer: layers of gain one, leaky rectifiers between them, leave logits too small to learn from."""
ACTIVITY_FLOOR = 1e-3


class CriticNetwork(nn.Module):
    """Four strided convolutions and a logit for every third of a second, from 1.2 s around it; their mean by activity.

    Pieces where nothing sounds have next to no weight, so silence before, after or inside a recording says nothing.

    Shape:
        - frames: (batch, 2, mel_bands, frames), frames of the front end, any number of them from 16 up
        - output: (batch,)
    """

    def __init__(self, mel_bands: int = 80) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs, rows = 2, mel_bands
        for width in WIDTHS:
            layers += [spectral_norm(nn.Conv2d(inputs, width, 5, stride=2, padding=2)), nn.LeakyReLU(0.2)]
            inputs, rows = width, (rows + 1) // 2
        self.layers = nn.Sequential(*layers)
        self.mix = nn.Sequential(spectral_norm(nn.Conv1d(inputs * rows, 48, 1)), nn.LeakyReLU(0.2))
        self.logit = spectral_norm(nn.Conv1d(48, 1, 1))
        self.step = 2 ** len(WIDTHS)

    def forward(self, frames: Tensor) -> Tensor:
        centred = (4.0 * frames - 2.0).contiguous(memory_format=torch.channels_last)
        logits = GAIN * self.logit(self.mix(self.layers(centred).flatten(1, 2)))[:, 0]
        weight = _activity(frames, self.step, logits.shape[-1])
        pooled: Tensor = (weight * logits).sum(-1) / weight.sum(-1)
        return pooled


def _activity(frames: Tensor, step: int, pieces: int) -> Tensor:
    """How much sounds in every piece of `step` frames: (batch, pieces), from `ACTIVITY_FLOOR` up."""
    loud = frames.mean(dim=(1, 2))
    loud = torch.nn.functional.pad(loud, (0, pieces * step - loud.shape[-1]))
    return loud.reshape(len(loud), pieces, step).mean(-1) + ACTIVITY_FLOOR
