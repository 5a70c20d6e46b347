"""Blocks inside blocks: a rack's devices, a block's modulators. Their parameters become the outer block's own.

The parameter `gain` of the inner block `drive` is the outer block's `drive.gain`, with the value it was made with as
its default, so that ranges, help, patches, `learn` patterns and certificates reach into a rack as anywhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from hitchain.blocks import registry
from hitchain.blocks.block import Block, Instrument, NoteBlock
from hitchain.blocks.parameter import RESERVED, SEED, Choice, Parameter, Settings
from hitchain.blocks.row import run_row
from hitchain.errors import UserError, nearest

KEYS = ("block", "preset", "modulators", "sidechain")
"""Keys of a block's config that are neither its parameters nor its constructor's options."""


def make(
    entry: Mapping[str, Any], where: str, sample_rate: int, context: Mapping[str, Any] | None = None
) -> tuple[Block, dict[str, Any]]:
    """A block and the values of its knobs, from its config.

    Args:
        entry: `block` (its registry name), `preset`, `modulators`, and parameters and options by name.
        where: the entry's path, for messages.
        sample_rate: [Hz].
        context: given to constructors that ask for it by name (a delay's `tempo`).

    Raises:
        UserError: an unknown block, preset or key, or options the block refuses.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("block"), str):
        raise UserError(f"{where} should be a block: give {where}.block=STAGE/NAME.")
    name = entry["block"]
    known = registry.options(name)
    options = {key: value for key, value in (context or {}).items() if key in known}
    options |= {key: value for key, value in entry.items() if key in known}
    try:
        block = registry.create(name, sample_rate=sample_rate, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: block '{name}' cannot be made: {error}") from error
    knobs = dict(block.preset(str(entry["preset"]))) if entry.get("preset") is not None else {}
    knobs |= {str(key): value for key, value in entry.items() if key not in known and key not in KEYS}
    if entry.get("modulators"):
        from hitchain.blocks.modulation import modulated

        block = modulated(block, entry["modulators"], where, sample_rate, context)
    return block, knobs


def make_inner(
    entries: Any, where: str, sample_rate: int, context: Mapping[str, Any] | None = None, play: bool = False
) -> dict[str, tuple[Block, dict[str, Any]]]:
    """The audio blocks of a rack, by name, in order; or, where they `play`, its instruments.

    Raises `UserError` where one is no such block.
    """
    if not isinstance(entries, Mapping) or not entries:
        raise UserError(f"{where} should name at least one block, for example {where}.eq.block=effects/parametric_eq.")
    made = {}
    for name, entry in entries.items():
        if not str(name).isidentifier():
            raise UserError(f"{where}: '{name}' is no name for a block; use letters, digits and _.")
        if isinstance(entry, Mapping) and "sidechain" in entry:
            raise UserError(f"{where}.{name}.sidechain: what a rack's blocks listen to is set on the rack itself.")
        block, knobs = make(entry, f"{where}.{name}", sample_rate, context)
        if play and not isinstance(block, Instrument):
            raise UserError(f"{where}.{name}: block '{block.name}' is no instrument.")
        if not play and isinstance(block, Instrument | NoteBlock):
            raise UserError(f"{where}.{name}: block '{block.name}' plays or makes notes; a rack holds audio blocks.")
        made[str(name)] = block, knobs
    return made


def outer_parameters(name: str, block: Block, knobs: Mapping[str, Any], where: str) -> tuple[Parameter | Choice, ...]:
    """An inner block's parameters under the outer block's names, with the knobs' values as defaults."""
    known = {parameter.name: parameter for parameter in block.parameters}
    for key in knobs:
        if key not in known:
            raise UserError(f"{where}.{key}: block '{block.name}' has no parameter '{key}'; {nearest(key, known)}")
    return tuple(_outer(f"{name}.{key}", parameter, knobs.get(key), where) for key, parameter in known.items())


def _outer(name: str, parameter: Parameter | Choice, value: Any, where: str) -> Parameter | Choice:
    if value is None:
        return dataclasses.replace(parameter, name=name)
    checked = parameter.check(value, f"{where}.{parameter.name}")
    if isinstance(parameter, Choice):
        strongest = parameter.options[int(torch.as_tensor(checked).argmax())]
        return dataclasses.replace(parameter, name=name, default=strongest)
    return dataclasses.replace(parameter, name=name, default=float(checked))


class Nest(Block):
    """A block that holds others. A subclass calls `hold` in its constructor and `through` in its forward."""

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()
    open_parameters = True

    def __init__(self, sample_rate: int) -> None:
        super().__init__(sample_rate)
        self.rows: dict[str, list[tuple[str, Block]]] = {}
        self.held = torch.nn.ModuleList()  # so that they move with the block

    def hold(self, row: str, entries: Any, context: Mapping[str, Any], play: bool = False) -> None:
        """Make the blocks of a row, or its instruments where they `play`. Their parameters are named
        `row.block.parameter`, or `block.parameter` where the row has no name."""
        prefix = f"{row}." if row else ""
        self.rows[row] = []
        for name, (block, knobs) in make_inner(
            entries, f"{self.name}.{row or 'blocks'}", self.sample_rate, context, play
        ).items():
            inner = f"{prefix}{name}"
            self.declare(*outer_parameters(inner, block, knobs, inner))
            self.rows[row].append((inner, block))
            self.held.append(block)

    def declare(self, *parameters: Parameter | Choice) -> None:
        """Add parameters to this instance's."""
        self.parameters = (*self.parameters, *parameters)  # type: ignore[misc]

    def through(self, row: str, audio: Tensor, settings: Settings) -> Tensor:
        """Audio through the blocks of a row."""
        return run_row([(block, inner_settings(name, settings)) for name, block in self.rows[row]], audio)

    def tail(self, settings: Settings) -> float:
        tails = [
            sum(block.tail(inner_settings(name, settings)) for name, block in members) for members in self.rows.values()
        ]
        return max(tails, default=0.0)


def inner_settings(name: str, settings: Settings) -> dict[str, Tensor]:
    """What of the outer block's settings is the inner block's, with what every block is told, and a seed of its own."""
    prefix = f"{name}."
    inner = {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}
    inner |= {key: settings[key] for key in RESERVED if key in settings}
    if SEED in settings:
        inner[SEED] = (settings[SEED] * 31 + sum(name.encode())) % 2**31
    return inner
