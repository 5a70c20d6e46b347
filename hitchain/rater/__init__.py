"""The rating room: audio -> rating, a network; how it is trained, loaded and used.

    import hitchain.rater as rater
    p = rater.popularity(likes=120, plays=4000)
    appeal = rater.load("appeal")
    ratings = appeal(audio, sample_rate)        # (batch, channels, samples) -> (batch,), differentiable

Importing this package does not import PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hitchain.rater.target import popularity

if TYPE_CHECKING:
    from hitchain.rater.rater import Rater, load, members
    from hitchain.rater.row import Row
    from hitchain.rater.sources.manifest import read_manifest

__all__ = ["Rater", "Row", "load", "members", "popularity", "read_manifest"]

_HOMES = {
    "Rater": "rater",
    "load": "rater",
    "members": "rater",
    "Row": "row",
    "read_manifest": "sources.manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
