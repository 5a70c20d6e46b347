"""Optimizers: what moves the knobs. One interface, ask and tell; the config group `optimizer` chooses among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hitchain.chain.optimizers.adam import Adam
from hitchain.chain.optimizers.evolution import Evolution
from hitchain.chain.optimizers.hybrid import Hybrid
from hitchain.chain.optimizers.lbfgs import LBFGS
from hitchain.chain.optimizers.optimizer import Optimizer, Start
from hitchain.chain.optimizers.ppo import PPO
from hitchain.chain.optimizers.random_search import RandomSearch
from hitchain.chain.optimizers.settings import read_settings
from hitchain.errors import UserError, nearest

OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.name: kind for kind in (Adam, LBFGS, Evolution, RandomSearch, Hybrid, PPO)
}

__all__ = ["OPTIMIZERS", "Optimizer", "Start", "find", "settings_of"]


def find(name: str) -> type[Optimizer]:
    """An optimizer's class by its name. Raises `UserError` naming the nearest."""
    if name not in OPTIMIZERS:
        raise UserError(f"optimizer.name: there is no optimizer '{name}'; {nearest(name, OPTIMIZERS)}")
    return OPTIMIZERS[name]


def settings_of(name: str, values: Mapping[str, Any]) -> Any:
    """An optimizer's own settings, checked. Raises `UserError` for an unknown key or a value out of range."""
    return read_settings(find(name).Settings, values, "optimizer")
