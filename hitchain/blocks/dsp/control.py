"""Settings as multipliers: bringing (batch,) and (batch, frames) values to the shape of the audio."""

from __future__ import annotations

import torch
from torch import Tensor


def over_audio(value: Tensor, samples: int) -> Tensor:
    """A setting to be combined with audio (batch, channels, samples).

    Args:
        value: (batch,), constant; or (batch, frames), interpolated linearly from the first sample to the last.

    Returns:
        (batch, 1, 1) or (batch, 1, samples).
    """
    if value.ndim == 1:
        return value[:, None, None]
    if value.shape[-1] == samples:
        return value[:, None, :]
    return torch.nn.functional.interpolate(value[:, None, :], size=samples, mode="linear", align_corners=True)
