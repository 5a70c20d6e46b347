"""The realness critic that co-evolves with an agent, after Generative Adversarial Post-Training (arXiv 2511.17879).

An agent that is rewarded by a fixed rater alone finds the few sounds that it likes best and plays nothing else. A
critic that learns to tell the agent's output from recordings takes the reward of any such habit away again. As there,
it learns at a fixed pace first; from then on only while it is fooled, so that it does not run away from an agent that
cannot follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hitchain.chain.reinforce.settings import ProductionSettings
from hitchain.rater.critic import Critic, CriticSettings
from hitchain.rater.critic.real import load

FIRST_STEPS = 40
HEARD = 8
"""Outputs of each batch that the critic learns from: the first ones."""
AVERAGE = 3
"""Batches over which it is seen whether the critic is fooled."""


class Realness:
    """A critic that hears finished episodes, and learns from them as they come.

    Args:
        settings: `outputs`, `warm`, `real` and `seed`.
        device: where the audio is.
    """

    def __init__(self, settings: ProductionSettings, device: str = "cpu") -> None:
        self.settings = settings
        own = CriticSettings(first_steps=FIRST_STEPS)
        self.critic = Critic(load(settings.real), own, settings.seed).to(device)
        self.heard = 0
        self.batches = 0
        self.log_odds: list[float] = []
        self._waiting: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, audio: Tensor, sample_rate: int) -> Tensor:
        """log P(real) [nats] of finished episodes: (episodes,). -0.69 before the critic has learnt anything."""
        return self.critic.term(audio, sample_rate).cpu()

    def take(self, audio: Tensor, sample_rate: int) -> None:
        """Finished episodes; after every `settings.outputs` of them the critic may learn."""
        wanted = HEARD - sum(len(part) for part in self._waiting)
        if wanted > 0:
            self._waiting.append(audio[:wanted].detach())
        self.heard += len(audio)
        if self.heard >= self.settings.outputs:
            self._learn(torch.cat(self._waiting), sample_rate)
            self.heard, self._waiting = 0, []

    def _learn(self, audio: Tensor, sample_rate: int) -> None:
        with torch.no_grad():
            self.log_odds = [*self.log_odds, float(self.critic(audio, sample_rate).mean())][-AVERAGE:]
        fooled = sum(self.log_odds) / len(self.log_odds) > 0.0
        if self.batches < self.settings.warm or fooled:
            self.critic.update(audio, sample_rate)
        self.batches += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `restore` goes on; between batches, when no episode is waiting."""
        return self.critic.state(), {"batches": self.batches, "log_odds": self.log_odds}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.critic.load_state(tensors)
        self.batches, self.log_odds = int(values["batches"]), [float(value) for value in values["log_odds"]]
        self.heard, self._waiting = 0, []
