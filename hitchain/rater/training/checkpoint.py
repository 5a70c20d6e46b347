"""Where a training stands, on disk: the newest state, and the one before it in case the newest cannot be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hitchain.errors import UserError
from hitchain.files import replacing
from hitchain.rater import weights

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"


def save(folder: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a checkpoint; the one before becomes `PREVIOUS`. Killed at any moment, one of the two is whole."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    current = folder / CHECKPOINT
    with replacing(folder / ".checkpoint-next.safetensors") as temporary:
        weights.save_tensors(temporary, whole, header)
    if current.exists():
        os.replace(current, folder / PREVIOUS)
    os.replace(folder / ".checkpoint-next.safetensors", current)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint of a folder: tensors and header; None where there is none.

    Raises:
        UserError: it cannot be read; the message says how to go on from the one before.
    """
    current, previous = folder / CHECKPOINT, folder / PREVIOUS
    if not current.exists():
        return weights.load_tensors(previous) if previous.exists() else None
    try:
        return weights.load_tensors(current)
    except UserError as error:
        remedy = (
            f"Delete it and give the same command again: training goes on from {previous}, a little earlier."
            if previous.exists()
            else "Delete it and give the same command again: there is no earlier one, so training starts over."
        )
        raise UserError(f"the checkpoint cannot be read: {error}. {remedy}") from error


def named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
