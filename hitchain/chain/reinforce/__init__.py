"""Reinforcement learning to produce: an agent chooses notes, then turns knobs, and is rewarded by a rater.

    import gymnasium
    environment = gymnasium.make("hitchain.chain.reinforce:hitchain/Production-v0")

Importing this package registers the environment where Gymnasium is installed, and imports neither it nor PyTorch else.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hitchain.errors import UserError

if TYPE_CHECKING:
    from hitchain.chain.reinforce.environment import ProductionEnv
    from hitchain.chain.reinforce.settings import ProductionSettings

__all__ = ["ENVIRONMENT", "ProductionEnv", "ProductionSettings", "needed"]

ENVIRONMENT = "hitchain/Production-v0"
_HOMES = {"ProductionEnv": "environment", "ProductionSettings": "settings"}


def needed() -> None:
    """Raise `UserError` where the packages of the extra `reinforce` are missing."""
    missing = [name for name in ("gymnasium", "stable_baselines3", "sb3_contrib") if find_spec(name) is None]
    if missing:
        raise UserError(f"`hitchain produce` needs {', '.join(missing)}: pip install 'hitchain[reinforce]'.")


def _register() -> None:
    import gymnasium

    if ENVIRONMENT not in gymnasium.registry:
        gymnasium.register(ENVIRONMENT, entry_point="hitchain.chain.reinforce.environment:ProductionEnv")


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


if find_spec("gymnasium") is not None:
    _register()
