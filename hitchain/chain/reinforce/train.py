"""Training an agent: stable-baselines3's PPO with action masks, in rollouts of whole episodes.

Everything random in a rollout follows from (seed, rollout), so a training that was killed goes on from its checkpoint
and ends where it would have, to the bit.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger, make_output_format

from hitchain.chain.reinforce.agent import entropy, seeded
from hitchain.chain.reinforce.diversity import diversity
from hitchain.chain.reinforce.machine import Machine
from hitchain.chain.reinforce.settings import TrainingSettings
from hitchain.chain.reinforce.vector import ProductionVecEnv
from hitchain.errors import UserError

Row = dict[str, Any]
NEVER = 2**62
"""Rollouts between the lines that stable-baselines3 writes: the history has what they say."""


class Training:
    """A training in progress: `advance` until `finished`.

    Args:
        machine: the environment's.
        settings: how it is trained.
        seed: of everything random.
        events: folder for TensorBoard's events; None for none.

    Raises:
        UserError: a rollout's episodes do not come out even with `outputs`, after which the critic learns.
    """

    def __init__(self, machine: Machine, settings: TrainingSettings, seed: int, events: str | None = None) -> None:
        self.machine, self.settings, self.seed = machine, settings, seed
        if machine.realness is not None and self.episodes % machine.settings.outputs:
            raise UserError(
                f"produce.outputs={machine.settings.outputs} should divide the {self.episodes} episodes of a rollout "
                f"(envs {settings.envs} x episodes {settings.episodes})."
            )
        self.environment = ProductionVecEnv(machine, settings.envs, seed)
        with seeded(seed):
            self.model = MaskablePPO(
                "MlpPolicy",
                self.environment,
                learning_rate=settings.learning_rate,
                n_steps=machine.settings.steps * settings.episodes,
                batch_size=settings.batch,
                n_epochs=settings.epochs,
                gamma=1.0,  # an episode is short, and only undiscounted does shaping leave the best policy alone
                ent_coef=settings.entropy,
                clip_range=settings.clip,
                policy_kwargs={"net_arch": list(settings.hidden)},
                device="cpu",
            )
        self.model.set_logger(Logger(events, [make_output_format("tensorboard", events)] if events else []))
        self.rollout = 0
        self.seconds = 0.0
        self.history: list[Row] = []

    @property
    def episodes(self) -> int:
        """Episodes in a rollout."""
        return self.settings.envs * self.settings.episodes

    @property
    def finished(self) -> bool:
        """Whether all rollouts are done."""
        return self.rollout >= self.settings.rollouts

    def advance(self) -> Row:
        """One rollout: play, and learn from it. Returns its row of the history."""
        began = time.monotonic()
        environment, model = self.environment, self.model
        environment.begun, environment.finished = self.rollout * self.episodes, []
        with seeded(self.seed, self.rollout):
            model.set_env(environment)  # which also makes it begin with a reset
            steps = self.machine.settings.steps * self.episodes
            model.num_timesteps = self.rollout * steps
            model.learn(steps, reset_num_timesteps=False, log_interval=NEVER)
        self.rollout += 1
        self.seconds += time.monotonic() - began
        row = self._row()
        self.history.append(row)
        return row

    def _row(self) -> Row:
        finished = self.environment.finished
        buffer = self.model.rollout_buffer
        flat = buffer.observations.reshape(-1, buffer.observations.shape[-1])[-512:]
        masks = buffer.action_masks.reshape(-1, buffer.action_masks.shape[-1])[-512:]
        row: Row = {
            "rollout": self.rollout,
            "episodes": self.rollout * self.episodes,
            "rating": float(np.mean([info["rating"] for info in finished])),
            "entropy": entropy(self.model.policy, torch.as_tensor(flat), torch.as_tensor(masks > 0)),
            **{f"diversity_{key}": value for key, value in diversity([info["episode"] for info in finished]).items()},
        }
        if self.machine.realness is not None:
            row["realness"] = float(np.mean([info["realness"] for info in finished]))
            row["critic_updates"] = self.machine.realness.critic.updates
        for key in ("rating", "entropy", "realness"):
            if key in row:
                self.model.logger.record(f"produce/{key}", row[key])
        self.model.logger.dump(self.rollout)
        return row
