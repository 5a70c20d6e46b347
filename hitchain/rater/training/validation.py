"""What validation hears: steady crops of recordings that never train, the same in every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.rater.training import distributed
from hitchain.rater.training.crops import Cropper
from hitchain.rater.training.learner import Learner

CROPS = 3
LARGEST_CACHE = 512 * 2**20
"""Frames are kept in memory up to so many bytes; of a larger set they are made again in every epoch."""


class Validation:
    """The crops of some recordings, shared out among the processes.

    Args:
        indices: the places of the recordings in the prepared set.
    """

    def __init__(self, cropper: Cropper, indices: Sequence[int]) -> None:
        self.cropper, self.indices = cropper, list(indices)
        self._kept: list[Tensor] | None = None

    @torch.no_grad()
    def outputs(self, learner: Learner, state: Mapping[str, Tensor]) -> dict[str, NDArray[np.float64]]:
        """What a network with these weights says of every recording: rating (recordings,), logits (..., classes).

        Each is the mean over the recording's crops. The learner's own weights stay as they are.
        """
        own = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
        learner.network.load_state_dict(dict(state))
        learner.network.eval()
        try:
            said = [
                {name: output.mean(0).cpu().double().numpy() for name, output in learner.outputs(frames).items()}
                for frames in self._heard(learner)
            ]
        finally:
            learner.network.load_state_dict(own)
        # Process k heard recordings k, k + n, ...: put them back in order.
        parts = distributed.gathered(said)
        ordered = [parts[place % len(parts)][place // len(parts)] for place in range(len(self.indices))]
        return {name: np.stack([entry[name] for entry in ordered]) for name in ordered[0]}

    def _heard(self, learner: Learner) -> Iterator[Tensor]:
        if self._kept is not None:
            yield from self._kept
            return
        kept, size = [], 0
        for index in self.indices[distributed.rank() :: distributed.processes()]:
            frames = learner.frames(self.cropper.steady(index, CROPS))
            size += frames.numel() * frames.element_size()
            if size <= LARGEST_CACHE:
                kept.append(frames)
            yield frames
        if size <= LARGEST_CACHE:
            self._kept = kept
