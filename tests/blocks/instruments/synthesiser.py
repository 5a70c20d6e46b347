"""What the tests of the synthesisers share: settings by name, and a pitch measured to a hundredth of a cent."""

from __future__ import annotations

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from hitchain.blocks.block import Instrument


def settings_of(
    synthesiser: Instrument, batch: int = 1, dtype: torch.dtype = torch.float32, **values: float
) -> dict[str, Tensor]:
    settings = synthesiser.defaults(batch, dtype)
    return settings | {name: torch.full((batch,), value, dtype=dtype) for name, value in values.items()}


def cents_off(audio: np.ndarray, frequency: float, rate: int) -> float:
    """Pitch error from the phase that the partial at `frequency` gains between two windows half a second apart."""
    time = np.arange(len(audio)) / rate
    mixed = audio * np.exp(-2j * np.pi * frequency * time)
    size, start = int(0.8 * rate), int(0.2 * rate)
    window = scipy.signal.windows.kaiser(size, 12)
    first, second = (np.sum(mixed[at : at + size] * window) for at in (start, start + rate // 2))
    return float(1200 * np.log2(1 + np.angle(second / first) / (2 * np.pi * 0.5 * frequency)))
