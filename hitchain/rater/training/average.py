"""A moving average of a network's weights, which often generalises better than the last ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of all floating-point entries of a state; the others are the latest.

    average <- d * average + (1 - d) * now with d = min(decay, (1 + n) / (10 + n)) after n updates, so that the first
    weights are soon forgotten. A decay of 0 keeps the latest weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        decay = min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        self.updates += 1
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, 1.0 - decay)
            else:
                self.state[name].copy_(tensor)

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        for name, tensor in state.items():
            self.state[name].copy_(tensor)
        self.updates = updates
