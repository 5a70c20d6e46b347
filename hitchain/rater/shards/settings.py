"""What `hitchain prepare` can be told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.rater.shards.layout import KINDS

BACKENDS = ("local", "ray")


@dataclass(frozen=True)
class PrepareSettings:
    """Settings of a preparation; conf/prepare.yaml holds the same keys with the same values.

    Attributes:
        kind: "audio" (16-bit stereo at 32 kHz, for every augmentation) or "mel" (log-mel frames, an eighth of it).
        workers: processes; None is one for each processor, and on Ray as many as the cluster has.
        backend: "local" or "ray".
        ray_address: of the cluster; None starts one here.
        shard_mb: about how large a shard is [MB].
        seconds_per_song: keep at most so much of a recording, from its middle; None keeps all.
        validation_fraction, test_fraction: shares of the artists.
        verify: compare the shards that are there with their checksums first, and make damaged ones again.
        seed: of the split.
    """

    kind: str = "audio"
    workers: int | None = None
    backend: str = "local"
    ray_address: str | None = None
    shard_mb: float = 256.0
    seconds_per_song: float | None = None
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    verify: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("backend", BACKENDS)):
            if getattr(self, name) not in known:
                raise UserError(f"{name}={getattr(self, name)!r}; {nearest(str(getattr(self, name)), known)}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            optional = getattr(PrepareSettings, name) is None
            whole = name in ("workers", "seed")
            if (value is None and optional) or _is_number(value, low, high, whole):
                continue
            what = "a whole number" if whole else "a number"
            also = ", or null" if optional else ""
            raise UserError(f"{name}={value!r} should be {what} from {low:g} to {high:g}{also}.")
        if not isinstance(self.verify, bool):
            raise UserError(f"verify={self.verify!r} should be true or false.")
        if self.ray_address is not None and not isinstance(self.ray_address, str):
            raise UserError(f"ray_address={self.ray_address!r} should be text such as auto or ray://head:10001.")
        if self.validation_fraction + self.test_fraction > 0.95:
            raise UserError("validation_fraction and test_fraction leave less than 0.05 for training.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> PrepareSettings:
        """Settings from a configuration. Raises `UserError` for an unknown key."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"unknown key {name!r}; {nearest(str(name), known)}")
        return cls(**{str(name): value for name, value in values.items()})

    @property
    def processes(self) -> int:
        """Worker processes of the local backend."""
        return self.workers or os.cpu_count() or 1

    @property
    def fractions(self) -> dict[str, float]:
        """The share of each split."""
        held = {"validation": self.validation_fraction, "test": self.test_fraction}
        return {"training": 1.0 - sum(held.values()), **held}


_RANGES: dict[str, tuple[float, float]] = {
    "workers": (1, 1024),
    "shard_mb": (0.01, 100_000.0),
    "seconds_per_song": (1.0, 1e6),
    "validation_fraction": (0.0, 0.9),
    "test_fraction": (0.0, 0.9),
    "seed": (0, 2**31 - 1),
}


def _is_number(value: Any, low: float, high: float, whole: bool) -> bool:
    kinds = int if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
