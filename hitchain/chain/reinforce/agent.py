"""An agent: stable-baselines3's policy with action masks, kept as safetensors with its sizes in the header.

stable-baselines3's own files are pickles, which can run code when they are read; these cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import Tensor

from hitchain.chain.optimizers.settings import read_settings
from hitchain.chain.reinforce.environment import observation_space
from hitchain.chain.reinforce.episode import Actions, Array
from hitchain.chain.reinforce.play import Choose
from hitchain.chain.reinforce.settings import ProductionSettings
from hitchain.errors import UserError
from hitchain.rater import weights

FORMAT = "hitchain-agent"
VERSION = 1
NAME = "agent.safetensors"


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Inside, what the global generators of PyTorch and NumPy give follows from the key; then they are as before."""
    first, second = np.random.SeedSequence(list(key)).generate_state(2)
    before = np.random.get_state()  # noqa: NPY002 - stable-baselines3 draws from the global generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(first))
        np.random.seed(int(second))  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002


def save(
    path: str | Path, policy: MaskableActorCriticPolicy, settings: ProductionSettings, about: Mapping[str, Any]
) -> None:
    """Write a policy, whole or not at all.

    Args:
        settings: the environment it was trained in.
        about: JSON values kept in the header.
    """
    header = {
        "format": FORMAT, "version": VERSION, "hidden": list(policy.net_arch["pi"] if isinstance(policy.net_arch, dict)
        else policy.net_arch), "environment": plain(settings), "about": dict(about),
    }  # fmt: skip
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in policy.state_dict().items()}
    weights.save_tensors(path, tensors, header)


def load(path: str | Path) -> tuple[MaskableActorCriticPolicy, ProductionSettings]:
    """A policy and the settings of its environment, from a file or the folder of a run.

    Raises:
        UserError: it is missing, truncated, not an agent's, or its tensors do not fit its environment.
    """
    file = Path(path) / NAME if Path(path).is_dir() else Path(path)
    tensors, header = weights.load_tensors(file)
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise UserError(f"{file} is not an agent of `hitchain produce` (version {VERSION}).")
    own, hidden = header.get("environment"), header.get("hidden")
    if not isinstance(own, dict) or not isinstance(hidden, list):
        raise UserError(f"{file}: its header should hold `environment` and `hidden`.")
    settings = read_settings(ProductionSettings, own, f"{file}: environment")
    policy = create(settings, hidden)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{file} does not fit its environment: {error}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise UserError(f"{file} holds NaN or infinity.")
    policy.set_training_mode(False)
    return policy, settings


def create(settings: ProductionSettings, hidden: Sequence[int]) -> MaskableActorCriticPolicy:
    """A policy with weights yet to be filled."""
    actions = spaces.Discrete(Actions(settings.pitches).count)
    return MaskableActorCriticPolicy(observation_space(settings), actions, lambda _: 0.0, net_arch=list(hidden))


def plain(settings: ProductionSettings) -> dict[str, Any]:
    """Settings as JSON values."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}


def choosing(policy: MaskableActorCriticPolicy, seed: int, greedy: bool = False) -> Choose:
    """A player: actions drawn from the policy with generators of their own, or the likeliest of each where `greedy`."""
    count = 0

    def choose(observations: Array, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
        nonlocal count
        count += 1
        with seeded(seed, count):
            actions, _ = policy.predict(observations, deterministic=greedy, action_masks=masks)
        return np.asarray(actions, dtype=np.int64)

    return choose


@torch.no_grad()
def entropy(policy: MaskableActorCriticPolicy, observations: Tensor, masks: Tensor) -> float:
    """How undecided a policy is: its entropy as a share of that of random legal play, the mean over observations."""
    undecided = torch.as_tensor(policy.get_distribution(observations, action_masks=masks.numpy()).entropy())
    legal = masks.sum(dim=-1)
    several = legal > 1
    return float((undecided[several] / torch.log(legal[several].double())).mean())
