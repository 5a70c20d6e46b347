"""The registry: every block by its name. Configs and patches name blocks here, never by import path."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from hitchain.errors import UserError, nearest

if TYPE_CHECKING:
    from hitchain.blocks.block import Block

B = TypeVar("B", bound="type[Block]")

STAGES = ("notes", "instruments", "effects", "amps", "cabs", "mics", "mixer", "mastering", "modulators")
"""The stages in the order of the line, then what turns their knobs; each is a folder of this package."""

ENTRY_POINTS = "hitchain.blocks"
"""The entry-point group through which other packages add blocks: its value is the module that registers them."""

_blocks: dict[str, type[Block]] = {}
_loaded = False


def register(name: str) -> Callable[[B], B]:
    """Class decorator: add a block to the registry as "stage/name".

    Raises `ValueError` where the stage is unknown or another class already has the name.
    """
    stage, _, short = name.partition("/")
    if stage not in STAGES or not short.isidentifier():
        raise ValueError(f"block name '{name}' must be STAGE/NAME with STAGE one of {', '.join(STAGES)}")

    def add(block: B) -> B:
        known = _blocks.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (block.__module__, block.__qualname__):
            raise ValueError(f"block name '{name}' is taken by {known.__module__}.{known.__qualname__}")
        block.name = name
        _blocks[name] = block
        return block

    return add


def names(stage: str | None = None) -> list[str]:
    """The registered names, sorted within their stage; of one stage ("effects") or of all, in the order of the line."""
    _load()
    if stage is not None and stage not in STAGES:
        raise UserError(f"unknown stage '{stage}'; {nearest(stage, STAGES)}")
    chosen = [name for name in _blocks if stage in (None, name.partition("/")[0])]
    return sorted(chosen, key=lambda name: (STAGES.index(name.partition("/")[0]), name))


def get(name: str) -> type[Block]:
    """The class registered as `name`. Raises `UserError` naming the nearest where there is none."""
    _load()
    if name not in _blocks:
        raise UserError(f"unknown block '{name}'; {nearest(name, _blocks)}")
    return _blocks[name]


def options(name: str) -> dict[str, inspect.Parameter]:
    """What the block's constructor takes beside the sample rate: {option: its inspect.Parameter}."""
    signature = inspect.signature(get(name).__init__)
    return {key: value for key, value in signature.parameters.items() if key not in ("self", "sample_rate")}


def create(name: str, sample_rate: int = 44100, **chosen: Any) -> Block:
    """A block by name. `chosen` are its constructor's options.

    Raises `UserError` where the name or an option is unknown.
    """
    block = get(name)
    known = options(name)
    for option in chosen:
        if option not in known:
            raise UserError(f"block '{name}' has no option '{option}'; {nearest(option, known)}")
    return block(sample_rate=sample_rate, **chosen)


def _load() -> None:
    """Import every module of the stage folders, then what other packages registered as entry points. Once."""
    global _loaded
    if _loaded:
        return
    _loaded = True
    for stage in STAGES:
        package = importlib.import_module(f"hitchain.blocks.{stage}")
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # somebody else's package must not take ours down
            warnings.warn(f"blocks of '{entry.value}' ({ENTRY_POINTS}) cannot be loaded: {error}", stacklevel=3)
