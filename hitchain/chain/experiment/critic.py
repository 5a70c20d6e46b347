"""The realness critic beside a dream: taught, as it goes, to tell the dream from real recordings."""

from __future__ import annotations

from torch import Tensor

from hitchain.chain.objective import Judge

EVERY = 8
"""Steps of a dream between two lessons of the critic."""
WEIGHT = 0.3
"""What one unit of the critic's term is worth beside the rating."""


def critic_of(start: Tensor, sample_rate: int) -> Judge:
    """A critic that learns from what it is asked about: audio, sample rate -> weighted term (batch,)."""
    from hitchain.rater.critic import Critic, real

    critic = Critic(real.pack(), seed=0)
    critic.update(start, sample_rate)
    asked = 0

    def term(audio: Tensor, rate: int) -> Tensor:
        nonlocal asked
        asked += 1
        if asked % EVERY == 0:
            critic.update(audio.detach(), rate)
        return WEIGHT * critic.term(audio, rate)

    return term
