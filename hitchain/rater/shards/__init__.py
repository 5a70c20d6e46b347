"""Prepared recordings: decoded once into shards, plain arrays that training maps into memory.

    from hitchain.rater.shards import Prepared
    prepared = Prepared("prepared")                      # what `hitchain prepare` wrote
    crop = prepared.crop(index=3, start=32_000, length=64_000)      # (2, 64000) float32 at 32 kHz

A prepared folder holds

    prepared.json       what it is: format, version, kind, sample rate, front end, bytes and SHA-256 of every file below
    index.jsonl         a line for each recording: its row, its split and group, and where it stands in which shard
    plan.jsonl          a line for each shard: which recordings it was to hold
    shards/00000.npy    int16 (samples, 2) or float16 (frames, 2, bands), recordings one after another
    shards/00000.fingerprints.npy, shards/00000.json      their fingerprints, and what became of each
    skipped.csv, splits.json, balance.json

Nothing in it is ever executed or unpickled. Importing this package imports neither PyTorch nor NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitchain.rater.shards.layout import Entry
    from hitchain.rater.shards.preparation import prepare
    from hitchain.rater.shards.prepared import Prepared
    from hitchain.rater.shards.settings import PrepareSettings

__all__ = ["Entry", "PrepareSettings", "Prepared", "prepare"]

_HOMES = {"Entry": "layout", "PrepareSettings": "settings", "Prepared": "prepared", "prepare": "preparation"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
