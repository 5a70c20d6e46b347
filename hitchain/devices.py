"""Where tensors live: a device by the name a person gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitchain.errors import UserError, nearest

if TYPE_CHECKING:
    import torch


def usable_device(name: str) -> torch.device:
    """The device of that name: "cpu", "cuda", "cuda:1". Raises `UserError` where there is none here."""
    import torch

    if name not in ("cpu", "cuda") and not name.startswith("cuda:"):
        raise UserError(f"device={name}: {nearest(name, ['cpu', 'cuda'])}")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} cannot be used here; use device=cpu.") from error
    return device
