"""Checkpoints of a climb: tensors as safetensors, the rest as JSON in its header. Nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hitchain.chain.ascent import State
from hitchain.errors import UserError
from hitchain.files import replacing

NAME = "checkpoint.safetensors"
FORMAT = "hitchain climb 3"


def save(folder: Path, state: State) -> None:
    """Write the state of a climb to its run folder, whole or not at all."""
    tensors = {key: getattr(state, key) for key in State.TENSORS}
    for group in State.GROUPS:
        tensors |= {f"{group}/{key}": value for key, value in getattr(state, group).items()}
    # A copy of each: safetensors refuses tensors that share their memory.
    own = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with replacing(folder / NAME) as temporary:
        save_file(own, str(temporary), metadata={"format": FORMAT, "state": json.dumps(state.numbers())})


def load(folder: Path) -> State | None:
    """The state in a run folder; None where the run was stopped before its first checkpoint.

    Raises `UserError` where the file is damaged or not a checkpoint.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path} is not a checkpoint of a climb (format '{metadata.get('format')}').")
            numbers = json.loads(metadata["state"])
            # A copy of each, in memory of the allocator's: sums of what lies otherwise aligned may round otherwise.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a mapping
        own: dict[str, Any] = {key: tensors[key] for key in State.TENSORS}
        own |= {group: _group(tensors, group) for group in State.GROUPS}
        return State(**own, **numbers)
    except (SafetensorError, OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"checkpoint {path} is damaged: {error}. Start again without resume=.") from error


def _group(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    prefix = f"{group}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
