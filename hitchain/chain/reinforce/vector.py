"""Environments side by side for stable-baselines3: all are at the same step, so that one batch renders them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from hitchain.chain.reinforce.environment import observation_space
from hitchain.chain.reinforce.episode import Actions, Array, Episode, Task
from hitchain.chain.reinforce.machine import Machine
from hitchain.chain.reinforce.play import hear_all

UNSEEN = 2**31
"""Seeds of training are under this, so whatever is at or over it was never trained on."""


class ProductionVecEnv(VecEnv):
    """`count` episodes in step. The seed of every episode follows from `seed` and how many went before.

    Args:
        machine: that renders.
        count: of episodes side by side.
        seed: of the training.
        begun: episodes played so far, where a training goes on.
    """

    def __init__(self, machine: Machine, count: int, seed: int, begun: int = 0) -> None:
        self.machine, self.seed_, self.begun = machine, seed, begun
        self.finished: list[dict[str, Any]] = []
        self.episodes: list[Episode] = []
        self._actions = np.zeros(count, dtype=np.int64)
        super().__init__(count, observation_space(machine.settings), spaces.Discrete(Actions(_pitches(machine)).count))

    def reset(self) -> Array:
        knobs = len(self.machine.settings.knobs)
        tasks = [Task.draw(np.random.default_rng(self._seed(i)), knobs) for i in range(self.num_envs)]
        self.begun += self.num_envs
        self.episodes = [Episode(task, self.machine.settings) for task in tasks]
        return self._observations()

    def _seed(self, index: int) -> int:
        drawn = np.random.SeedSequence([self.seed_, self.begun + index]).generate_state(1)[0]
        return int(drawn) % UNSEEN

    def _observations(self) -> Array:
        return np.stack([episode.observation() for episode in self.episodes])

    def step_async(self, actions: NDArray[np.int64]) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Array, Array, NDArray[np.bool_], list[dict[str, Any]]]:
        for episode, action in zip(self.episodes, self._actions, strict=True):
            episode.act(int(action))
        rewards: list[float] = [0.0] * self.num_envs
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if self.episodes[0].audible:
            rewards, infos, _ = hear_all(self.machine, self.episodes)
        done = self.episodes[0].finished
        observations = self._observations()
        if done:
            self._note(infos)
            infos = [{**info, "terminal_observation": last} for info, last in zip(infos, observations, strict=True)]
            observations = self.reset()
        return observations, np.array(rewards, dtype=np.float32), np.full(self.num_envs, done), infos

    def _note(self, infos: Sequence[dict[str, Any]]) -> None:
        """Remember what the finished episodes were, for the history."""
        for episode, info in zip(self.episodes, infos, strict=True):
            self.finished.append({**info, "episode": episode})

    def close(self) -> None:
        """Nothing is open."""

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        if method_name != "action_masks":
            raise AttributeError(method_name)
        return [self.episodes[index].masks() for index in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name == "action_masks":
            return [self.episodes[index].masks for index in self._get_indices(indices)]
        if attr_name == "render_mode":
            return [None for _ in self._get_indices(indices)]
        raise AttributeError(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(attr_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def _pitches(machine: Machine) -> int:
    return machine.settings.pitches
