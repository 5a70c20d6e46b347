"""What was put out so far, in bounded memory: the newest, and a fair sample of everything before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Replay:
    """A buffer of outputs from which half of a batch is new and half is old (Shrivastava et al. 2017).

    The newest `recent` items are kept in order. An item pushed out of them may enter the `old` ones, which are a
    uniform sample of all that were ever pushed out (algorithm R; Vitter 1985). So a critic that follows a climb does
    not forget what it has seen through before, and the climb cannot come back to it.

    Args:
        recent, old: how many items each part holds, at least 1.
        seed: decides what is kept. Same items, same seed: same buffer.

    An item is a uint8 tensor, all of one shape.
    """

    def __init__(self, recent: int, old: int, seed: int) -> None:
        if recent < 1 or old < 1:
            raise ValueError(f"a replay buffer needs room for new and old items, not {recent} and {old}")
        self.capacity = {"recent": recent, "old": old}
        self.seed = seed
        self.recent: list[Tensor] = []
        self.old: list[Tensor] = []
        self.pushed_out = 0

    def __len__(self) -> int:
        return len(self.recent) + len(self.old)

    def add(self, items: Tensor) -> None:
        """Put items (count, ...) in, the oldest first."""
        for item in items:
            self.recent.append(item.clone())
            if len(self.recent) > self.capacity["recent"]:
                self._retire(self.recent.pop(0))

    def _retire(self, item: Tensor) -> None:
        self.pushed_out += 1
        if len(self.old) < self.capacity["old"]:
            self.old.append(item)
            return
        place = int(np.random.default_rng([self.seed, self.pushed_out]).integers(self.pushed_out))
        if place < len(self.old):
            self.old[place] = item

    def sample(self, count: int, random: np.random.Generator) -> Tensor:
        """Items (count, ...), with replacement: half from the newest, half from the old where there are any.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self.recent:
            raise ValueError("nothing to sample: the replay buffer is empty")
        from_old = count // 2 if self.old else 0
        chosen = [self.recent[int(i)] for i in random.integers(len(self.recent), size=count - from_old)]
        chosen += [self.old[int(i)] for i in random.integers(len(self.old), size=from_old)] if from_old else []
        return torch.stack(chosen)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `load_state` makes the same buffer."""
        parts = {"recent": self.recent, "old": self.old}
        return {name: torch.stack(items) for name, items in parts.items() if items}, {"pushed_out": self.pushed_out}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Become the buffer of that `state`, cut to this one's capacity."""
        self.recent = list(tensors["recent"])[-self.capacity["recent"] :] if "recent" in tensors else []
        self.old = list(tensors["old"])[: self.capacity["old"]] if "old" in tensors else []
        self.pushed_out = int(values["pushed_out"])
