"""What was put out so far, in bounded memory: the newest, and a fair sample of everything before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Item:
    """An excerpt of output: uint8, all of one shape. `fold`: which part of the whole it belongs to."""

    frames: Tensor
    fold: int


class Replay:
    """A buffer of outputs from which half of a batch is new and half is old (Shrivastava et al. 2017).

    The newest `recent` items are kept in order. An item pushed out of them may enter the `old` ones, which are a
    uniform sample of all that were ever pushed out (algorithm R; Vitter 1985). So a critic that follows a climb does
    not forget what it has seen through before, and the climb cannot come back to it.

    Args:
        recent, old: how many items each part holds, at least 1.
        seed: decides what is kept. Same items, same seed: same buffer.
    """

    def __init__(self, recent: int, old: int, seed: int) -> None:
        if recent < 1 or old < 1:
            raise ValueError(f"a replay buffer needs room for new and old items, not {recent} and {old}")
        self.capacity = {"recent": recent, "old": old}
        self.seed = seed
        self.recent: list[Item] = []
        self.old: list[Item] = []
        self.pushed_out = 0

    def __len__(self) -> int:
        return len(self.recent) + len(self.old)

    def add(self, frames: Tensor, folds: Sequence[int]) -> None:
        """Put items (count, ...) in, the oldest first, each with its fold."""
        for excerpt, fold in zip(frames, folds, strict=True):
            self.recent.append(Item(excerpt.clone(), fold))
            if len(self.recent) > self.capacity["recent"]:
                self._retire(self.recent.pop(0))

    def _retire(self, item: Item) -> None:
        self.pushed_out += 1
        if len(self.old) < self.capacity["old"]:
            self.old.append(item)
            return
        place = int(np.random.default_rng([self.seed, self.pushed_out]).integers(self.pushed_out))
        if place < len(self.old):
            self.old[place] = item

    def sample(self, count: int, random: np.random.Generator, without: int | None = None) -> Tensor:
        """Items (count, ...), with replacement: half from the newest, half from the old where there are any.

        Args:
            without: a fold of which none is wanted; where there is no other, its items are given all the same.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self.recent:
            raise ValueError("nothing to sample: the replay buffer is empty")
        recent, old = ([item for item in part if item.fold != without] for part in (self.recent, self.old))
        recent = recent or old or self.recent
        from_old = count // 2 if old else 0
        chosen = [recent[int(i)] for i in random.integers(len(recent), size=count - from_old)]
        chosen += [old[int(i)] for i in random.integers(len(old), size=from_old)] if from_old else []
        return torch.stack([item.frames for item in chosen])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `load_state` makes the same buffer."""
        parts = {"recent": self.recent, "old": self.old}
        tensors = {name: torch.stack([item.frames for item in items]) for name, items in parts.items() if items}
        folds = {name: [item.fold for item in items] for name, items in parts.items()}
        return tensors, {"pushed_out": self.pushed_out, "folds": folds}

    def load_state(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Become the buffer of that `state`, of a buffer with the same capacity."""
        self.recent, self.old = (list(_items(tensors, values, name)) for name in ("recent", "old"))
        self.pushed_out = int(values["pushed_out"])


def _items(tensors: Mapping[str, Tensor], values: Mapping[str, Any], name: str) -> Iterator[Item]:
    for frames, fold in zip(tensors.get(name, torch.empty(0)), values["folds"][name], strict=True):
        yield Item(frames.clone(), int(fold))
