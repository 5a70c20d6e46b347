"""A patch: every setting of a song, as data. In memory, batched tensors in physical units; on disk, validated JSON."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.parameter import SEED, Choice, Parameter
from hitchain.errors import UserError, nearest
from hitchain.files import read_json, write_json

FORMAT = "hitchain patch"
VERSION = 1


@dataclass(frozen=True)
class Patch:
    """The settings of every block of a song, for a batch of candidates.

    Attributes:
        settings: {path: {parameter: tensor}}; path is where the block stands ("lead.amp", "mastering.limiter"), the
            tensor (batch,), (batch, notes) for a value per note, (batch, options) for a choice, or (batch, notes,
            options) for a choice per note.
        seed: from which every block draws its noise.
        told: {path: {reserved key: tensor}}, "" for every block: what blocks are told in a render; no part of the data.
    """

    settings: dict[str, dict[str, Tensor]]
    seed: int = 0
    told: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """Number of candidates."""
        for values in self.settings.values():
            for value in values.values():
                return value.shape[0]
        return 1

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        for values in self.settings.values():
            for value in values.values():
                return value.device
        return torch.device("cpu")

    def of(self, path: str) -> dict[str, Tensor]:
        """The settings of the block at `path`, with its own seed and what it is told under the reserved keys."""
        seed = {SEED: torch.tensor(block_seed(self.seed, path))}
        return {**self.settings.get(path, {}), **seed, **self.told.get("", {}), **self.told.get(path, {})}

    def tell(self, path: str, values: Mapping[str, Tensor]) -> Patch:
        """The same patch for a render in which the block at `path` ("" for every block) is told more."""
        return dataclasses.replace(self, told={**self.told, path: {**self.told.get(path, {}), **values}})

    def item(self, index: int) -> Patch:
        """One candidate, as a patch of batch 1."""
        return self.map(lambda value: value[index : index + 1])

    def with_first(self, first: Patch) -> Patch:
        """This batch with its first candidate replaced by `first`, a patch of batch 1."""
        settings = {
            path: {key: torch.cat([first.settings[path][key], value[1:]]) for key, value in values.items()}
            for path, values in self.settings.items()
        }
        return dataclasses.replace(self, settings=settings)

    def map(self, change: Callable[[Tensor], Tensor]) -> Patch:
        """A patch with `change` applied to every tensor."""
        changed = {
            path: {key: change(value) for key, value in values.items()} for path, values in self.settings.items()
        }
        return dataclasses.replace(self, settings=changed)

    def replace(self, changes: Mapping[tuple[str, str], Tensor]) -> Patch:
        """A patch with some values, keyed by (path, parameter), put in the place of the old ones."""
        settings = {path: dict(values) for path, values in self.settings.items()}
        for (path, key), value in changes.items():
            settings[path][key] = value
        return dataclasses.replace(self, settings=settings)


def block_seed(seed: int, path: str) -> int:
    """A seed for one block: a 31-bit FNV-1a hash of the patch's seed and the block's path, stable across machines."""
    value = 0x811C9DC5
    for byte in f"{seed}:{path}".encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value & 0x7FFFFFFF


def save(path: str | os.PathLike[str], patch: Patch, blocks: Mapping[str, Block], song: str = "") -> None:
    """Write a patch of batch 1 as JSON, in physical units. `blocks` are the song's, by path."""
    if patch.batch != 1:
        raise ValueError(f"a file holds one candidate; take patch.item(i) of these {patch.batch}")
    entries = {
        where: {
            "block": block.name,
            "settings": {p.name: _to_json(p, patch.settings[where][p.name]) for p in block.parameters},
        }
        for where, block in blocks.items()
    }
    write_json(path, {"format": FORMAT, "version": VERSION, "song": song, "seed": patch.seed, "blocks": entries})


def load(path: str | os.PathLike[str], blocks: Mapping[str, Block], base: Patch) -> Patch:
    """Read a patch file over `base`.

    An entry whose block is not the one that stands at its path (it was swapped) is left out, and so are values per note
    that were made for another number of notes.

    Raises:
        UserError: the file is missing, malformed, of an unknown version, or holds a path, parameter or value that does
            not exist or is out of range.
    """
    data = read_json(path, "patch")
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("blocks"), dict):
        raise UserError(f"{path} is not a hitchain patch (its 'format' should be '{FORMAT}').")
    if data.get("version") != VERSION:
        raise UserError(f"patch {path} has version {data.get('version')!r}; this hitchain reads version {VERSION}.")
    seed = data.get("seed", base.seed)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UserError(f"patch {path}: seed {seed!r} is not an integer.")
    changes: dict[tuple[str, str], Tensor] = {}
    for where, entry in data["blocks"].items():
        if where not in blocks:
            raise UserError(f"patch {path}: there is no block at '{where}' in this song; {nearest(where, blocks)}")
        if not isinstance(entry, dict) or not isinstance(entry.get("settings"), dict):
            raise UserError(f"patch {path}: '{where}' needs a 'block' and its 'settings'.")
        if entry.get("block") == blocks[where].name:
            for key, value in from_data(blocks[where], entry["settings"], f"patch {path}: {where}").items():
                known = base.settings[where][key]
                if value.ndim == known.ndim - 2:  # one for all notes
                    value = value.expand(known.shape[1:])
                if value.numel() == 1 or value.shape == known.shape[1:]:
                    changes[where, key] = value.to(known).unsqueeze(0)
    return Patch(base.replace(changes).settings, seed)


def from_data(block: Block, values: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    """Checked settings without a batch axis from plain numbers, names and lists (a config's or a patch file's).

    Raises `UserError` where a key is no parameter of the block or a value is out of range.
    """
    known = {parameter.name: parameter for parameter in block.parameters}
    settings: dict[str, Tensor] = {}
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{where}.{key}: block '{block.name}' has no parameter '{key}'; {nearest(key, known)}")
        settings[key] = _from_data(known[key], value, f"{where}.{key}")
    return settings


def _from_data(parameter: Parameter | Choice, value: Any, where: str) -> Tensor:
    if isinstance(parameter, Choice):
        return parameter.check(value, where)
    if isinstance(value, list):
        if not parameter.per_note or not value:
            raise UserError(f"{where} takes one number ({parameter.range}), not a list.")
        return torch.tensor([parameter.check(item, where) for item in value])
    return torch.tensor(parameter.check(value, where))


def _to_json(parameter: Parameter | Choice, value: Tensor) -> Any:
    numbers = value[0].detach().double().cpu()
    if isinstance(parameter, Choice):
        return parameter.plain(numbers)
    if numbers.ndim == 0:
        return float(numbers.clamp(parameter.low, parameter.high))
    return [float(number) for number in numbers.clamp(parameter.low, parameter.high)]
