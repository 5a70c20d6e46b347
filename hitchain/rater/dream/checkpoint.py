"""Checkpoints of a dream: tensors as safetensors, the history as JSON in its header. Nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hitchain.errors import UserError
from hitchain.files import replacing

NAME = "checkpoint.safetensors"
FORMAT = "hitchain dream 1"
TENSORS = ("start", "free", "mean", "square", "step")


def save(folder: Path, tensors: dict[str, Tensor], told: dict[str, Any]) -> None:
    """Write the tensors of a dream, and `told` as JSON beside them, whole or not at all."""
    own = {key: tensors[key].detach().cpu().contiguous().clone() for key in TENSORS}
    with replacing(folder / NAME) as temporary:
        save_file(own, str(temporary), metadata={"format": FORMAT, "told": json.dumps(told)})


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save` wrote; None where there is no checkpoint yet. Raises `UserError` where the file is damaged."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path} is not a checkpoint of a dream (format '{metadata.get('format')}').")
            # Copied to aligned memory: sums over unaligned tensors round differently.
            return {key: file.get_tensor(key).clone() for key in TENSORS}, dict(json.loads(metadata["told"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint {path} is damaged: {error}. Start again without resume=.") from error
