"""How likely output passes for a recording, by a critic that learns from it as it comes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hitchain.chain.objective.term import Heard, Term, term
from hitchain.rater.critic import Critic, CriticSettings
from hitchain.rater.critic.real import load


@term("realness")
class Realness(Term):
    """log P(real) [nats], by a critic that learns to tell recordings from output alongside the climb (adversarially).

    log sigmoid of the calibrated log-odds of `hitchain.rater.critic.Critic`: 0 for what passes, -0.7 for a guess. The
    critic learns from the starting patch first, then from the candidates of every step; its state goes with the
    checkpoint, so that a resumed climb ends as it would have, to the bit.

    Args:
        real: recordings to learn from: a folder of audio, a pack's file or a prepared set; None for the shipped pack.
        seed: of everything random in it.
        first_steps, steps: of its optimiser, on the starting patch and after every step of the climb.
    """

    unit = "nats"
    scale = 0.2

    def __init__(self, real: str | None = None, seed: int = 0, first_steps: int = 80, steps: int = 2) -> None:
        settings = CriticSettings.from_mapping({"first_steps": first_steps, "steps": steps})
        self.critic = Critic(load(real), settings, seed)

    def begin(self, heard: Sequence[Heard]) -> None:
        self.critic.to(heard[0].audio.device)
        self.critic.update(torch.cat([part.audio for part in heard]), heard[0].sample_rate)

    def measure(self, heard: Heard) -> Tensor:
        return self.critic.to(heard.audio.device).term(heard.audio, heard.sample_rate)

    def learn(self, heard: Heard) -> None:
        self.critic.update(heard.audio, heard.sample_rate)

    def state(self) -> dict[str, Tensor]:
        return self.critic.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        self.critic.load_state(state)
