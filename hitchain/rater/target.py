"""Popularity: the number a rater is trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

from hitchain.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import ArrayLike, NDArray


@overload
def popularity(likes: float, plays: float) -> float: ...
@overload
def popularity(likes: torch.Tensor, plays: torch.Tensor | float) -> torch.Tensor: ...
@overload
def popularity(likes: ArrayLike, plays: ArrayLike) -> NDArray[np.float64]: ...


def popularity(likes: Any, plays: Any) -> Any:
    """The popularity of a recording, p = likes / plays * log(likes), natural logarithm.

    p is 0 where likes <= 1: log(1) = 0, x log(x) -> 0 as x -> 0, and between the two the formula's negative values mean
    nothing. It is 0 as well where nothing was played yet.

    Args:
        likes: how often the recording was liked, >= 0: a number, NumPy array or PyTorch tensor of any shape.
        plays: how often it was played, >= likes, of a shape that broadcasts with `likes`.

    Returns:
        p >= 0 in the kind of the input: a float for numbers, a tensor where `likes` is one, else a float64 array.

    Raises:
        UserError: an entry is negative, NaN or infinite, or likes exceed plays.
    """
    import numpy as np

    if _is_tensor(likes) or _is_tensor(plays):
        return _of_tensors(likes, plays)
    like_array, play_array = np.broadcast_arrays(np.asarray(likes, np.float64), np.asarray(plays, np.float64))
    _check(like_array, play_array)
    counted = like_array > 1.0
    safe_likes = np.where(counted, like_array, 1.0)
    result = np.where(counted, safe_likes / np.where(counted, play_array, 1.0) * np.log(safe_likes), 0.0)
    return float(result) if np.ndim(likes) == 0 and np.ndim(plays) == 0 else result


def _is_tensor(value: Any) -> bool:
    import sys

    torch_module = sys.modules.get("torch")  # a tensor cannot exist before torch was imported
    return torch_module is not None and isinstance(value, torch_module.Tensor)


def _of_tensors(likes: Any, plays: Any) -> torch.Tensor:
    import numpy as np
    import torch

    reference = likes if _is_tensor(likes) else plays
    kind = reference.dtype if reference.is_floating_point() else torch.get_default_dtype()
    like_tensor = torch.as_tensor(likes, dtype=kind, device=reference.device)
    play_tensor = torch.as_tensor(plays, dtype=kind, device=reference.device)
    shape = np.broadcast_shapes(tuple(like_tensor.shape), tuple(play_tensor.shape))
    like_tensor, play_tensor = like_tensor.expand(shape), play_tensor.expand(shape)
    _check(like_tensor.detach().cpu().numpy(), play_tensor.detach().cpu().numpy())
    counted = like_tensor > 1.0
    safe_likes = torch.where(counted, like_tensor, 1.0)
    return torch.where(counted, safe_likes / torch.where(counted, play_tensor, 1.0) * torch.log(safe_likes), 0.0)


def _check(likes: NDArray[np.floating[Any]], plays: NDArray[np.floating[Any]]) -> None:
    import numpy as np

    for name, values in (("likes", likes), ("plays", plays)):
        wrong = ~np.isfinite(values) | (values < 0.0)
        if wrong.any():
            raise UserError(f"{name} is {_first(values, wrong)}; it is a count: a finite number, 0 or more.")
    wrong = likes > plays
    if wrong.any():
        raise UserError(
            f"likes ({_first(likes, wrong)}) exceed plays ({_first(plays, wrong)}); "
            "each like belongs to a play, so likes can be at most plays."
        )


def _first(values: NDArray[np.floating[Any]], where: NDArray[np.bool_]) -> str:
    value = float(values[where].flat[0])
    return f"{value:g}" if math.isfinite(value) else str(value)
