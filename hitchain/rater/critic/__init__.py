"""The realness critic: tells real recordings from output, learns as a climb goes on, and says how sure it is.

    from hitchain.rater.critic import Critic, real
    critic = Critic(real.pack(), seed=0)
    critic.update(audio, sample_rate)           # output so far: (batch, channels, samples)
    log_odds = critic(audio, sample_rate)       # (batch,), calibrated: 0 undecided, above it more likely real
    score = rating + 0.1 * critic.term(audio, sample_rate)

Importing this package does not import PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitchain.rater.critic import real
    from hitchain.rater.critic.critic import Critic, CriticSettings

__all__ = ["Critic", "CriticSettings", "real"]

_HOMES = {"Critic": "critic", "CriticSettings": "critic"}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "real":
        return importlib.import_module(f"{__name__}.real")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
