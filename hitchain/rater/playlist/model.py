"""A playlist model in one safetensors file: the songs' vectors, and the tower where one was trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hitchain.errors import UserError
from hitchain.rater.playlist.embedding import Embedding, Settings
from hitchain.rater.playlist.playlists import Playlist

if TYPE_CHECKING:
    from torch import Tensor

    from hitchain.rater.playlist.tower import Tower

FORMAT = "hitchain-playlists"
VERSION = 1


@dataclass(frozen=True)
class Model:
    """An embedding, its tower (None where there is none), and the mark of what it was learnt from."""

    embedding: Embedding
    tower: Tower | None = None
    source: str = ""


def mark(playlists: Sequence[Playlist], settings: Settings) -> str:
    """A digest of playlists and settings: the same only where the same would be learnt."""
    told = json.dumps([asdict(settings), [playlist.songs for playlist in playlists]], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()


def save(path: str | Path, model: Model) -> None:
    """Write a model, whole or not at all."""
    import torch

    from hitchain.rater.weights import save_tensors

    embedding = model.embedding
    tensors = {name: torch.from_numpy(getattr(embedding, name)).contiguous() for name in ("before", "after", "counts")}
    if model.tower is not None:
        tensors.update({f"tower.{name}": tensor.contiguous() for name, tensor in model.tower.state_dict().items()})
    header = {
        "format": FORMAT,
        "version": VERSION,
        "source": model.source,
        "songs": list(embedding.songs),
        "exponent": embedding.exponent,
    }
    save_tensors(path, tensors, header)


def load(path: str | Path) -> Model:
    """A model that `save` wrote.

    Raises:
        UserError: the file is missing, truncated, of another kind, or its parts do not fit each other.
    """
    from hitchain.rater.weights import load_tensors

    tensors, header = load_tensors(path)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} does not hold playlists (its header says {header.get('format')!r}, not {FORMAT!r}).")
    if header.get("version") != VERSION:
        raise UserError(f"{path} has playlist format version {header.get('version')!r}; this hitchain reads {VERSION}.")
    embedding = _embedding(Path(path), tensors, header)
    tower = _tower(Path(path), tensors, embedding.before.shape[1])
    return Model(embedding, tower, str(header.get("source")))


def _embedding(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> Embedding:
    import torch

    songs, exponent = header.get("songs"), header.get("exponent")
    if not isinstance(songs, list) or not songs or not all(isinstance(song, str) for song in songs):
        raise UserError(f"{path}: `songs` in its header must be a list of names.")
    if len(set(songs)) != len(songs):
        raise UserError(f"{path}: `songs` in its header names a song twice.")
    if isinstance(exponent, bool) or not isinstance(exponent, int | float) or not -2.0 <= exponent <= 2.0:
        raise UserError(f"{path}: `exponent` in its header is {exponent!r}; it must be from -2 to 2.")
    missing = [name for name in ("before", "after", "counts") if name not in tensors]
    if missing:
        raise UserError(f"{path} holds no tensor {missing[0]!r}.")
    before = tensors["before"]
    dimensions = before.shape[1] if before.ndim == 2 else 0
    shapes = {"before": (len(songs), dimensions), "after": (len(songs), dimensions), "counts": (len(songs),)}
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float32 or dimensions < 1:
            raise UserError(f"{path}: tensor {name} is {tensor.dtype} {tuple(tensor.shape)}, not float32 {shape}.")
        if not bool(torch.isfinite(tensor).all()) or (name == "counts" and bool((tensor < 0).any())):
            raise UserError(f"{path}: tensor {name} holds NaN, infinity or a count under 0.")
    vectors = {name: np.ascontiguousarray(tensors[name].numpy()) for name in shapes}
    return Embedding(tuple(songs), vectors["before"], vectors["after"], vectors["counts"], float(exponent))


def _tower(path: Path, tensors: dict[str, Tensor], dimensions: int) -> Tower | None:
    import torch

    state = {name.removeprefix("tower."): tensor for name, tensor in tensors.items() if name.startswith("tower.")}
    if not state:
        return None
    from hitchain.rater.playlist.tower import Tower

    tower = Tower(dimensions)
    if any(not bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise UserError(f"{path}: its tower holds NaN or infinity.")
    try:
        tower.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: its tower does not fit: {str(error).splitlines()[-1].strip()}") from error
    return tower.eval().requires_grad_(False)
