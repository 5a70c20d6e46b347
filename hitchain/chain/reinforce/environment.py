"""The Gymnasium environment hitchain/Production-v0: one agent at the production machine."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from hitchain.chain.objective import Judge
from hitchain.chain.optimizers.settings import read_settings
from hitchain.chain.reinforce.episode import LIMIT, Actions, Array, Episode, Task, observation_size
from hitchain.chain.reinforce.machine import Machine
from hitchain.chain.reinforce.play import hear_all
from hitchain.chain.reinforce.settings import ProductionSettings


class ProductionEnv(gymnasium.Env[Array, np.int64]):
    """An agent chooses the notes of a bar, then turns knobs, and is rewarded by a rater.

    A seed decides the task: key, scale, tempo, and where the knobs stand. The sound is rendered and rated when the
    notes are written, after every sweep of the knobs, and so at the end.

    The reward of an episode is the final rating, and `settings.realness` times log P(real) of the critic. It is paid in
    differences of the rating from one hearing to the next: shaping by a potential (Ng, Harada and Russell 1999) that is
    0 before the first sound and at the end, so that with no discounting the best policy is that of the final reward.

    Observation: `Episode.observation`. Action: one of `Actions`; `action_masks` says which are legal, and an illegal
    one is replaced by the nearest (`info["illegal"]`). At the end `info` has `rating` and `realness`.

    The same seed and actions give the same episode. Only the critic's part of the final reward also depends on the
    episodes before, as the critic learns from them.

    Args:
        machine: that renders, where several environments share one; else one is made.
        rater: in place of the one that the settings name.
        settings: fields of `ProductionSettings`, such as bars=2.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, machine: Machine | None = None, rater: Judge | None = None, **settings: Any) -> None:
        own = machine.settings if machine else read_settings(ProductionSettings, settings, "environment")
        self.machine = machine or Machine(own, rater=rater)
        self.settings = own
        self.actions = Actions(own.pitches)
        self.observation_space: spaces.Space[Array] = observation_space(own)
        self.action_space = spaces.Discrete(self.actions.count)
        self.episode: Episode | None = None
        self.audio: Tensor | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode = Episode(Task.draw(self.np_random, len(self.settings.knobs)), self.settings)
        self.audio = None
        return self.episode.observation(), {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        if self.episode is None or self.episode.finished:
            raise RuntimeError("the episode is over, or has not begun: call reset() first")
        info: dict[str, Any] = {}
        if not self.episode.act(int(action)):
            info["illegal"] = True
        reward = 0.0
        if self.episode.audible:
            (reward,), (ending,), heard = hear_all(self.machine, [self.episode])
            self.audio = heard.audio
            info |= ending
        return self.episode.observation(), reward, self.episode.finished, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are legal now: (actions,)."""
        if self.episode is None:
            raise RuntimeError("the episode has not begun: call reset() first")
        return self.episode.masks()


def observation_space(settings: ProductionSettings) -> Any:
    """All observations."""
    return spaces.Box(-LIMIT, LIMIT, (observation_size(settings),), np.float32)
