"""The chain: composes blocks into a song, renders its stems, climbs a rater. The only room that knows the other two.

from hitchain import rater
from hitchain.chain import Song, climb

song = Song.load("demo", overrides=["instrument@lead=subtractive"])
best = climb(song, rater.load("appeal"), steps=50, learn=["mastering.*", "lead.*"])
master = song(best.patch)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitchain.chain.ascent import Climbed, Schedule, climb
    from hitchain.chain.chain import Song, Track, Window
    from hitchain.chain.knobs import Knobs
    from hitchain.chain.objective import Objective
    from hitchain.chain.patch import Patch

_HOMES = {
    "Climbed": "ascent",
    "Knobs": "knobs",
    "Objective": "objective",
    "Patch": "patch",
    "Schedule": "ascent",
    "Song": "chain",
    "Track": "chain",
    "Window": "chain",
    "climb": "ascent",
}

__all__ = ["Climbed", "Knobs", "Objective", "Patch", "Schedule", "Song", "Track", "Window", "climb"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
