"""Checkpoints of a training, between rollouts: tensors as safetensors, the rest as JSON in its header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitchain.chain.reinforce.train import Training
from hitchain.errors import UserError
from hitchain.rater import weights

FORMAT = "hitchain-production-training"
NAME = "checkpoint.safetensors"


def save(folder: Path, training: Training) -> None:
    """Write all that a training knows to its run folder, whole or not at all."""
    policy = training.model.policy
    entries = policy.optimizer.state_dict()["state"].items()
    tensors = {
        **{f"policy.{name}": tensor for name, tensor in policy.state_dict().items()},
        **{f"optimiser.{i}.{key}": torch.as_tensor(value) for i, entry in entries for key, value in entry.items()},
    }
    header: dict[str, Any] = {
        "format": FORMAT,
        "rollout": training.rollout,
        "seconds": training.seconds,
        "history": training.history,
    }
    if training.machine.realness is not None:
        critic, header["realness"] = training.machine.realness.state()
        tensors |= {f"critic.{name}": tensor for name, tensor in critic.items()}
    weights.save_tensors(folder / NAME, {name: value.detach().cpu().clone() for name, value in tensors.items()}, header)


def restore(folder: Path, training: Training) -> bool:
    """Go on from the checkpoint in a run folder; False where the run was stopped before its first.

    Raises:
        UserError: the file is damaged, or of another training.
    """
    path = folder / NAME
    if not path.exists():
        return False
    tensors, header = weights.load_tensors(path)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of `hitchain produce`.")
    try:
        _fill(training, tensors, header)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"checkpoint {path} is damaged: {error}. Start again without resume=.") from error
    return True


def _fill(training: Training, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    policy = training.model.policy
    policy.load_state_dict(_under(tensors, "policy."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(tensors, "optimiser.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    groups = policy.optimizer.state_dict()["param_groups"]
    policy.optimizer.load_state_dict({"state": state, "param_groups": groups})
    if training.machine.realness is not None:
        training.machine.realness.restore(_under(tensors, "critic."), header["realness"])
    training.rollout, training.seconds = int(header["rollout"]), float(header["seconds"])
    training.history = list(header["history"])


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
